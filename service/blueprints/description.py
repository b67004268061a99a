"""The OpenAPI description of all routes."""

from __future__ import annotations

import threading
from http import HTTPStatus
from typing import Any

import flask_smorest
from werkzeug.routing import UnicodeConverter

from service.blueprints import aliases, errors
from service.blueprints.api import Blueprint
from service.schemas.envelopes import FailureSchema
from service.schemas.fields import ID_PATTERN

_DESCRIPTIONS = {
    400: "The body is neither valid JSON nor a valid form.",
    401: "The token is missing or not valid.",
    403: "The token lacks the scope, or you may not change this object.",
    404: "You have no such object or session.",
    409: "The current state of the object does not allow this.",
    413: "The body is too large.",
    415: "The content type or the file type is not supported.",
    416: "The file does not have this range.",
    422: "Some fields are not valid: `errors` names them.",
    429: "Too many requests: `Retry-After` says when to try again.",
    502: "The session's provider does not answer as it should.",
    503: "The database or another part of the service is not available.",
}
_HEADERS = {
    401: ("WWW-Authenticate",),
    403: ("WWW-Authenticate",),
    429: ("Retry-After", "RateLimit", "RateLimit-Policy"),
    503: ("Retry-After",),
}


class IdConverter(UnicodeConverter):
    """An id in a path. It is documented as an id; any other text is simply not found."""


class Api(flask_smorest.Api):  # type: ignore[misc]  # it is not annotated
    """The OpenAPI description of all routes, and the error handlers."""

    ERROR_SCHEMA = FailureSchema
    DEFAULT_ERROR_RESPONSE_NAME = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._undescribed: list[Blueprint] = []
        self._describing = threading.RLock()
        super().__init__(*arguments, **options)

    @property
    def spec(self) -> Any:
        """The description. It is built on first use: most processes never need it."""
        with self._describing:
            while self._undescribed:
                blueprint = self._undescribed[0]
                blueprint.register_views_in_doc(
                    self, self._app, self._spec, name=blueprint.name, parameters=None
                )
                self._spec.tag({"name": blueprint.name, "description": blueprint.description})
                del self._undescribed[0]
        return self._spec

    @spec.setter
    def spec(self, spec: Any) -> None:
        self._spec = spec

    def register_blueprint(self, blueprint: Blueprint) -> None:
        """Register a blueprint's routes."""
        self._app.extensions["flask-smorest"]["blp_name_to_api"][blueprint.name] = self
        self._app.register_blueprint(blueprint)
        self._undescribed.append(blueprint)

    def _register_error_handlers(self) -> None:
        errors.register(self._app)

    def _register_responses(self) -> None:
        """Document each error once, under the name that decorators use."""
        for status, description in _DESCRIPTIONS.items():
            content = {"application/json": {"schema": FailureSchema}}
            response: dict[str, Any] = {"description": description, "content": content}
            if named := _HEADERS.get(status):
                response["headers"] = {name: {"schema": {"type": "string"}} for name in named}
            self.spec.components.response(HTTPStatus(status).name, response, lazy=True)

    def _register_pagination_header(self) -> None:
        """Do nothing: `pages` documents it."""


def describe(api: Api) -> None:
    """Document what routes have in common: ids in paths, and authentication."""
    api.register_converter(IdConverter, lambda _: {"type": "string", "pattern": ID_PATTERN})
    api.spec.tag({"name": aliases.TAG, "description": aliases.DESCRIPTION})
    about = "A token from `flask token create`, or a session token"
    bearer = {"type": "http", "scheme": "bearer", "description": about}
    in_query = {"type": "apiKey", "in": "query", "name": "access_token", "description": about}
    api.spec.components.security_scheme("bearer", bearer)
    api.spec.components.security_scheme("access_token", in_query)
