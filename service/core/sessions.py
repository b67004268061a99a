"""Sessions: a client's sending accounts. One of them is the default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from marshmallow import ValidationError
from sqlalchemy import delete as sql_delete
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Db

from service import ids
from service.channels.registry import Channels, NotInstalledError, UnknownChannelError
from service.channels.settings import servers
from service.core import faults, holding, keys, openings, owned, paging, signals, tokens, uses
from service.core.deliveries import gates
from service.core.vault import Vault
from service.database import now_ms
from service.errors import ConflictError, InUseError, InvalidError, UnknownSessionError
from service.models import FOREVER, Broadcast, Session, UploadedMedia

_OPTIONS = (
    *("name", "rate", "jitter", "daily_limit", "limit_group", "concurrency", "max_attempts"),
    *("on_uncertain", "prices", "window"),
)
_PACE = ("rate", "jitter")
_GATE = ("daily_limit", "limit_group", "window")
"""The options after whose change waiting deliveries may go earlier, or have to wait longer."""


def create(
    db: Db, client_id: str, fields: Mapping[str, Any], *, channels: Channels, vault: Vault
) -> Session:
    """Create a session from `name`, `channel`, `settings` and options.

    A client's first session is its default. Raises InvalidError, ConflictError.
    """
    public, secret = _split(channels, fields["channel"], fields.get("settings") or {})
    session = Session(
        client_id=client_id,
        channel=fields["channel"],
        settings=public,
        **{name: fields[name] for name in _OPTIONS if name in fields},
    )
    _open_window(session, fields)
    _check_limit(session)
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
    """Return one page of a client's sessions, or only the session `within`."""
    mine = owned.mine(Session, client_id)
    if within is not None:
        mine = mine.where(Session.id == within)
    return paging.fetch(db, mine, Session.id, request)


def on_channel(db: Db, client_id: str, channel: str) -> Sequence[str]:
    """Return the ids of a client's sessions on a channel."""
    wanted = select(Session.id).where(Session.client_id == client_id, Session.channel == channel)
    return db.scalars(wanted).all()


def choose(db: Db, client_id: str, session_id: str) -> Session:
    """Return the session that a request names, or the default if it names none.

    Raises UnknownSessionError, and InvalidError if the client has no session yet.
    """
    if not session_id:
        session = _default(db, client_id)
        if session is None:
            reason = "You have no session yet. Create one with POST /session."
            raise InvalidError(errors={"session_id": [reason]})
        return session
    found = None
    if ids.is_id(session_id):
        found = db.scalar(owned.mine(Session, client_id).where(Session.id == session_id))
    if found is None:
        sentence = f"You have no session {session_id[:64]!r}."
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
    """Change the given fields of a session; a given `version` must still be current.

    Omitted secrets stay. Any change unblocks a session, because the client may have fixed it. Only
    new settings end a hold before its date. Raises NotFoundError, InvalidError, ConflictError,
    StaleVersionError.
    """
    session = get(db, client_id, session_id)
    owned.check_version(session, fields)
    _refuse_other_channel(session, fields)
    has_new_settings = "settings" in fields and _replace_settings(
        db, session, fields["settings"] or {}, channels, vault
    )
    if _changes(session, fields, _PACE):
        session.paced_until = 0  # Slots reserved at the old pace are no longer valid.
    has_new_gate = _changes(session, fields, _GATE)
    # Nothing is read once the name is set: autoflush would hit a taken name with a bare error.
    _move_default(db, session, fields)
    with holding.telling(db, session_id, now=now_ms()):
        for name in _OPTIONS:
            if name in fields:
                setattr(session, name, fields[name])
        _open_window(session, fields)
        _check_limit(session)
        if has_new_settings:
            session.held_until, session.hold_reason = 0, None
        elif session.held_until == FOREVER:
            session.held_until, session.hold_reason = session.rests_until, session.rest_reason
        _flush(db, session)
    if has_new_gate:
        gates.look_again(db, Broadcast.session_id == session_id, now=now_ms())
    signals.announce(db)
    return session


def delete(db: Db, client_id: str, session_id: str) -> Session:
    """Delete a session; finished broadcasts lose their reference to it.

    Raises NotFoundError, InUseError if an unfinished broadcast needs it, and ConflictError for the
    default session if there are others: the client must choose the next default first.
    """
    session = get(db, client_id, session_id)
    others = owned.mine(Session, client_id).where(Session.id != session_id)
    if session.is_default and db.scalar(others.limit(1)) is not None:
        raise ConflictError("This is the default session. Make another session the default first.")
    uses.release_session(db, session_id)
    tokens.revoke_of_session(db, session_id, now_ms())
    db.delete(session)
    try:
        db.flush()
    except IntegrityError as error:  # a broadcast was created just now
        raise InUseError("A new broadcast needs this session.") from error
    return session


