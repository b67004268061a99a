"""Sessions: their status, their settings, and their opt-outs."""

from __future__ import annotations

from typing import Any, Final

from flask import Response, render_template
from marshmallow import fields
from sqlalchemy.orm import Session as Db

from service.blueprints.context import address, crier
from service.blueprints.requests import request
from service.channels.registry import NotInstalledError, UnknownChannelError
from service.console import forms, hours, listing, notices, prices
from service.console.access import Section, to_page, visitor
from service.console.language import gettext as _
from service.core import opt_outs, sessions
from service.core.deliveries.opted_out import OptOutOwner
from service.core.paging import LARGEST_SIZE, PageRequest
from service.core.tokens import Scope
from service.database import now_ms
from service.dispatch.sending.revocations import await_end
from service.dispatch.upkeep import checks
from service.errors import InvalidError, NotFoundError
from service.models import Session
from service.schemas.sessions import NewSessionSchema, SessionChangeSchema

blueprint = Section("sessions", __name__)

TITLES: Final = {
    "sandbox": "Sandbox",
    "whatsapp_cloud": "WhatsApp (Cloud API)",
    "waha": "WhatsApp (WAHA)",
    "apprise": "Apprise",
    "twilio": "Twilio",
    "africas_talking": "Africa's Talking",
    "http_gateway": "HTTP",
    "smpp": "SMPP",
}
"""What channels are called."""

_INVALID = 422


@blueprint.page("/sessions")
def index() -> str:
    """Show all accounts, and whether each can send."""
    with crier().database.reading() as db:
        page = sessions.page(db, visitor().client_id, PageRequest(1, LARGEST_SIZE))
    return render_template("console/sessions.html", sessions=page.items, titles=TITLES)


@blueprint.page("/sessions/new", Scope.ADMIN)
def new() -> str:
    """Ask for the channel first, then for what it needs."""
    channel = request.args.get("channel", "")
    return _form(channel, None, dict(request.args), {})


@blueprint.action("/sessions/new", "session.create", Scope.ADMIN)
def create() -> Response | tuple[str, int]:
    """Store an account and ask its provider whether it could send."""
    channel = forms.text("channel")
    try:
        wanted = forms.check(NewSessionSchema, {"channel": channel, **_given(channel)})
        with crier().database.writing() as db:
            session = sessions.create(
                db,
                visitor().client_id,
                wanted,
                channels=crier().accounts.channels,
                vault=crier().vault,
            )
    except InvalidError as error:
        return _form(channel, None, dict(request.form), error.errors), _INVALID
    _ask(session)
    return _to(session.id)


@blueprint.page("/sessions/<id:session_id>")
def show(session_id: str) -> str:
    """Show an account, what keeps it from sending, and who wants nothing more from it."""
    with crier().database.reading() as db:
        session = sessions.get(db, visitor().client_id, session_id)
        left_out = opt_outs.page(db, _owner(db, session_id), listing.wanted())
    return render_template(
        "console/session.html",
        session=session,
        title=TITLES.get(session.channel, session.channel),
        webhook=_webhook(session),
        page=left_out,
    )


@blueprint.page("/sessions/<id:session_id>/edit", Scope.ADMIN)
def edit(session_id: str) -> str:
    """Show the form for changes. Secrets that are left empty stay the same."""
    session = _mine(session_id)
    return _form(session.channel, session, {}, {})


@blueprint.action("/sessions/<id:session_id>/edit", "session.update", Scope.ADMIN)
def update(session_id: str) -> Response | tuple[str, int]:
    """Change an account; one that was blocked is tried again."""
    session = _mine(session_id)
    try:
        changes = forms.check(SessionChangeSchema, _given(session.channel))
        if not forms.text("default"):
            changes.pop("is_default", None)
        with crier().database.writing() as db:
            sessions.update(
                db,
                visitor().client_id,
                session_id,
                changes,
                channels=crier().accounts.channels,
                vault=crier().vault,
            )
    except InvalidError as error:
        return _form(session.channel, session, dict(request.form), error.errors), _INVALID
    notices.give(_("Session saved."))
    return _to(session_id)


@blueprint.action("/sessions/<id:session_id>/check", "session.check", Scope.ADMIN)
def check(session_id: str) -> Response:
    """Ask the provider whether this account could send."""
    _ask(_mine(session_id))
    return _to(session_id)


@blueprint.action("/sessions/<id:session_id>/delete", "session.delete", Scope.ADMIN)
def delete(session_id: str) -> Response:
    """Delete an account that nothing unfinished needs."""
    with crier().database.writing() as db:
        session = sessions.delete(db, visitor().client_id, session_id)
    notices.give(_("Session %(name)s deleted.", name=session.name))
    return to_page("sessions.index")


