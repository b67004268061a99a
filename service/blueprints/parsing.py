"""From a request to what a view gets: webargs, with our reading and our way of refusing."""

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


class Parser(FlaskParser):
    """A parser that takes a body for what it is; `refuse_rest` refuses what nobody asked for."""

    def load_json(self, req: Any, schema: Schema) -> Any:
        """Return the body, whatever content type it claims to have; a form becomes a document."""
        if isinstance(req.document, forms.Form):
            req.document = readings.read(req.document, schema)
        return req.document

    def load_querystring(self, req: Any, schema: Schema) -> Any:
        """Return the fields of the query string that the route takes."""
        del req
        return MultiDictProxy(query(schema), schema)

    def handle_error(self, error: ValidationError, *_: Any, **__: Any) -> NoReturn:
        """Refuse what a schema refuses; webargs puts the location above the messages."""
        [messages] = cast("dict[str, Any]", error.messages).values()
        raise InvalidError(errors=faults.flatten(messages)) from error


def query(schema: Schema) -> MultiDict[str, str]:
    """Return the fields of the query string that a schema knows; NUL cannot be stored.

    Raises InvalidError also for what is said twice: it is not known which is meant.
    """
    args = MultiDict(
        (name, text) for name, text in request.args.items(multi=True) if name in names(schema)
    )
    if any("\0" in text for text in args.values()):
        raise InvalidError(errors={"query": ["There is a character of code 0 in it."]})
    if twice := [name for name, texts in args.lists() if len(texts) > 1]:
        raise InvalidError(errors={name[:64]: [wordings.GIVEN_TWICE] for name in twice})
    return args


def names(schema: Schema) -> set[str]:
    """Return the names under which a schema takes its fields."""
    return {field.data_key or name for name, field in schema.load_fields.items()}


def refuse_rest(*, takes_body: bool, takes_query: set[str]) -> None:
    """Raise InvalidError for fields of the body or the query string that nobody asked for.

    A field of one of them that only repeats the other is no error; one that contradicts it is.
    """
    known, document = set(CredentialsSchema().fields), request.document
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
