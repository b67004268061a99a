"""Approved templates: what a session's provider reports about the templates it may use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session as Db

from service.channels.base import TemplateInfo
from service.channels.webhooks import TemplateNotice
from service.core import paging
from service.database import insert_new
from service.errors import InvalidError
from service.models import Session, Template

FRESH: Final = 3_600_000
"""Milliseconds for which a list of templates is used before it is fetched again."""

USABLE: Final = frozenset({"APPROVED", "UNKNOWN"})
"""The states of a template that can be sent, as far as is known."""

_MOST_TOLD: Final = 20


def is_fresh(session: Session, *, now: int) -> bool:
    """Return whether a session's templates were fetched not long ago."""
    return session.templates_at is not None and now - session.templates_at < FRESH


def replace(db: Db, session_id: str, found: Iterable[TemplateInfo], *, now: int) -> None:
    """Store the templates of a session that were just fetched."""
    db.execute(delete(Template).where(Template.session_id == session_id))
    rows = {
        (each.name, each.language): {
            "session_id": session_id,
            "name": each.name,
            "language": each.language,
            "category": each.category or None,
            "status": each.status,
            "quality": each.quality or None,
            "reason": each.reason or None,
            "parameters": list(each.parameters),
            "updated_at": now,
        }
        for each in found
    }
    if rows:
        db.execute(insert(Template), [*rows.values()])
    fetched = update(Session).where(Session.id == session_id).values(templates_at=now)
    db.execute(fetched, execution_options={"synchronize_session": False})


def page(db: Db, session_id: str, request: paging.PageRequest) -> paging.Page[Template]:
    """Return one page of a session's templates, by name."""
    mine = select(Template).where(Template.session_id == session_id)
    by_name = mine.order_by(request.order(Template.name))
    return paging.fetch(db, by_name, Template.language, request)


def note(db: Db, session_id: str, notice: TemplateNotice, *, now: int) -> bool:
    """Store a webhook's report on a template; return whether it changed anything.

    An older notice changes nothing: webhooks arrive in any order.
    """
    said_at = min(notice.at or now, now)
    key = {"session_id": session_id, "name": notice.name, "language": notice.language}
    insert_new(db, Template, [{**key, "status": notice.status or "UNKNOWN", "updated_at": said_at}])
    template = db.get_one(Template, key, populate_existing=True)
    if template.updated_at > said_at:
        return False
    template.status = notice.status or template.status
    template.quality = notice.quality or template.quality
    template.reason = (notice.reason or None) if notice.status else template.reason
    template.updated_at = said_at
    db.flush()
    return True


def check(db: Db, session: Session, template: Mapping[str, Any]) -> None:
    """Raise InvalidError if the stored templates show that this one cannot be sent as given.

    Do nothing if the session has no stored templates.
    """
    name, language = template["name"], template["language"]
    known = db.get(Template, (session.id, name, language))
    if known is None:
        if session.templates_at is not None:
            raise InvalidError(errors={"message.template.name": [_unknown(db, session, template)]})
        return
    if known.status not in USABLE:
        said = f" ({known.reason})" if known.reason else ""
        reason = f"WhatsApp does not send {name!r} in {language!r}: {known.status.lower()}{said}."
        raise InvalidError(errors={"message.template.name": [reason]})
    if known.parameters is None:
        return
    if faults := [*_mismatches(known.parameters, template.get("components") or ())]:
        raise InvalidError(errors={"message.template.components": faults})


def _unknown(db: Db, session: Session, template: Mapping[str, Any]) -> str:
    of_session = select(Template.name, Template.language).where(Template.session_id == session.id)
    name = template["name"]
    languages = db.scalars(
        select(Template.language).where(Template.session_id == session.id, Template.name == name)
    ).all()
    if languages:
        there = ", ".join(sorted(languages)[:_MOST_TOLD])
        return f"{name!r} has no language {template['language']!r}. It has {there}."
    names = sorted({row.name for row in db.execute(of_session.limit(1_000))})[:_MOST_TOLD]
    there = f" There are {', '.join(names)}." if names else ""
    return f"The account has no template {name!r}.{there}"


def _mismatches(
    needed: Sequence[Mapping[str, Any]], given: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Yield a reason for each component with a wrong number of parameters."""
    wanted = {_place(each): each["names"] for each in needed}
    found = {_place(each): len(each.get("parameters") or ()) for each in given}
    for place in [*wanted, *(place for place in found if place not in wanted)]:
        names, count = wanted.get(place, []), found.get(place, 0)
        if len(names) == count or (place not in wanted and place.startswith("button")):
            continue
        gaps = f" ({', '.join(map(str, names))})" if names else ""
        yield f"The {place} takes {len(names)} parameters{gaps}; {count} are given."


def _place(component: Mapping[str, Any]) -> str:
    kind = str(component.get("component") or component.get("type") or "").lower()
    return f"button {component.get('index')}" if kind == "button" else kind