@blueprint.action("/sessions/<id:session_id>/opt-outs", "opt_out.create", Scope.ADMIN)
def leave_out(session_id: str) -> Response:
    """Leave somebody out of what this account sends."""
    recipient = forms.text("recipient")
    with crier().database.writing() as db:
        revoked = opt_outs.add(db, _owner(db, session_id), recipient, now=now_ms())[1]
    await_end(crier().database, revoked)
    notices.give(_("Opt-out added."))
    return _to(session_id)


@blueprint.action("/sessions/<id:session_id>/opt-outs/delete", "opt_out.delete", Scope.ADMIN)
def let_in(session_id: str) -> Response:
    """Delete an opt-out."""
    with crier().database.writing() as db:
        opt_outs.delete(db, _owner(db, session_id), forms.text("recipient"))
    notices.give(_("Opt-out removed."))
    return _to(session_id)


def _owner(db: Db, session_id: str) -> OptOutOwner:
    return opt_outs.owner(db, visitor().client_id, session_id)


def _mine(session_id: str) -> Session:
    with crier().database.reading() as db:
        return sessions.get(db, visitor().client_id, session_id)


def _ask(session: Session) -> None:
    """Ask the provider about an account, and show the answer on the next page."""
    problem = checks.check(crier().accounts, crier().database, session)
    fine = _("The provider confirms that this session can send.")
    notices.give(problem or fine, is_failure=bool(problem))


def _webhook(session: Session) -> str:
    """Return the URL for the provider's reports, empty if it sends none."""
    try:
        reports = crier().accounts.channels.driver_class(session.channel).webhook
    except NotInstalledError:
        return ""
    return address(f"/webhook/{session.id}") if reports else ""


def _to(session_id: str) -> Response:
    return to_page("sessions.show", session_id=session_id)


def _fields(channel: str) -> dict[str, fields.Field[Any]]:
    """Return the form fields for a channel's settings; raises NotFoundError."""
    try:
        return dict(crier().accounts.channels.settings_schema(channel)().fields)
    except (UnknownChannelError, NotInstalledError) as error:
        raise NotFoundError("channel", channel) from error


def _given(channel: str) -> dict[str, Any]:
    """Return the fields of the form as the API's body has them."""
    settings = {
        name: _value(name, field)
        for name, field in _fields(channel).items()
        if isinstance(field, fields.Boolean) or forms.text(f"settings.{name}")
    }
    return {
        "name": forms.text("name"),
        "rate": forms.number("rate", float),
        "jitter": _jitter(),
        "daily_limit": forms.number("daily_limit", int),
        "limit_group": forms.text("limit_group") or None,
        "window": hours.given(),
        "prices": prices.given(),
        "default": bool(forms.text("default")),
        "settings": settings,
    }


def _jitter() -> dict[str, Any] | None:
    """Return the pauses between messages; an empty shortest one is none at all."""
    given = {name: forms.number(f"jitter.{name}", float) for name in ("from", "to")}
    if given == {"from": None, "to": None}:
        return None
    return {"from": given["from"] or 0.0, "to": given["to"] or given["from"] or 0.0}


def _value(name: str, field: fields.Field[Any]) -> Any:
    given = forms.text(f"settings.{name}")
    return bool(given) if isinstance(field, fields.Boolean) else given


def _form(
    channel: str, session: Session | None, given: dict[str, str], faults: dict[str, Any]
) -> str:
    known = session.settings if session else {}
    is_sent = bool(given.get("csrf"))
    chosen = request.form.getlist("window.days")
    return render_template(
        "console/session_form.html",
        channel=channel,
        channels={name: TITLES.get(name, name) for name in crier().accounts.channels.names()},
        session=session,
        fields=_asked(channel, known) if channel else [],
        given=given,
        faults=faults,
        window={**given, "window.days": chosen} if is_sent else hours.filled(_window(session)),
        prices=given if is_sent else prices.filled(session.prices if session else None),
    )


def _window(session: Session | None) -> dict[str, Any] | None:
    return session.window if session else None


def _asked(channel: str, known: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the fields of a channel as the form shows them."""
    secret = crier().accounts.channels.secret_fields(channel)
    return [
        {
            "name": name,
            "about": field.metadata.get("description", ""),
            "is_required": field.required,
            "is_secret": name in secret,
            "is_flag": isinstance(field, fields.Boolean),
            "value": known.get(name, "" if field.required else field.load_default),
        }
        for name, field in _fields(channel).items()
    ]
