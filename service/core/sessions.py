"""The verbs of sessions: a client's sending accounts, one of which is the default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from marshmallow import ValidationError
from sqlalchemy import delete as sql_delete
from sqlalchemy import select
from sqlalchemy import update as sql_update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Db

from service import ids
from service.channels.registry import Channels, NotInstalledError, UnknownChannelError
from service.channels.settings import servers
from service.core import faults, keys, owned, paging
from service.core.attachments import finished, refuse_used
from service.core.vault import Vault
from service.errors import ConflictError, InUseError, InvalidError, UnknownSessionError
from service.models import FOREVER, Broadcast, Session, UploadedMedia

_OPTIONS = ("name", "rate", "concurrency", "max_attempts", "on_uncertain")


def create(
    db: Db, client_id: str, fields: Mapping[str, Any], *, channels: Channels, vault: Vault
) -> Session:
    """Create a session from `name`, `channel`, `settings` and options.

    The first one of a client is its default. Raises InvalidError, ConflictError.
    """
    public, secret = _split(channels, fields["channel"], fields.get("settings") or {})
    session = Session(
        client_id=client_id,
        channel=fields["channel"],
        settings=public,
        **{name: fields[name] for name in _OPTIONS if name in fields},
    )
    keys.seal(db, session, secret, vault)
    if fields.get("is_default") or _default(db, client_id) is None:
        _make_default(db, session)
    db.add(session)
    _flush(db, session)
    return session


def get(db: Db, client_id: str, session_id: str) -> Session:
    """Return a client's session; raises NotFoundError."""
    return owned.get(db, Session, client_id, session_id)


def page(
    db: Db, client_id: str, request: paging.PageRequest, *, within: str | None = None
) -> paging.Page[Session]:
    """Return one page of a client's sessions, of all or only of the one named `within`."""
    mine = owned.mine(Session, client_id)
    if within is not None:
        mine = mine.where(Session.id == within)
    return paging.fetch(db, mine, Session.id, request)


def on_channel(db: Db, client_id: str, channel: str) -> Sequence[str]:
    """Return the ids of a client's sessions on a channel."""
    wanted = select(Session.id).where(Session.client_id == client_id, Session.channel == channel)
    return db.scalars(wanted).all()


def choose(db: Db, client_id: str, session_id: str) -> Session:
    """Return the session that a request names, the default one for an empty name.

    Raises UnknownSessionError; InvalidError when there is no default, as there is no session.
    """
    if not session_id:
        session = _default(db, client_id)
        if session is None:
            reason = "There is no session yet to send with: create one by POST /session."
            raise InvalidError(errors={"session_id": [reason]})
        return session
    found = None
    if ids.is_id(session_id):
        found = db.scalar(owned.mine(Session, client_id).where(Session.id == session_id))
    if found is None:
        sentence = f"There is no session {session_id[:64]!r} among yours."
        raise UnknownSessionError(sentence, errors={"session_id": [sentence]})
    return found


def update(  # noqa: PLR0913 - three of them say whose session, two how it is checked and kept
    db: Db,
    client_id: str,
    session_id: str,
    fields: Mapping[str, Any],
    *,
    channels: Channels,
    vault: Vault,
) -> Session:
    """Change the given fields of a session, if it still has the `version` that is among them.

    A secret that is not given stays. A session that was blocked may send again: whoever changes
    it says that it is mended. Only new settings end a hold before its date. Raises NotFoundError,
    InvalidError, ConflictError, StaleVersionError.
    """
    session = get(db, client_id, session_id)
    owned.check_version(session, fields)
    _refuse_other_channel(session, fields)
    if "settings" in fields:
        _replace_settings(db, session, fields["settings"] or {}, channels, vault)
    if fields.get("rate", session.rate) != session.rate:
        session.paced_until = 0  # What was reserved at another rate says nothing about this one.
    # Before the name is set: what this writes would meet one that is taken, and not say so.
    _move_default(db, session, fields)
    for name in _OPTIONS:
        if name in fields:
            setattr(session, name, fields[name])
    if "settings" in fields:
        session.held_until, session.hold_reason = 0, None
    elif session.held_until == FOREVER:
        session.held_until, session.hold_reason = session.rests_until, session.rest_reason
    _flush(db, session)
    return session


