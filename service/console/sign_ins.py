"""Signing in, by a token or by a link, and signing out, here or everywhere."""

from __future__ import annotations

from typing import cast

from flask import Response, redirect, render_template, url_for

from service.blueprints import limiting
from service.blueprints.context import crier
from service.blueprints.requests import request
from service.console import access
from service.console.access import Section, visitor
from service.core import sign_ins
from service.core.tokens import Scope
from service.database import now_ms
from service.errors import UnauthorisedError

blueprint = Section("sign_ins", __name__)


@blueprint.public("/sign-in")
def show() -> str:
    """Ask for a token, or for a click where a link was followed."""
    return _page(next_page=request.args.get("next", ""), link=request.args.get("link", ""))


@blueprint.public("/sign-in", "POST", "sign_in.create")
def begin() -> Response | tuple[str, int]:
    """Sign in; the same page reports a wrong token or an expired link."""
    now = now_ms()
    token, link = request.form.get("token", "").strip(), request.form.get("link", "")
    limiting.check_address()
    try:
        with crier().database.writing() as db:
            sign_ins.end(db, request.cookies.get(access.COOKIE, ""))
            secret = (
                sign_ins.by_link(db, link, now=now)
                if link
                else sign_ins.by_token(db, token, now=now)
            )
    except UnauthorisedError as error:
        limiting.note_failure()
        with crier().database.writing() as db:
            sign_ins.refuse(db, link or token, error.message)
        return _page(next_page=request.form.get("next", ""), problem=error.message), 403
    return access.admit(_redirect(_within_console(request.form.get("next", ""))), secret)


@blueprint.action("/sign-out", "sign_in.delete", Scope.READ)
def end() -> Response:
    """Sign this browser out."""
    with crier().database.writing() as db:
        sign_ins.end(db, visitor().secret)
    return access.dismiss(_redirect(url_for("console.sign_ins.show")))


@blueprint.action("/sign-out-everywhere", "sign_in.delete", Scope.READ)
def end_all() -> Response:
    """Sign out all browsers that came in as this one did."""
    with crier().database.writing() as db:
        sign_ins.end_all(db, visitor().secret)
    return access.dismiss(_redirect(url_for("console.sign_ins.show")))


def _page(*, next_page: str = "", link: str = "", problem: str = "") -> str:
    return render_template("console/sign_in.html", next_page=next_page, link=link, problem=problem)


def _redirect(address: str) -> Response:
    return cast("Response", redirect(address, 303))


def _within_console(address: str) -> str:
    """Return an address of the console, the home page in the place of any other."""
    home = url_for("console.home.show")
    is_plain = address.isprintable() and "\\" not in address
    return address if is_plain and address.startswith(home) else home
