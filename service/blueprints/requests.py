"""The request class: reads a body once, within the limit of its route."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import IO, Any, NamedTuple, cast

import flask
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.utils import cached_property

from service.blueprints import bodies, encodings, forms, inputs, uploads
from service.blueprints.context import crier
from service.blueprints.uploads import Upload
from service.core.storage import Incoming
from service.errors import InvalidError, TooLargeError, UnreadableBodyError
from service.schemas import wordings

_FORM_OVERHEAD = 64 * 1024
"""Bytes that a form may have around its file: boundaries, headers, credentials."""

_FORM_BUFFER = 2 * 64 * 1024
"""Werkzeug reads 64 KiB at a time and keeps a possible start of a boundary until the next read. A
smaller buffer would refuse the file."""

_TOKEN = re.compile(
    rb'"access_token"\s*:\s*"([!-~]{1,128}?)"'  # in JSON
    rb"|(?:^|&)access_token=([!-%'-~]{1,128})"  # in a form
    rb'|name="?access_token"?\r\n(?:[!-~ ]+\r\n){0,4}\r\n([!-~]{1,128})\r\n'  # in one of parts
)
_MOST_TOKENS = 4
"""A session's settings may have a field of this name too. No valid request has more."""

MOST_SEARCHED = 4 * 1024 * 1024
"""The most bytes of a body, unpacked, in which a token is looked for."""

HEAD = 64 * 1024
"""The bytes at the start of a form with a file in which a token is looked for."""

_MOST_PARTS = 16

_NOT_UTF8 = "a file name or another header of a part is not UTF-8"


