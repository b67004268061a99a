"""Forms: validates the forms of pages with the schemas of the API's bodies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flask import g
from marshmallow import Schema, ValidationError
from werkzeug.datastructures import FileStorage

from service import documents
from service.blueprints.requests import request
from service.console.language import gettext as _
from service.core import faults
from service.documents import UnreadableDocumentError
from service.errors import InvalidError


def check(schema: type[Schema], document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a form, validated by a schema; raises InvalidError with every fault."""
    try:
        loaded: dict[str, Any] = schema().load(document)
    except ValidationError as error:
        raise InvalidError(errors=faults.flatten(error.messages)) from error
    return loaded


def text(name: str) -> str:
    """Return a field of the form without surrounding blanks; empty if it is missing."""
    return request.form.get(name, "").strip()


def lines(name: str) -> list[str]:
    """Return the lines of a field that have something in them."""
    return [line.strip() for line in request.form.get(name, "").splitlines() if line.strip()]


def pairs(name: str, value: str) -> dict[str, str]:
    """Return two repeated fields as names with their values; those without both are left out."""
    names, values = request.form.getlist(name), request.form.getlist(value)
    both = zip(map(str.strip, names), map(str.strip, values), strict=False)
    return {name: text.replace("\r\n", "\n") for name, text in both if name and text}


def file(name: str) -> FileStorage:
    """Return the file that was chosen; raises InvalidError if none was."""
    upload = request.files.get(name)
    if upload is None or not upload.filename:
        raise InvalidError(errors={name: [_("Choose a file.")]})
    return upload


def document(name: str, missing: Any) -> Any:
    """Return a hidden field that carries JSON; raises InvalidError if it was damaged.

    It is parsed once in a request: a list may have megabytes. Do not change it.
    """
    if not (given := text(name)):
        return missing
    parsed: dict[str, Any] = g.setdefault("documents", {})
    if name not in parsed:
        parsed[name] = _parsed(name, given)
    return parsed[name]


def _parsed(name: str, given: str) -> Any:
    try:
        found = json.loads(given)
        documents.check_texts(found)
    except (ValueError, RecursionError, UnreadableDocumentError) as error:
        raise InvalidError(errors={name: [_("The form is damaged. Open it again.")]}) from error
    return found


def number(name: str, kind: type[int | float]) -> float | None:
    """Return a field as a number, None if it is empty; raises InvalidError."""
    given = text(name).replace(",", ".")
    if not given:
        return None
    try:
        return kind(given)
    except ValueError as error:
        raise InvalidError(errors={name: ["Must be a number."]}) from error
