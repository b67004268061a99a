"""Opt-out policies: which keywords a client accepts, and what they cause."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from functools import lru_cache
from typing import Any

from sqlalchemy.orm import Session as Db

from service.core import keywords
from service.core.keywords import LANGUAGES, KeywordAction
from service.models import Client


class Reach(StrEnum):
    """What a keyword stops: the session that it was sent to, or all sessions of the client."""

    SESSION = "session"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Policy:
    """A client's rules for keywords.

    `languages` are the languages of its keywords; `words` and `start_words` are its own keywords.
    `confirmation` is sent once to a person who stops, `welcome` to a person who starts again;
    empty: nothing is sent.
    """

    languages: tuple[str, ...] = tuple(LANGUAGES)
    words: tuple[str, ...] = ()
    start_words: tuple[str, ...] = ()
    reach: str = Reach.SESSION
    confirmation: str = ""
    welcome: str = ""

    def wish(self, word: str) -> KeywordAction | None:
        """Return the request of a folded text, or None if it is not a keyword."""
        return _table(self.languages, self.words, self.start_words).get(word)


_table = lru_cache(maxsize=256)(keywords.table)
_TUPLES = frozenset(field.name for field in fields(Policy) if "tuple" in str(field.type))


def get(db: Db, client_id: str) -> Policy:
    """Return the rules of a client."""
    return read(db.get_one(Client, client_id).opt_out_policy or {})


def change(db: Db, client_id: str, changes: Mapping[str, Any]) -> Policy:
    """Change the given rules of a client; the others stay."""
    client = db.get_one(Client, client_id)
    policy = read({**(client.opt_out_policy or {}), **changes})
    client.opt_out_policy = asdict(policy)
    db.flush()
    return policy


def read(stored: Mapping[str, Any]) -> Policy:
    """Return the stored rules; missing ones have their defaults."""
    values: dict[str, Any] = {
        name: tuple(value) if name in _TUPLES else value for name, value in stored.items()
    }
    return Policy(**values)
