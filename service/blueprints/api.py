"""Decorators that enforce and document the contract of a route.

flask-smorest generates the OpenAPI description. This module corrects three of its behaviours: its
error answers drop Werkzeug's headers, it documents `X-Pagination` (JSON in a string) as an object,
and it accepts unknown fields in forms and query strings.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any, TypeVar

import flask_smorest
from flask import jsonify, make_response
from marshmallow import Schema
from werkzeug.wrappers import Response

from service.blueprints import actions, aliases, auth, facts, long_answers, paging, parsing
from service.blueprints.requests import ListForm, request
from service.core.paging import Page, PageRequest
from service.core.tokens import Scope
from service.errors import ServiceError
from service.schemas.base import CredentialsSchema
from service.schemas.envelopes import envelope
from service.schemas.pages import SortedPageSchema

View = TypeVar("View", bound=Callable[..., Any])

GUIDE = [aliases.TAG]
"""The tags of an operation at one of the guide's routes."""

_OF_ANY_CALLER = (400, 401, 403, 404, 413, 415, 422, 429, 503)
"""Errors that can happen before a view runs: body, token, session, rate, database."""


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]  # it is not annotated
    """The routes of one noun.

    Schemas are created once, with their routes. Creating them for each request would take a tenth
    of its time.
    """

    ARGUMENTS_PARSER = parsing.Parser()

    def __init__(self, name: str, import_name: str, *, description: str) -> None:
        super().__init__(name, import_name, description=description)
        self._prepare_doc_cbks += [self._prepare_operation_doc, self._prepare_pages_doc]

    def get(self, rule: str, operation: str, **options: Any) -> Callable[[View], View]:
        """Route GET and HEAD; `operation` is the operationId."""
        return self._typed_route(rule, "GET", operation, options)

    def post(self, rule: str, operation: str, **options: Any) -> Callable[[View], View]:
        """Route POST."""
        return self._typed_route(rule, "POST", operation, options)

    def put(self, rule: str, operation: str, **options: Any) -> Callable[[View], View]:
        """Route PUT."""
        return self._typed_route(rule, "PUT", operation, options)

    def delete(self, rule: str, operation: str, **options: Any) -> Callable[[View], View]:
        """Route DELETE."""
        return self._typed_route(rule, "DELETE", operation, options)

    def _typed_route(
        self, rule: str, method: str, operation: str, options: dict[str, Any]
    ) -> Callable[[View], View]:
        def decorate(view: View) -> View:
            # Copy the notes for the description: a view may have several rules.
            facts.note(view, operation=operation)
            routed: View = self.route(rule, methods=[method], **options)(view)
            return routed

        return decorate

    def scope(self, scope: Scope, *, by_session: bool = False) -> Callable[[View], View]:
        """Require this scope, and refuse fields that the view does not take.

        `by_session` also accepts a session token; the view must then respect `context.within`.
        """

        def decorate(view: View) -> View:
            takes_body, takes_query = facts.takes_body(view), facts.query_of(view)

            @wraps(view)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                auth.identify(request, scope, by_session=by_session)
                # `request.upload` checks the fields of a form.
                parsing.refuse_rest(
                    takes_body=takes_body or request.is_upload, takes_query=takes_query
                )
                actions.begin_operation()
                return view(*args, **kwargs)

            facts.note(wrapper, scope=scope, by_session=by_session)
            return wrapper  # type: ignore[return-value]

        return decorate

    def takes(self, schema: type[Schema], *, required: bool = True) -> Callable[[View], View]:
        """Pass the body, validated by this schema, to the view as its next argument.

        A schema may have an `EXAMPLE`: a complete body that works.
        """
        example = getattr(schema, "EXAMPLE", None)
        decorate: Callable[[View], View] = self.arguments(
            schema(), required=required, example=example
        )
        return decorate

    def takes_headers(self, schema: type[Schema]) -> Callable[[View], View]:
        """Pass the headers of this schema to the view as its next argument."""
        decorate: Callable[[View], View] = self.arguments(schema(), location="headers")
        return decorate

    def takes_query(self, schema: type[Schema]) -> Callable[[View], View]:
        """Give the view the query string, checked by this schema, as its next argument."""
        decorate: Callable[[View], View] = self.arguments(schema(), location="query")
        return decorate

    def uploads(self, schema: type[Schema], document: type[Schema]) -> Callable[[View], View]:
        """Accept a form with a file, or JSON with the file as a data URL.

        The view finds the file in `request.upload`.
        """

        def decorate(view: View) -> View:
            @wraps(view)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                request.is_upload = True
                return view(*args, **kwargs)

            form = {"in": "files", "required": True, "schema": schema}
            facts.note(wrapper, arguments={"parameters": [form], "responses": {}})
            content = {"application/json": {"schema": document}}
            described: View = self.doc(requestBody={"content": content})(wrapper)
            return described

        return decorate

    def takes_list(self, form: ListForm, schema: type[Schema]) -> Callable[[View], View]:
        """Accept a form with a list of people, too. The view finds it in `request.list_file`.

        `schema` only documents the form.
        """

        def decorate(view: View) -> View:
            @wraps(view)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                request.list_form = form
                return view(*args, **kwargs)

            facts.note(wrapper, list_form=schema)
            return wrapper  # type: ignore[return-value]

        return decorate

    def sends_bytes(self) -> Callable[[View], View]:
        """Document that the answer is a file or a range of it, without the envelope."""

        def decorate(view: View) -> View:
            # Client generators recognise the first as a file; the second is what is sent.
            binary = {"schema": {"type": "string", "format": "binary"}}
            content = {"application/octet-stream": binary, "*/*": binary}
            answers: dict[int, Any] = {
                200: {"description": "The file", "content": content},
                206: {"description": "A range of the file", "content": content},
                304: {"description": "You already have this file (`If-None-Match`)"},
                416: HTTPStatus(416).name,
            }
            wrapped: View = self.doc(responses=answers)(view)
            return wrapped

        return decorate

    def sends_text(self, what: str) -> Callable[[View], View]:
        """Document that the answer is plain text, without the envelope."""
        content: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
        answers = {200: {"description": what, "content": content}}
        decorate: Callable[[View], View] = self.doc(responses=answers)
        return decorate

    def streams(self, *mimetypes: str) -> Callable[[View], View]:
        """Document that the answer is a file of these types, generated while it is sent."""
        binary = {"schema": {"type": "string", "format": "binary"}}
        answers = {200: {"description": "The file", "content": dict.fromkeys(mimetypes, binary)}}
        decorate: Callable[[View], View] = self.doc(responses=answers)
        return decorate

    def takes_anything(self) -> Callable[[View], View]:
        """Document that the body is JSON of a format that the provider defines."""
        body: dict[str, Any] = {"content": {"application/json": {"schema": {}}}}
        decorate: Callable[[View], View] = self.doc(requestBody=body)
        return decorate

    def pages(self, schema: type[Schema] = SortedPageSchema) -> Callable[[View], View]:
        """Pass the requested page to the view, and document the paging headers."""

        def decorate(view: View) -> View:
            @wraps(view)
            def shared(found: Any, *args: Any, **kwargs: Any) -> Any:
                page: PageRequest = found if isinstance(found, PageRequest) else found["page"]
                if page.page_size > long_answers.LONG:
                    long_answers.begin()
                return view(found, *args, **kwargs)

            wrapper = self.arguments(schema(), location="query")(shared)
            facts.note(wrapper, pages=True)
            return wrapper  # type: ignore[no-any-return]

        return decorate

    def answers(
        self,
        status: int,
        schema: type[Schema],
        message: str,
        *,
        many: bool = False,
        told: Callable[[Any], str] | None = None,
    ) -> Callable[[View], View]:
        """Wrap the view's return value (an object, a list or a page) in the envelope.

        If the message depends on the returned value, `told` computes it from that value.
        """

        def decorate(view: View) -> View:
            @wraps(view)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                data = view(*args, **kwargs)
                if isinstance(data, Response):
                    return data
                headers = paging.headers(data) if isinstance(data, Page) else {}
                items = data.items if isinstance(data, Page) else data
                said = aliases.said(told(data) if told else message)
                return {"status": True, "message": said, "data": items}, headers

            wrapped = envelope(schema, many=many)
            return self.response(status, wrapped, description=message)(wrapper)  # type: ignore[no-any-return]

        return decorate

    def may_answer(
        self, kind: type, status: int, schema: type[Schema], message: str
    ) -> Callable[[View], View]:
        """Use another schema for the answer if the view returns an object of this kind."""

        def decorate(view: View) -> View:
            wrapped = envelope(schema, many=False)

            @wraps(view)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                data = view(*args, **kwargs)
                if not isinstance(data, kind):
                    return data
                answer = {"status": True, "message": aliases.said(message), "data": data}
                return make_response(jsonify(wrapped.dump(answer)), status)

            return self.alt_response(status, schema=wrapped, description=message)(wrapper)  # type: ignore[no-any-return]

        return decorate

    def raises(self, *kinds: type[ServiceError]) -> Callable[[View], View]:
        """Document errors that only this view raises."""

        def decorate(view: View) -> View:
            known = getattr(view, "_apidoc", {}).get("raises", ())
            facts.note(view, raises=(*known, *(kind.status for kind in kinds)))
            return view

        return decorate

    def _prepare_operation_doc(
        self, doc: dict[str, Any], info: dict[str, Any], *, method: str, **_: Any
    ) -> dict[str, Any]:
        doc["operationId"] = info["operation"]
        statuses = set(info.get("raises", ()))
        if scope := info.get("scope"):
            statuses |= {*_OF_ANY_CALLER}
            doc["security"] = [{"bearer": []}, {"access_token": []}]
            doc["x-scope"] = str(scope)
            doc["x-session-token"] = info["by_session"]
            if method not in {"get", "head"} and "requestBody" not in doc:
                content = {"application/json": {"schema": CredentialsSchema}}
                doc["requestBody"] = {"required": False, "content": content}
        if list_form := info.get("list_form"):
            content = doc["requestBody"]["content"]
            content["multipart/form-data"] = {"schema": list_form}
        responses = doc.setdefault("responses", {})
        responses.update({status: HTTPStatus(status).name for status in sorted(statuses)})
        return doc

    def _prepare_pages_doc(
        self, doc: dict[str, Any], info: dict[str, Any], **_: Any
    ) -> dict[str, Any]:
        if info.get("pages"):
            doc["responses"][200]["headers"] = paging.DESCRIBED
        return doc
