"""The shell: what all pages of the console have in common.

A failure is raised as anywhere else and answered in the envelope; here its sentence is put into a
page.
"""

from __future__ import annotations

from typing import Any

import flask
from flask import Flask, Response, render_template, url_for
from werkzeug.exceptions import NotFound

from service.blueprints.requests import request
from service.console import (
    access,
    audit,
    broadcasts,
    callbacks,
    compose,
    contact_files,
    contacts,
    drafts,
    formats,
    groups,
    home,
    language,
    limits,
    lists,
    notices,
    phones,
    preferences,
    replies,
    rules,
    sessions,
    sign_ins,
    templates,
    tokens,
)
from service.console.language import gettext as _
from service.core.tokens import Scope

_NOUNS = (
    home,
    broadcasts,
    replies,
    compose,
    drafts,
    templates,
    lists,
    contacts,
    contact_files,
    groups,
    rules,
    sessions,
    phones,
    tokens,
    callbacks,
    audit,
    limits,
    sign_ins,
    preferences,
)

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:;"
    " media-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'"
)
"""What a page may load and reach: its own files and its own views; nobody may frame it."""

_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Not `no-referrer`: with that, browsers would hide from us where a form comes from.
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Vary": "Cookie, Accept-Language, HX-Request",
}
_FAILURES = 400

blueprint = flask.Blueprint("console", __name__, url_prefix="/console")


def register(app: Flask) -> None:
    """Add the console to the application."""
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(formats.FILTERS)
    app.jinja_env.globals.update(formats.FUNCTIONS)
    app.register_blueprint(blueprint)


for _noun in _NOUNS:
    blueprint.register_blueprint(_noun.blueprint)
blueprint.before_request(access.allow_large_forms)


@blueprint.route("/<path:rest>")
def nowhere(rest: str) -> str:
    """Say that there is no such page."""
    del rest
    raise NotFound


nowhere.console_scope = None  # type: ignore[attr-defined]  # nothing is shown


@blueprint.context_processor
def _common() -> dict[str, Any]:
    visitor = access.known_visitor()
    return {
        "visitor": visitor,
        "csrf": access.word(visitor) if visitor else "",
        "notice": notices.take(visitor.secret) if visitor else None,
        "may_send": visitor is not None and visitor.may(Scope.SEND),
        "may_admin": visitor is not None and visitor.may(Scope.ADMIN),
        "theme": request.cookies.get(language.THEME, ""),
        "languages": language.LANGUAGES,
        "here": request.endpoint or "",
        "zone_name": formats.zone_name(),
        "home_zone": str(language.zone()),
    }


@blueprint.after_request
def _finish(response: Response) -> Response:
    is_envelope = response.status_code >= _FAILURES and response.is_json
    if is_envelope and not request.headers.get("HX-Request"):
        response = _as_page(response)
    visitor = access.known_visitor()
    if visitor is not None:
        notices.store(response, visitor.secret, access.home_path())
    for name, value in _HEADERS.items():
        response.headers[name] = value
    return response


def _as_page(response: Response) -> Response:
    """Put what went wrong into a page."""
    envelope = response.get_json(silent=True) or {}
    status = response.status_code
    if status == 401:  # noqa: PLR2004 - nobody is signed in
        return response
    message = _(envelope.get("message") or "")
    reasons = [
        reason
        for reasons in (envelope.get("errors") or {}).values()
        for reason in (reasons if isinstance(reasons, list) else [reasons])
        if reason != message
    ]
    page = render_template(
        "console/failure.html",
        status=status,
        message=message,
        reasons=reasons,
        back=url_for("console.home.show"),
    )
    made = Response(page, status=status, mimetype="text/html")
    if "Retry-After" in response.headers:
        made.headers["Retry-After"] = response.headers["Retry-After"]
    return made