class _FormParser(FormDataParser):
    """Werkzeug's form parser, except that an invalid form is an error."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.silent = False


class ListForm(NamedTuple):
    """The parts of a form with a list of people: the document as JSON, and the file."""

    document: str
    file: str


class ListFile(NamedTuple):
    """An uploaded list of people, and the encoding that the client declared."""

    file: Incoming
    charset: str


class Request(flask.Request):
    """A request whose body is an object: JSON, or a form with a file."""

    form_data_parser_class = _FormParser
    max_form_memory_size = _FORM_BUFFER
    max_form_parts = _MOST_PARTS

    is_upload = False
    """Whether the route takes a form with a file. Set before the body is read."""

    list_form: ListForm | None = None
    """The form with a list that the route takes besides JSON; set before the body is looked at."""

    is_trusted = False
    """Whether a valid token came outside of the body; without one no list goes to the disk."""

    _is_searched = False
    """Whether the token has to be in the body, which may then have fewer bytes."""

    def __init__(self, environ: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        """Wrap the input, so that reading a truncated body fails."""
        inputs.complete(environ)
        super().__init__(environ, *args, **kwargs)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The body as an object; raises UnreadableBodyError, MediaTypeError, TooLargeError."""
        if self.list_form and self.is_trusted and self.mimetype == forms.MULTIPART:
            return self._read_list_form(self.list_form)
        return self._read_form() if self.is_file_form else self._read_body()

    @property
    def is_file_form(self) -> bool:
        """Whether the body is a form whose file is streamed to disk."""
        return self.is_upload and self.mimetype == forms.MULTIPART

    @property
    def list_file(self) -> ListFile | None:
        """The list of people in a form, None without one; known once the document has been read."""
        if self.list_form is None or self.list_form.file not in self._listed:
            return None
        [part] = self._listed[self.list_form.file]
        charset = part.mimetype_params.get("charset", "")
        return ListFile(cast("Incoming", part.stream), charset)

    def _read_body(self) -> dict[str, Any]:
        document = bodies.read(self.unpacked, self.mimetype, self.mimetype_params)
        # Drop the raw bytes of a long body once it is parsed, but keep them if parsing failed.
        del self.raw, self.unpacked
        return document

    @cached_property
    def unpacked(self) -> bytes:
        """The decompressed body, until `document` is read."""
        encoding = self.headers.get("Content-Encoding", "")
        return encodings.unpack(self.raw, encoding, self._limit)

    @property
    def _limit(self) -> int:
        """The largest body, in bytes, that is read into memory."""
        settings = crier().settings
        limit = settings.max_body_bytes
        if self.is_upload:
            limit = settings.max_attachment_bytes * 4 // 3 + _FORM_OVERHEAD  # in base64
        return min(limit, MOST_SEARCHED) if self._is_searched else limit

    @cached_property
    def raw(self) -> bytes:
        """The bytes of the body, until `document` is read.

        Raises TooLargeError, and UnreadableBodyError if the client has left before its end.
        """
        limit = self._limit
        # Read one byte more than allowed: otherwise a body without a length would be truncated.
        self.max_content_length = limit + 1
        if self.content_length and self.content_length > limit:
            raise _too_large(limit)
        raw = self.get_data(cache=False)
        if len(raw) > limit:
            raise _too_large(limit)
        return raw

    def possible_tokens(self) -> list[str]:
        """Return strings of a body that may be its token, without parsing it.

        Names or tokens with escapes are not found; no program writes them like that. Raises
        TooLargeError for a body of more than 4 MiB. Reads only the start of a form with a file.
        """
        self._is_searched = True
        is_streamed = self.is_file_form and not self.headers.get("Content-Encoding")
        matches = _TOKEN.finditer(self._head if is_streamed else bodies.as_utf8(self.unpacked))
        found = (next(filter(None, match.groups())).decode("latin-1") for match in matches)
        return list(dict.fromkeys(islice(found, _MOST_TOKENS)))

    @property
    def _head(self) -> bytes:
        """The start of a form with a file; it stays in the stream."""
        self.max_content_length = crier().settings.max_attachment_bytes + _FORM_OVERHEAD
        return self._ahead.peek(HEAD)

    @cached_property
    def _ahead(self) -> io.BufferedReader:
        """The body as a stream that can be inspected before it is read."""
        return io.BufferedReader(cast("io.RawIOBase", self.stream), HEAD)

    def _read_form(self) -> dict[str, Any]:
        limit = crier().settings.max_attachment_bytes
        self._parse(limit + _FORM_OVERHEAD, limit)
        return dict(self.form.items())

    def _read_list_form(self, parts: ListForm) -> dict[str, Any]:
        """Return the document of a form: one JSON part, or a part for each field."""
        settings = crier().settings
        self.max_form_memory_size = settings.max_body_bytes
        self.max_form_parts = forms.MOST_PARTS
        limit = settings.max_list_bytes + settings.max_body_bytes
        self._parse(limit, settings.max_list_bytes)
        self._listed = {name: self.files.getlist(name) for name in self.files}
        documents = self._listed.pop(parts.document, [])
        _refuse_other_files(self._listed, parts.file)
        texts = [*(file.read(settings.max_body_bytes) for file in documents)]
        return bodies.settle(forms.nest(self.form.items(multi=True)), parts.document, texts)

    def _parse(self, most: int, limit: int) -> None:
        """Parse a form as it arrives; `limit` bounds a file, `most` the whole form, in bytes."""
        self.max_content_length = most
        if self.content_length and self.content_length > most:
            raise _too_large(limit)
        try:
            parts = [*self.form, *self.files]
        except UnicodeDecodeError as error:  # only headers of a part are decoded strictly
            raise _unreadable("file", _NOT_UTF8) from error
        except ValueError as error:
            raise _unreadable("body", "it is cut off or has no boundary") from error
        except RequestEntityTooLarge as error:
            raise _too_large_form(limit, self.max_form_memory_size, self.max_form_parts) from error
        if not all(parts):
            raise _unreadable("body", "a part has no name")

    def _get_stream_for_parsing(self) -> IO[bytes]:
        """Parse a form with a file as it arrives, decompressed if needed."""
        if not self.headers.get("Content-Encoding"):
            return self._ahead
        stream = io.BytesIO(self.unpacked)
        del self.raw, self.unpacked
        return stream

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        """Stream a file to its final storage, never into memory."""
        del total_content_length, content_type, filename, content_length
        limit = crier().settings.max_list_bytes if self.list_form else None
        incoming = crier().storage.receive(limit)
        self._incoming.append(incoming)
        return incoming

    @cached_property
    def _incoming(self) -> list[Incoming]:
        return []

    @cached_property
    def _listed(self) -> dict[str, list[FileStorage]]:
        return {}

    @property
    def upload(self) -> Upload:
        """The file of a body; raises InvalidError if the body contains anything else."""
        if self.is_file_form:
            return uploads.of_form(self.document, self.form, self.files)
        content, filename = uploads.of_document(self.document)
        incoming = crier().storage.receive()
        self._incoming.append(incoming)
        incoming.write(content)
        return Upload(incoming, filename)

    def close(self) -> None:
        """Remove uploaded files that were not kept."""
        super().close()
        for incoming in self._incoming:
            incoming.close()


def _too_large(limit: int) -> TooLargeError:
    sentence = f"The request body is too large: at most {limit} bytes are accepted."
    return TooLargeError(sentence, errors={"body": [sentence]})


def _too_large_form(limit: int, texts: int | None, parts: int | None) -> TooLargeError:
    """Return the error for a form that is too large although its file is within the limit."""
    sentence = (
        f"The form is too large. A file may have {limit} bytes and needs a file name on one line."
        f" Other fields may have {texts} bytes. A form may have {parts} parts."
    )
    return TooLargeError(sentence, errors={"file": [sentence]})


def _refuse_other_files(files: Mapping[str, Sequence[FileStorage]], wanted: str) -> None:
    """Raise InvalidError for files in other fields, and for several files in this field."""
    reason = f"No file is accepted under this name. Send the list of people as `{wanted}`."
    errors = {name[:64]: [reason] for name in files if name != wanted}
    if len(files.get(wanted, ())) > 1:
        errors[wanted] = [wordings.GIVEN_TWICE]
    if errors:
        raise InvalidError(errors=errors)


def _unreadable(field: str, reason: str) -> UnreadableBodyError:
    sentence = f"The form is not valid: {reason}."
    return UnreadableBodyError(sentence, errors={field: [sentence]})


request: Request = cast("Request", flask.request)
"""The current request, as our own class."""