def _open_window(session: Session, fields: Mapping[str, Any]) -> None:
    """Set when a session sends first by its new window."""
    if "window" in fields:
        session.opens_at, session.closes_at = openings.span(fields["window"], now_ms())


def _changes(session: Session, fields: Mapping[str, Any], names: Sequence[str]) -> bool:
    return any(fields.get(name, getattr(session, name)) != getattr(session, name) for name in names)


def _check_limit(session: Session) -> None:
    """Raise InvalidError for a group that shares no limit."""
    if session.limit_group is not None and session.daily_limit is None:
        raise InvalidError(errors={"limit_group": ["Needs a `daily_limit`, which it shares."]})


def _default(db: Db, client_id: str) -> Session | None:
    return db.scalar(owned.mine(Session, client_id).where(Session.is_default))


def _make_default(db: Db, session: Session) -> None:
    """Make a session the client's default."""
    former = owned.mine(Session, session.client_id).where(Session.is_default)
    for other in db.scalars(former):
        other.is_default = False
    # The database allows no two defaults, not even within one flush.
    db.flush()
    session.is_default = True


def _move_default(db: Db, session: Session, fields: Mapping[str, Any]) -> None:
    wanted = fields.get("is_default")
    if wanted is None or wanted == session.is_default:
        return
    if not wanted:
        reason = "A client always has a default session. Make another session the default instead."
        raise InvalidError(errors={"default": [reason]})
    _make_default(db, session)


def _refuse_other_channel(session: Session, fields: Mapping[str, Any]) -> None:
    if fields.get("channel", session.channel) != session.channel:
        reason = f"Cannot be changed from {session.channel!r}. Create another session instead."
        raise InvalidError(errors={"channel": [reason]})


def _replace_settings(
    db: Db, session: Session, settings: Mapping[str, Any], channels: Channels, vault: Vault
) -> bool:
    """Replace a session's settings, but keep omitted secrets; return whether any changed.

    If so, uploaded media are forgotten, because the account may have changed.
    """
    kept = keys.kept(session, settings, vault)
    public, secret = _split(channels, session.channel, {**kept, **settings})
    if (public, secret) == (session.settings, kept):
        return False
    _refuse_other_server(channels, session, public, kept.keys() - settings.keys())
    session.settings = public
    keys.seal(db, session, secret, vault)
    db.execute(sql_delete(UploadedMedia).where(UploadedMedia.session_id == session.id))
    return True


def _refuse_other_server(
    channels: Channels, session: Session, public: Mapping[str, Any], kept: AbstractSet[str]
) -> None:
    """Raise InvalidError if kept secrets would be sent to another server."""
    schema = channels.settings_schema(session.channel)
    before, after = servers(schema, session.settings), servers(schema, public)
    moved = [name for name in after if after[name] != before[name]]
    if moved and kept:
        reason = f"Send this secret again: {moved[0]!r} now names another server."
        raise InvalidError(errors={f"settings.{name}": [reason] for name in sorted(kept)})


def _split(
    channels: Channels, channel: str, settings: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Validate settings with the channel's schema; return public and secret settings."""
    try:
        loaded: dict[str, Any] = channels.settings_schema(channel)().load(settings)
    except UnknownChannelError as error:
        known = ", ".join(channels.names())
        reason = f"Unknown channel {channel!r}. Use one of: {known}."
        raise InvalidError(errors={"channel": [reason]}) from error
    except NotInstalledError as error:
        raise InvalidError(errors={"channel": [error.reason]}) from error
    except ValidationError as error:
        under = faults.under("settings", faults.flatten(error.messages))
        raise InvalidError(errors=under) from error
    secret_names = channels.secret_fields(channel)
    public = {name: value for name, value in loaded.items() if name not in secret_names}
    # An empty optional secret counts as absent.
    return public, {name: loaded[name] for name in loaded if name in secret_names and loaded[name]}


def _flush(db: Db, session: Session) -> None:
    """Write the session; the database checks whether the name is taken."""
    sentence = f"You already have a session named {session.name!r}."
    try:
        db.flush()
    except IntegrityError as error:
        if "name" not in str(error.orig):
            raise ConflictError(
                "Another session has just become the default. Try again."
            ) from error
        raise ConflictError(sentence, errors={"name": [sentence]}) from error