def delete(db: Db, client_id: str, session_id: str) -> Session:
    """Delete a session; finished broadcasts forget it.

    Raises NotFoundError, InUseError while an unfinished broadcast needs it, and ConflictError for
    the default one while there are others: which of them is to follow, the client has to say.
    """
    session = get(db, client_id, session_id)
    others = owned.mine(Session, client_id).where(Session.id != session_id)
    if session.is_default and db.scalar(others.limit(1)) is not None:
        raise ConflictError("This is the default session: make another one the default first.")
    forget = sql_update(Broadcast).where(Broadcast.session_id == session_id, finished())
    db.execute(forget.values(session_id=None), execution_options={"synchronize_session": False})
    refuse_used(db, "session", Broadcast.session_id == session_id)
    db.delete(session)
    try:
        db.flush()
    except IntegrityError as error:  # a use that came in this very moment
        raise InUseError("A new broadcast needs this session.") from error
    return session


def _default(db: Db, client_id: str) -> Session | None:
    return db.scalar(owned.mine(Session, client_id).where(Session.is_default))


def _make_default(db: Db, session: Session) -> None:
    """Let a session take the place of the client's default one."""
    former = owned.mine(Session, session.client_id).where(Session.is_default)
    for other in db.scalars(former):
        other.is_default = False
    # Two defaults at once, be it within one flush, the database does not allow.
    db.flush()
    session.is_default = True


def _move_default(db: Db, session: Session, fields: Mapping[str, Any]) -> None:
    wanted = fields.get("is_default")
    if wanted is None or wanted == session.is_default:
        return
    if not wanted:
        reason = "A client has always one default session: make another one the default instead."
        raise InvalidError(errors={"default": [reason]})
    _make_default(db, session)


def _refuse_other_channel(session: Session, fields: Mapping[str, Any]) -> None:
    if fields.get("channel", session.channel) != session.channel:
        reason = f"This session is on {session.channel!r}: create another one for another channel."
        raise InvalidError(errors={"channel": [reason]})


def _replace_settings(
    db: Db, session: Session, settings: Mapping[str, Any], channels: Channels, vault: Vault
) -> None:
    """Set a session's settings, keeping the secrets that are not among the new ones.

    Uploads are forgotten: the account may be another one now.
    """
    kept = keys.kept(session, settings, vault)
    public, secret = _split(channels, session.channel, {**kept, **settings})
    _refuse_other_server(channels, session, public, kept.keys() - settings.keys())
    session.settings = public
    keys.seal(db, session, secret, vault)
    db.execute(sql_delete(UploadedMedia).where(UploadedMedia.session_id == session.id))


def _refuse_other_server(
    channels: Channels, session: Session, public: Mapping[str, Any], kept: AbstractSet[str]
) -> None:
    """Raise InvalidError where secrets that are kept would be sent to another server."""
    schema = channels.settings_schema(session.channel)
    before, after = servers(schema, session.settings), servers(schema, public)
    moved = [name for name in after if after[name] != before[name]]
    if moved and kept:
        reason = f"Give this secret again: {moved[0]!r} names another server than before."
        raise InvalidError(errors={f"settings.{name}": [reason] for name in sorted(kept)})


def _split(
    channels: Channels, channel: str, settings: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Check settings by the channel's own schema; return the public and the secret ones."""
    try:
        loaded: dict[str, Any] = channels.settings_schema(channel)().load(settings)
    except UnknownChannelError as error:
        known = ", ".join(channels.names())
        reason = f"There is no channel {channel!r}: take {known}."
        raise InvalidError(errors={"channel": [reason]}) from error
    except NotInstalledError as error:
        raise InvalidError(errors={"channel": [error.reason]}) from error
    except ValidationError as error:
        under = faults.under("settings", faults.flatten(error.messages))
        raise InvalidError(errors=under) from error
    secret_names = channels.secret_fields(channel)
    public = {name: value for name, value in loaded.items() if name not in secret_names}
    # An optional secret that is left empty is none.
    return public, {name: loaded[name] for name in loaded if name in secret_names and loaded[name]}


def _flush(db: Db, session: Session) -> None:
    """Write the session; the database decides whether its name is taken."""
    sentence = f"There is a session named {session.name!r} already."
    try:
        db.flush()
    except IntegrityError as error:
        if "name" not in str(error.orig):
            raise ConflictError(
                "Another session became the default just now: try again."
            ) from error
        raise ConflictError(sentence, errors={"name": [sentence]}) from error
