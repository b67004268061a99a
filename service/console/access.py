"""Access: sign-ins, the scopes that pages require, and protection against forged forms.

A browser has a cookie whose secret the database knows by its SHA-256. A form carries a word that
follows from that secret, and comes from a page of this origin, or it is refused.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import flask
from flask import Response, g, redirect, url_for

from service.blueprints import actions, limiting
from service.blueprints.context import crier
from service.blueprints.requests import request
from service.console import notices
from service.core import sign_ins
from service.core.sign_ins import ConsoleUser
from service.core.tokens import Scope
from service.database import now_ms
from service.errors import ConflictError, ForbiddenError, InvalidError, ServiceError
from service.models import ActionSource

View = TypeVar("View", bound=Callable[..., Any])

COOKIE = "crier_console"
_WORD = "csrf"
_MOST_FIELDS = 2_000
_ZERO = "A text contains the character \\u0000. Remove it."


class ForeignFormError(ServiceError):
    """This form does not come from a page of the console, or you have signed in anew since then.

    Open the page again.
    """

    status = 403


class Section(flask.Blueprint):
    """The pages about one noun."""

    def __init__(self, name: str, import_name: str) -> None:
        super().__init__(name, import_name)

    def page(self, rule: str, scope: Scope = Scope.READ) -> Callable[[View], View]:
        """Answer GET at an address, to whoever is signed in and has the scope."""
        return self._guarded(rule, "GET", scope)

    def action(self, rule: str, name: str, scope: Scope = Scope.SEND) -> Callable[[View], View]:
        """Answer a form that a page of the console has sent.

        `name` is what the audit log calls it, as it calls the same operation of the API. If the
        action fails, the page with the form shows the error.
        """
        return self._guarded(rule, "POST", scope, name)

    def public(self, rule: str, method: str = "GET", name: str = "") -> Callable[[View], View]:
        """Answer anybody; a form must come from this origin, and `name` is its action."""

        def decorate(view: View) -> View:
            @wraps(view)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                if method == "POST":
                    check_origin()
                    actions.begin(name, ActionSource.CONSOLE)
                return view(*args, **kwargs)

            return cast("View", self._add(rule, method, wrapper, None, name))

        return decorate

    def _guarded(
        self, rule: str, method: str, scope: Scope, name: str = ""
    ) -> Callable[[View], View]:
        def decorate(view: View) -> View:
            answer = _answered(view) if method == "POST" else view

            @wraps(view)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                visitor = identify()
                if visitor is None:
                    return _to_sign_in()
                if not visitor.may(scope):
                    raise ForbiddenError(scope)
                if method == "POST":
                    check_origin()
                    _check_word(visitor)
                _check_texts()
                actions.begin(name, ActionSource.CONSOLE)
                return answer(*args, **kwargs)

            return cast("View", self._add(rule, method, wrapper, scope, name))

        return decorate

    def _add(self, rule: str, method: str, view: Any, scope: Scope | None, name: str) -> Any:
        view.console_scope, view.console_action = scope, name
        return self.route(rule, methods=[method])(view)


def identify() -> ConsoleUser | None:
    """Find out who is signed in; None: nobody, or not any more."""
    secret = request.cookies.get(COOKIE, "")
    if not secret:
        return None
    with crier().database.reading() as db:
        found = sign_ins.find(db, secret, now=now_ms())
    if found is not None:
        g.visitor, g.caller, g.within, g.session_id = found, found.caller, None, ""
        limiting.admit(found.caller, place="console")
    return found


def visitor() -> ConsoleUser:
    """Return who is signed in; only where a page asks for a scope."""
    return cast("ConsoleUser", g.visitor)


def known_visitor() -> ConsoleUser | None:
    """Return who is signed in, None while nobody has been recognised."""
    return cast("ConsoleUser | None", g.get("visitor"))


def word(visitor: ConsoleUser) -> str:
    """Return the word that this visitor's forms carry."""
    return hmac.new(visitor.secret.encode(), _WORD.encode(), hashlib.sha256).hexdigest()


def admit(response: Response, secret: str) -> Response:
    """Set the cookie with the secret of a sign-in."""
    response.set_cookie(
        COOKIE, secret, path=home_path(), httponly=True, samesite="Lax", secure=request.is_secure
    )
    return response


def dismiss(response: Response) -> Response:
    """Delete the cookie of a sign-in."""
    response.delete_cookie(COOKIE, path=home_path())
    return response


def home_path() -> str:
    """Return the path below which the console's cookies are sent."""
    return url_for("console.home.show").rstrip("/")


def allow_large_forms() -> None:
    """Read forms up to MAX_BODY_BYTES, with as many fields as a page of ours has."""
    most = crier().settings.max_body_bytes
    request.max_content_length = most
    request.max_form_memory_size = most
    request.max_form_parts = _MOST_FIELDS


def check_origin() -> None:
    """Raise ForeignFormError for a form that another site has sent."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        raise ForeignFormError
    origin = request.headers.get("Origin", "")
    if origin and origin.partition("://")[2] != request.host:
        raise ForeignFormError


def _check_word(visitor: ConsoleUser) -> None:
    given = request.headers.get("X-Csrf", "") or request.form.get(_WORD, "")
    if not hmac.compare_digest(given.encode(), word(visitor).encode()):
        raise ForeignFormError


def _check_texts() -> None:
    """Raise InvalidError for an address or a form with a zero, which no database stores."""
    fields = (*request.args.items(multi=True), *request.form.items(multi=True))
    for name, text in (*fields, *(request.view_args or {}).items()):
        if "\0" in name or "\0" in str(text):
            raise InvalidError(errors={name.replace("\0", ""): [_ZERO]})


def _answered(view: Callable[..., Any]) -> Callable[..., Any]:
    """Show a view's errors on the page that led to it."""

    def answer(*args: Any, **kwargs: Any) -> Any:
        try:
            return view(*args, **kwargs)
        except (ConflictError, InvalidError) as error:
            if request.headers.get("HX-Request"):
                raise
            notices.give(sentence(error), is_failure=True)
            return redirect(came_from(), 303)

    return answer


def sentence(error: ServiceError) -> str:
    """Return a failure as one text: the reasons of its fields, or else its sentence."""
    reasons = [str(reason) for reasons in error.errors.values() for reason in _listed(reasons)]
    return " ".join(dict.fromkeys(reasons)) or error.message


def _listed(reasons: Any) -> list[Any]:
    return reasons if isinstance(reasons, list) else [reasons]


def to_page(endpoint: str, **values: Any) -> Response:
    """Redirect a browser to a page of the console, as the answer to a form."""
    return cast("Response", redirect(url_for(f"console.{endpoint}", **values), 303))


def came_from() -> str:
    """Return the address of the page whose form this is, the home page if it is unknown."""
    home = url_for("console.home.show")
    try:
        referrer = urlsplit(request.headers.get("Referer", ""))
    except ValueError:
        return home
    if referrer.netloc != request.host or not referrer.path.startswith(home_path()):
        return home
    return f"{referrer.path}?{referrer.query}" if referrer.query else referrer.path


def _to_sign_in() -> Response:
    """Lead to the sign-in; a fragment that was asked for lets the whole page go there."""
    asked = request.full_path.rstrip("?") if request.method == "GET" else ""
    address = url_for("console.sign_ins.show", next=asked or None)
    if request.headers.get("HX-Request"):
        return Response(status=204, headers={"HX-Redirect": url_for("console.sign_ins.show")})
    return cast("Response", redirect(address, 303))
