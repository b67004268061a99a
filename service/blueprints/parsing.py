"""From a request to what a view gets: webargs, with our reading and our way of refusing."""

from __future__ import annotations

from typing import Any, NoReturn, cast

from marshmallow import RAISE, Schema, ValidationError
from webargs.flaskparser import FlaskParser
from webargs.multidictproxy import MultiDictProxy
from werkzeug.datastructures import MultiDict

from service.blueprints import forms
from service.blueprints.requests import request
from service.core import faults
from service.errors import InvalidError
from service.schemas import wordings
from service.schemas.base import CredentialsSchema


class Parser(FlaskParser):
    """A parser that takes a body for what it is and refuses what nobody asked for."""

    DEFAULT_UNKNOWN_BY_LOCATION = {  # noqa: RUF012 - webargs declares it so
        **FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION,
        "query": RAISE,
    }

    def load_json(self, req: Any, schema: Schema) -> Any:
        """Return the body, whatever content type it claims to have."""
        document = req.document
        return forms.typed(document, schema) if isinstance(document, forms.Form) else document

    def load_querystring(self, req: Any, schema: Schema) -> Any:
        """Return the query string without the token that may be in it."""
        del req
        return MultiDictProxy(query(), schema)

    def handle_error(self, error: ValidationError, *_: Any, **__: Any) -> NoReturn:
        """Refuse what a schema refuses; webargs puts the location above the messages."""
        [messages] = cast("dict[str, Any]", error.messages).values()
        raise InvalidError(errors=faults.flatten(messages)) from error


def query() -> MultiDict[str, str]:
    """Return the query string without the token that may be in it; NUL cannot be stored.

    Raises InvalidError also for what is said twice: it is not known which is meant.
    """
    args: MultiDict[str, str] = MultiDict(request.args.items(multi=True))
    args.poplist("access_token")
    if any("\0" in text for pair in args.items(multi=True) for text in pair):
        raise InvalidError(errors={"query": ["There is a character of code 0 in it."]})
    if twice := [name for name, texts in args.lists() if len(texts) > 1]:
        raise InvalidError(errors={name[:64]: [wordings.GIVEN_TWICE] for name in twice})
    return args


def refuse_rest(*, takes_body: bool, takes_query: bool) -> None:
    """Raise InvalidError for fields of the body or the query string that nobody asked for."""
    known = list(CredentialsSchema().fields)
    errors = {}
    if not takes_body:
        sentence = wordings.unknown(known)
        errors = {name[:64]: [sentence] for name in request.document if name not in known}
    if not takes_query:
        errors |= {name[:64]: [wordings.unknown(["access_token"])] for name in query()}
    if errors:
        raise InvalidError(errors=errors)
