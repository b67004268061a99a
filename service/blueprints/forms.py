"""Forms: nested documents as name/value pairs, as PHP, HTML, Postman and axios send them.

`message[text]=hi` is a member of an object. `to[]=a&to[]=b` and `to[0]=a&to[1]=b` are lists
(https://www.php.net/manual/en/faq.html.php#faq.html.arrays). So is `to=a&to=b`, which Python's
`requests` and HTML forms send.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from service.errors import InvalidError, TooLargeError, UnreadableBodyError
from service.schemas import wordings

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"

_MOST_FIELDS = 1_100_000
"""Enough for the most recipients of a broadcast, each in a field of its own."""

MOST_PARTS = 1_000
"""The most parts of a form."""

_DEEPEST = 32
_BUFFER = 128 * 1024
"""Memory that Werkzeug's parser counts besides the values: twice its read size."""

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_KEY = re.compile(r"\[([^\[\]]*)\]")


class Form(dict[str, Any]):
    """A document from a form: every value is a string."""


class Repeated(list[str]):
    """The values of a name that a form repeats. They are a list if the field is a list."""


def nest(pairs: Iterable[tuple[str, str]]) -> Form:
    """Build a document from names in bracket notation; raises InvalidError.

    A name with unbalanced brackets is taken literally.
    """
    document = Form()
    lists: dict[str, list[str]] = {}
    for name, text in pairs:
        if name.endswith("[]"):
            lists.setdefault(name[:-2], []).append(text)
        else:
            _put(document, name, text)
    for name, texts in lists.items():
        _put(document, name, texts)
    return Form({name: _settled(value) for name, value in document.items()})


def read(raw: bytes, mimetype: str, parameters: Mapping[str, str]) -> Form:
    """Parse a form of either content type.

    Raises UnreadableBodyError, InvalidError, TooLargeError.
    """
    if mimetype == MULTIPART:
        return nest(_parts(raw, parameters))
    try:
        pairs = parse_qsl(
            raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
    except UnicodeDecodeError as error:
        _unreadable("it is not UTF-8", error)
    except ValueError as error:
        _unreadable(f"it has more than {_MOST_FIELDS} fields", error)
    return nest(pairs)


def _parts(raw: bytes, parameters: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    parser = FormDataParser(
        stream_factory=lambda *_, **__: io.BytesIO(),  # files are refused; the body is in memory
        max_form_memory_size=len(raw) + _BUFFER,
        max_form_parts=MOST_PARTS,
        silent=False,
    )
    try:
        _, form, files = parser.parse(io.BytesIO(raw), MULTIPART, len(raw), dict(parameters))
    except RequestEntityTooLarge as error:
        sentence = f"The form has more than {MOST_PARTS} parts. Send recipients as one string."
        raise TooLargeError(sentence, errors={"body": [sentence]}) from error
    except ValueError as error:
        _unreadable("it is cut off, has no boundary or is not UTF-8", error)
    if files:
        reason = (
            "Files are not accepted here. Upload an attachment with POST /attachment and send its"
            " id. Send a text as a plain field: curl reads it from a file with `-F 'name=<file'`."
        )
        raise InvalidError(errors={name[:64]: [reason] for name in files})
    return form.items(multi=True)


def _put(document: dict[str, Any], name: str, value: str | list[str]) -> None:
    *outer, last = _path(name)
    node = document
    for key in outer:
        inner = node.setdefault(_place(node, key), {})
        if not isinstance(inner, dict):
            _twice(name)
        node = inner
    place = _place(node, last)
    node[place] = _both(name, node[place], value) if place in node else value


def _both(name: str, former: Any, value: str | list[str]) -> Repeated:
    """Add a value to the values of the same name."""
    if not isinstance(value, str) or not isinstance(former, str | Repeated):
        _twice(name)
    if isinstance(former, str):
        return Repeated((former, value))
    former.append(value)
    return former


@lru_cache(maxsize=256)
def _path(name: str) -> tuple[str | None, ...]:
    """Return the keys of a name, outermost first; None is `[]`, the next item of a list."""
    found = _NAME.fullmatch(name)
    if found is None:
        return (name,)
    keys = (found[1], *(key or None for key in _KEY.findall(found[2])))
    if len(keys) > _DEEPEST:
        raise InvalidError(errors={name[:64]: [f"Nested more than {_DEEPEST} levels deep."]})
    return keys


def _place(node: dict[str, Any], key: str | None) -> str:
    return str(len(node)) if key is None else key


def _settled(value: Any) -> Any:
    """Turn objects with only numeric keys into lists."""
    if not isinstance(value, dict):
        return value
    settled = {key: _settled(inner) for key, inner in value.items()}
    if all(key.isascii() and key.isdecimal() for key in settled):
        return [settled[key] for key in sorted(settled, key=lambda key: (len(key), key))]
    return settled


def _twice(name: str) -> NoReturn:
    listed = f"{wordings.GIVEN_TWICE} Write a list as `{name[:64]}[]`."
    raise InvalidError(errors={name[:64]: [listed]})


def _unreadable(reason: str, error: Exception) -> NoReturn:
    sentence = f"The form is not valid: {reason}."
    raise UnreadableBodyError(sentence, errors={"body": [sentence]}) from error
