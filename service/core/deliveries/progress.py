"""How far a delivery is: what its own attempts and the provider's later word say together.

Pure: whatever order receipts come in, and however often, the end is the same. A delivery moves
forward only; each of its parts has a state of its own, a letter in `progress`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from service.channels.base import ReceiptState
from service.models import DeliveryStatus

NAMELESS: Final = "-"
"""Stands for the id of a part whose provider gave it none."""

VOID: Final = "!"
"""Precedes the id of a part that failed after all and is to be sent again; alone, it stands for a
part that is to be sent again though the provider may have it."""

PROCESS_DIED: Final = "process_died"
"""The code of a delivery of which nobody knows how many parts were sent."""

_UNKNOWN: Final = "."
_LETTERS: Final = {
    ReceiptState.SENT: "s",
    ReceiptState.DELIVERED: "d",
    ReceiptState.READ: "r",
    ReceiptState.FAILED: "f",
}
_RANKS: Final = {_UNKNOWN: 0, "s": 1, "f": 2, "d": 3, "r": 4}
"""A part that was delivered has not failed, whichever word comes last."""

_FIXED: Final = {DeliveryStatus.SENDING, DeliveryStatus.CANCELLED}
"""Where receipts change nothing: not yet, or not any more."""


class Word(NamedTuple):
    """A provider's word on one part of a delivery; `message_id` is its own id of it, or empty."""

    part: int
    state: ReceiptState
    message_id: str = ""
    code: str | None = None
    reason: str | None = None


class State(NamedTuple):
    """What is known of a delivery: all that receipts may change."""

    status: DeliveryStatus
    message_ids: tuple[str, ...] = ()
    progress: str = ""
    code: str | None = None
    reason: str | None = None

    def is_complete(self, parts: int) -> bool:
        """Tell whether the provider has all parts, and none of them is to be sent again."""
        return not unsent(self.message_ids, parts)


def unsent(message_ids: Sequence[str], parts: int) -> Sequence[int]:
    """Return the numbers of the parts that are still to be sent, in their order."""
    if not message_ids:
        return range(parts)
    void = [number for number, each in enumerate(message_ids[:parts]) if each.startswith(VOID)]
    return [*void, *range(len(message_ids), parts)]


def doubted(message_ids: Sequence[str]) -> list[str]:
    """Note that the provider may have the part that is to be sent next."""
    void = (number for number, each in enumerate(message_ids) if each.startswith(VOID))
    number = next(void, len(message_ids))
    return [*message_ids[:number], VOID, *message_ids[number + 1 :]]


def taken(message_ids: str | None) -> list[str]:
    """Return the ids of the parts that the provider took, of those that a delivery's row holds.

    Also of a part that failed after all, until another message is sent in its place: it is by that
    id that the provider can be asked what became of it.
    """
    return [each.removeprefix(VOID) for each in (message_ids or "").split() if each != VOID]


def advance(state: State, words: Iterable[Word], parts: int) -> State:
    """Return what is known of a delivery of so many parts after more words on it.

    Each word's `part` must be one of the delivery's.
    """
    for word in words:
        state = _advance(state, word, parts)
    return state


def _advance(state: State, word: Word, parts: int) -> State:
    letter, progress = _LETTERS[word.state], state.progress.ljust(parts, _UNKNOWN)
    is_news = _RANKS[letter] > _RANKS[progress[word.part]]
    if state.status in _FIXED or not is_news or _is_stale(word, state.message_ids):
        return state
    after = state._replace(
        progress=progress[: word.part] + letter + progress[word.part + 1 :],
        message_ids=_with(state.message_ids, word),
    )
    if "f" in after.progress:
        return _failed(state, after, word)
    if after.is_complete(parts):
        return after._replace(status=_settled(after.progress), code=None, reason=None)
    return after._replace(status=_open(state, after, parts))


def _is_stale(word: Word, message_ids: Sequence[str]) -> bool:
    """Tell whether a word is about a message in whose place another one was sent, or will be.

    That such a message arrived is news all the same.
    """
    known = message_ids[word.part] if word.part < len(message_ids) else ""
    if known == VOID + word.message_id:
        return word.state in {ReceiptState.SENT, ReceiptState.FAILED}
    is_known = known not in {"", NAMELESS} and not known.startswith(VOID)
    is_other = is_known and word.message_id not in {"", known}
    return word.state is ReceiptState.FAILED and is_other


def _with(message_ids: tuple[str, ...], word: Word) -> tuple[str, ...]:
    """Note that the provider has a part; where that is news, all before it: they go in order."""
    missing = word.part + 1 - len(message_ids)
    known = [*message_ids, *(NAMELESS for _ in range(missing))]
    if missing > 0:
        known = [NAMELESS if each == VOID else each for each in known]
    if known[word.part] == NAMELESS or known[word.part].startswith(VOID):
        known[word.part] = word.message_id or NAMELESS
    return tuple(known)


def _failed(before: State, after: State, word: Word) -> State:
    """Let a delivery fail, for the reason of the first of its parts that did."""
    after = after._replace(status=DeliveryStatus.FAILED)
    is_first = after.progress.index("f") == word.part and word.state is ReceiptState.FAILED
    has_own = before.status is DeliveryStatus.FAILED and "f" not in before.progress
    return after._replace(code=word.code, reason=word.reason) if is_first and not has_own else after


def _settled(progress: str) -> DeliveryStatus:
    """Return how a delivery stands that the provider has whole: as far as the last of its parts."""
    rank = min(_RANKS[letter] for letter in progress)
    if rank >= _RANKS["r"]:
        return DeliveryStatus.READ
    return DeliveryStatus.DELIVERED if rank >= _RANKS["d"] else DeliveryStatus.SENT


def _open(before: State, after: State, parts: int) -> DeliveryStatus:
    """Return how a delivery stands of which parts are missing.

    An uncertain one goes on with the next part as soon as the one is settled that it was left at;
    but where its process died, further parts may have been sent.
    """
    if before.status is not DeliveryStatus.UNCERTAIN or before.code == PROCESS_DIED:
        return before.status
    is_settled = unsent(after.message_ids, parts) != unsent(before.message_ids, parts)
    return DeliveryStatus.QUEUED if is_settled else DeliveryStatus.UNCERTAIN
