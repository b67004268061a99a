"""Wishes: the keywords by which people stop and start messages, heeded many at once.

A thousand of them in one webhook take a few statements: others wait for this transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session as Db

from service.core import identities, opt_outs
from service.core.deliveries.opted_out import OptOutOwner
from service.core.inbox_sessions import InboxSession
from service.core.keywords import KeywordAction
from service.core.opt_out_policies import Policy, Reach
from service.core.revocations import ClaimKey
from service.database import pieces
from service.models import OptOutSource, Reply


def complete(db: Db, client_id: str, rows: Sequence[dict[str, Any]]) -> None:
    """Give rows all addresses of their writers: a number may be known from other messages."""
    known = identities.people(
        db, client_id, {form for row in rows for form in row["forms"].split()}
    )
    for row in rows:
        forms = (other for form in row["forms"].split() for other in known[form])
        row["forms"] = " ".join(dict.fromkeys(forms))


def heed(
    db: Db, session: InboxSession, rows: Sequence[dict[str, Any]], policy: Policy, *, now: int
) -> list[ClaimKey]:
    """Stop and start messages to writers, who are told so where the client wants it.

    Of several keywords of one person, the last one counts.
    """
    complete(db, session.client_id, rows)
    of_session, of_client = (
        OptOutOwner(session.client_id, session.id),
        OptOutOwner(session.client_id),
    )
    everybody = list(dict.fromkeys(form for row in rows for form in row["forms"].split()))
    out, latest = (
        opt_outs.among(db, of_session, everybody),
        _latest_words(db, session.id, everybody),
    )
    wishes: dict[str, KeywordAction] = {}
    answers: dict[str, list[str]] = {}
    for row in rows:
        people = row["forms"].split()
        if any(latest.get(form, 0) > row["written_at"] for form in people):
            continue  # changed their mind since: webhooks come in any order
        was_out, stops = not out.isdisjoint(people), row["opt_out"] is KeywordAction.STOP
        out = out.union(people) if stops else out.difference(people)
        wishes |= dict.fromkeys(people, row["opt_out"])
        if stops != was_out:
            answers.setdefault(policy.confirmation if stops else policy.welcome, []).append(
                row["id"]
            )
    _answer(db, answers)
    starting = [form for form, wish in wishes.items() if wish is KeywordAction.START]
    stopping = [form for form, wish in wishes.items() if wish is KeywordAction.STOP]
    for whose in (of_session, of_client):
        opt_outs.forget(db, whose, starting)
    whose = of_session if policy.reach == Reach.SESSION else of_client
    return opt_outs.stop(db, whose, stopping, OptOutSource.KEYWORD, now=now) if stopping else []


def _latest_words(db: Db, session_id: str, people: Sequence[str]) -> dict[str, int]:
    """Return when people wrote their latest keyword to a session."""
    found: dict[str, int] = {}
    for some in pieces(people):
        words = select(Reply.recipient, func.max(Reply.written_at)).where(
            Reply.recipient.in_(some),
            Reply.session_id == session_id,
            Reply.opt_out.is_not(None),
        )
        rows = db.execute(words.group_by(Reply.recipient)).all()
        found |= {row[0]: row[1] for row in rows}
    return found


def _answer(db: Db, answers: Mapping[str, Sequence[str]]) -> None:
    """Note what is to be sent to the writers of some replies."""
    for answer, reply_ids in answers.items():
        for some in pieces(reply_ids if answer else ()):
            due = update(Reply).where(Reply.id.in_(some)).values(confirmation=answer)
            db.execute(due, execution_options={"synchronize_session": False})
