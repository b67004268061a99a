"""How far a delivery is: what its own attempts and the provider's later word say together.

Pure: whatever order receipts come in, and however often, the end is the same. A delivery moves
forward only; each of its parts has a state of its own, a letter in `progress`.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """A provider's word on one part of a delivery; `message_id` is its own id of it, or empty.

    `again`: the part failed for a cause that passes, and is to be sent again.
    """

    part: int
    state: ReceiptState
    message_id: str = ""
    code: str | None = None
    reason: str | None = None
    again: bool = False


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


def advance(state: State, word: Word, parts: int) -> State:
    """Return what is known of a delivery of so many parts after one more word on it.

    The word's `part` must be one of the delivery's.
    """
    letter, progress = _LETTERS[word.state], state.progress.ljust(parts, _UNKNOWN)
    is_news = _RANKS[letter] > _RANKS[progress[word.part]]
    if state.status in _FIXED or not is_news or _is_stale(word, state):
        return state
    if word.again and state.status is not DeliveryStatus.FAILED:
        return _reopened(state, word, parts)
    after = state._replace(
        progress=progress[: word.part] + letter + progress[word.part + 1 :],
        message_ids=_with(state.message_ids, word),
    )
    if "f" in after.progress:
        return _failed(state, after, word)
    if after.is_complete(parts):
        return after._replace(status=_settled(after.progress), code=None, reason=None)
    return after._replace(status=_open(state, after, parts))


def _is_stale(word: Word, state: State) -> bool:
    """Tell whether a word is about a message in whose place another one was sent, or will be.

    That such a message arrived is news all the same.
    """
    known = state.message_ids[word.part] if word.part < len(state.message_ids) else ""
    if known == VOID + word.message_id:
        return word.state in {ReceiptState.SENT, ReceiptState.FAILED}
    if word.state is not ReceiptState.FAILED or known in {"", NAMELESS, VOID}:
        return False
    is_void = known.startswith(VOID)
    return state.status is DeliveryStatus.QUEUED if is_void else word.message_id not in {"", known}


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


def _reopened(before: State, word: Word, parts: int) -> State:
    """Let a part be sent again that failed after it was taken; the others stay as they are."""
    message_ids = [*_with(before.message_ids, word)]
    message_ids[word.part] = VOID + message_ids[word.part]
    progress = before.progress.ljust(parts, _UNKNOWN)
    after = before._replace(
        message_ids=tuple(message_ids),
        progress=progress[: word.part] + _UNKNOWN + progress[word.part + 1 :],
    )
    if before.status is DeliveryStatus.UNCERTAIN and not _is_settled(before, after, word):
        return after
    return after._replace(status=DeliveryStatus.QUEUED, code=word.code, reason=word.reason)


def _is_settled(before: State, after: State, word: Word) -> bool:
    """Tell whether a part that failed is the one at which an uncertain delivery was left.

    Where a process died, further parts may have been sent after it.
    """
    has_id = word.part < len(before.message_ids)
    was_known = has_id and not before.message_ids[word.part].startswith(VOID)
    may_have_more = before.code == PROCESS_DIED and len(after.message_ids) < len(after.progress)
    return not was_known and not may_have_more


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
