"""Uploads: the file of a request that stores one, from a form or as a data URL in a document."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple, cast

from werkzeug.datastructures import FileStorage, MultiDict

from service.blueprints import data_urls
from service.core.storage import Incoming
from service.errors import InvalidError
from service.schemas import wordings

_FORM_FIELDS = frozenset({"session_id", "access_token", "file"})
_DOCUMENT_FIELDS = _FORM_FIELDS | {"filename"}

_ONE_FILE = "Must be one file with a file name on one line (write a line break in it as %0D%0A)."


class Upload(NamedTuple):
    """An uploaded file and the client's name for it."""

    file: Incoming
    filename: str


def of_document(document: Mapping[str, Any]) -> tuple[bytes, str]:
    """Return the content and the name of the file in a document; raises InvalidError."""
    errors = _unknown(set(document) - _DOCUMENT_FIELDS, _DOCUMENT_FIELDS)
    filename = document.get("filename") or ""
    if not isinstance(filename, str):
        errors["filename"] = [wordings.A_TEXT]
    if errors:
        raise InvalidError(errors=errors)
    file = data_urls.read(document.get("file"))
    return file.content, filename or file.name


def of_form(
    document: Mapping[str, Any], form: MultiDict[str, str], files: MultiDict[str, FileStorage]
) -> Upload:
    """Return the file of a form, already stored; raises InvalidError."""
    unknown = [*(set(document) - _FORM_FIELDS), *(name for name in files if name != "file")]
    errors = _unknown(unknown, _FORM_FIELDS)
    errors |= {name: [wordings.GIVEN_TWICE] for name, texts in form.lists() if len(texts) > 1}
    found = files.getlist("file")
    if "file" in document or len(found) != 1:
        errors["file"] = [_ONE_FILE]
    if errors:
        raise InvalidError(errors=errors)
    return Upload(cast("Incoming", found[0].stream), found[0].filename or "")


def _unknown(names: Iterable[str], known: Collection[str]) -> dict[str, list[str]]:
    sentence = wordings.unknown(sorted(known))
    return {name[:64]: [sentence] for name in names}
