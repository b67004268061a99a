"""Uses of tokens: which there are, when each was used, and which end soon."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session as Db

from service.core import owned, paging, tokens
from service.models import Token

_DAY: Final = 86_400_000
_NOTED_FOR: Final = 600_000
"""Milliseconds for which the last use of a token is not written again."""


class NotedToken(NamedTuple):
    """A token and when it was used last, as far as it was noted; None: never."""

    id: str
    last_used_at: int | None


def page(db: Db, client_id: str, request: paging.PageRequest) -> paging.Page[Token]:
    """Return one page of the tokens of a client and its sessions."""
    return paging.fetch(db, owned.mine(Token, client_id), Token.id, request)


def sessions_with(db: Db, session_ids: Iterable[str], *, now: int) -> set[str]:
    """Return which sessions have a valid token of their own."""
    mine = select(Token.session_id).where(Token.session_id.in_([*session_ids]))
    return {found for found in db.scalars(mine.where(tokens.is_live(now))) if found}


def expiring(db: Db, *, now: int) -> int:
    """Count the valid tokens that expire within 30 days and that no other has replaced."""
    soon = Token.expires_at < tokens.soon(now=now)
    wanted = select(func.count()).select_from(Token).where(soon, Token.replaced_by.is_(None))
    return db.scalar(wanted.where(tokens.is_live(now))) or 0


def unnoted(token: Token, *, now: int) -> tuple[NotedToken, ...]:
    """Return the last use of a token if it was noted so long ago that it is noted again."""
    is_old = token.last_used_at is None or token.last_used_at < now - _NOTED_FOR
    return (NotedToken(token.id, token.last_used_at),) if is_old else ()


def is_first_today(token: NotedToken, *, now: int) -> bool:
    """Return whether a token is used for the first time on this day, in UTC."""
    return token.last_used_at is None or token.last_used_at // _DAY < now // _DAY


def note(db: Db, token_ids: Sequence[str], *, now: int) -> None:
    """Note when tokens were used, unless another process has just done so."""
    old = or_(Token.last_used_at.is_(None), Token.last_used_at < now - _NOTED_FOR)
    used = update(Token).where(Token.id.in_(token_ids), old)
    used = used.values(last_used_at=now, updated_at=Token.updated_at)
    db.execute(used.execution_options(synchronize_session=False))
