"""The webargs parser, with our own reading of bodies and our own errors."""

from __future__ import annotations

from typing import Any, NoReturn, cast

from marshmallow import Schema, ValidationError
from webargs.flaskparser import FlaskParser
from webargs.multidictproxy import MultiDictProxy
from werkzeug.datastructures import MultiDict

from service.blueprints import echoes, forms, readings
from service.blueprints.requests import request
from service.core import faults
from service.errors import InvalidError
from service.schemas import wordings
from service.schemas.base import CredentialsSchema

_CREDENTIALS = frozenset(CredentialsSchema().fields)


class Parser(FlaskParser):
    """A parser that reads bodies through `Request.document`."""

    def load_json(self, req: Any, schema: Schema) -> Any:
        """Return the body as a document, whatever its content type."""
        if isinstance(req.document, forms.Form):
            req.document = readings.read(req.document, schema)
        return req.document

    def load_querystring(self, req: Any, schema: Schema) -> Any:
        """Return the query parameters that the route takes."""
        del req
        return MultiDictProxy(query(schema), schema)

    def handle_error(self, error: ValidationError, *_: Any, **__: Any) -> NoReturn:
        """Raise InvalidError. webargs nests the messages under the location."""
        [messages] = cast("dict[str, Any]", error.messages).values()
        raise InvalidError(errors=faults.flatten(messages)) from error


def query(schema: Schema) -> MultiDict[str, str]:
    """Return the query parameters that a schema knows.

    Raises InvalidError for NUL, which cannot be stored, and for repeated parameters.
    """
    args = MultiDict(
        (name, text) for name, text in request.args.items(multi=True) if name in names(schema)
    )
    if any("\0" in text for text in args.values()):
        raise InvalidError(errors={"query": ["It contains a NUL character (code 0)."]})
    if twice := [name for name, texts in args.lists() if len(texts) > 1]:
        raise InvalidError(errors={name[:64]: [wordings.GIVEN_TWICE] for name in twice})
    return args


def names(schema: Schema) -> set[str]:
    """Return the names that a schema reads its fields from."""
    return {field.data_key or name for name, field in schema.load_fields.items()}


def refuse_rest(*, takes_body: bool, takes_query: set[str]) -> None:
    """Raise InvalidError for unknown fields in the body or the query string.

    A field that repeats the other place is fine; one that differs from it is an error.
    """
    known, document = _CREDENTIALS, request.document
    pairs = (pair for pair in request.args.items(multi=True) if pair[0] not in known)
    said = forms.nest(pairs)
    echoed = {name for name in said if echoes.repeats(said[name], document.get(name, ...))}
    errors = {}
    for name in set(said) - echoed:
        if name in document:
            errors[name[:64]] = [wordings.CONTRADICTED]
        elif name not in takes_query:
            errors[name[:64]] = [wordings.unknown(sorted({*takes_query, *known}))]
    if not takes_body:
        strange = set(document) - known - echoed
        errors |= {name[:64]: [wordings.unknown(sorted(known))] for name in strange}
    if errors:
        raise InvalidError(errors=errors)
