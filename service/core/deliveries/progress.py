"""Progress of a delivery: combines the results of attempts with later receipts.

These are pure functions. The order and repetition of receipts do not change the result. A delivery
only moves forward. Each part has its own state, a letter in `progress`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from service.channels.webhooks import ReceiptState
from service.models import DeliveryStatus

NAMELESS: Final = "-"
"""The id of a part for which the provider returned none."""

VOID: Final = "!"
"""Prefix for the id of a part that failed later and will be sent again. Alone, it means a part that
will be sent again although the provider may have it."""

PROCESS_DIED: Final = "process_died"
"""The code of a delivery with an unknown number of sent parts."""

_UNKNOWN: Final = "."
_LETTERS: Final = {
    ReceiptState.SENT: "s",
    ReceiptState.DELIVERED: "d",
    ReceiptState.READ: "r",
    ReceiptState.FAILED: "f",
}
_RANKS: Final = {_UNKNOWN: 0, "s": 1, "f": 2, "d": 3, "r": 4}
"""A delivered part cannot fail, whichever report comes last."""

_FIXED: Final = {DeliveryStatus.SENDING, DeliveryStatus.CANCELLED}
"""Statuses that receipts do not change."""

_GIVEN_UP: Final = {DeliveryStatus.FAILED, DeliveryStatus.FALLBACK}
"""Statuses in which nothing is sent again, whatever receipts say."""


class PartReport(NamedTuple):
    """A provider's report on a part. `message_id` is the provider's id, or empty.

    `again`: the part failed for a temporary reason and will be sent again.
    """

    part: int
    state: ReceiptState
    message_id: str = ""
    code: str | None = None
    reason: str | None = None
    again: bool = False


class State(NamedTuple):
    """The columns of a delivery that receipts may change."""

    status: DeliveryStatus
    message_ids: tuple[str, ...] = ()
    progress: str = ""
    code: str | None = None
    reason: str | None = None

    def is_complete(self, parts: int) -> bool:
        """Return whether the provider has all parts, and none will be sent again."""
        return not unsent(self.message_ids, parts)


def unsent(message_ids: Sequence[str], parts: int) -> Sequence[int]:
    """Return the numbers of the unsent parts, in order."""
    if not message_ids:
        return range(parts)
    void = [number for number, each in enumerate(message_ids[:parts]) if each.startswith(VOID)]
    return [*void, *range(len(message_ids), parts)]


def doubted(message_ids: Sequence[str]) -> list[str]:
    """Note that the provider may already have the next part."""
    void = (number for number, each in enumerate(message_ids) if each.startswith(VOID))
    number = next(void, len(message_ids))
    return [*message_ids[:number], VOID, *message_ids[number + 1 :]]


def taken(message_ids: str | None) -> list[str]:
    """Return the ids of the parts that the provider accepted, from a delivery's row.

    This includes a part that failed later, until it is sent again: the id is needed to ask the
    provider about it.
    """
    return [each.removeprefix(VOID) for each in (message_ids or "").split() if each != VOID]


def advance(state: State, word: PartReport, parts: int) -> State:
    """Return the state of a delivery with `parts` parts after one more report.

    The report's `part` must exist.
    """
    letter, progress = _LETTERS[word.state], state.progress.ljust(parts, _UNKNOWN)
    is_news = _RANKS[letter] > _RANKS[progress[word.part]]
    if state.status in _FIXED or not is_news or _is_stale(word, state):
        return state
    if word.again and state.status not in _GIVEN_UP:
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


_REACHED: Final = {
    "s": DeliveryStatus.SENT,
    "d": DeliveryStatus.DELIVERED,
    "r": DeliveryStatus.READ,
}
_ON_THE_WAY: Final = frozenset(_REACHED.values())


def is_plain(state: State, parts: int) -> bool:
    """Return whether `rise` gives the same result as `advance`, as for most deliveries.

    The provider has its only part under a known id, and no report has said that it failed.
    """
    if parts != 1 or state.status not in _ON_THE_WAY or len(state.message_ids) != 1:
        return False
    known = state.message_ids[0]
    return known != NAMELESS and not known.startswith(VOID) and state.progress != "f"


def rise(state: State, reached: ReceiptState) -> State:
    """Return the state of a plain delivery after a report that it was sent, delivered or read."""
    letter = _LETTERS[reached]
    if _RANKS[letter] <= _RANKS[state.progress or _UNKNOWN]:
        return state
    return State(_REACHED[letter], state.message_ids, letter)


def _is_stale(word: PartReport, state: State) -> bool:
    """Return whether a report is about a message that was or will be sent again.

    A report that such a message arrived still counts.
    """
    known = state.message_ids[word.part] if word.part < len(state.message_ids) else ""
    if known == VOID + word.message_id:
        return word.state in {ReceiptState.SENT, ReceiptState.FAILED}
    if word.state is not ReceiptState.FAILED or known in {"", NAMELESS, VOID}:
        return False
    is_void = known.startswith(VOID)
    return state.status is DeliveryStatus.QUEUED if is_void else word.message_id not in {"", known}


def _with(message_ids: tuple[str, ...], word: PartReport) -> tuple[str, ...]:
    """Note that the provider has a part, and therefore all earlier ones."""
    missing = word.part + 1 - len(message_ids)
    known = [*message_ids, *(NAMELESS for _ in range(missing))]
    if missing > 0:
        known = [NAMELESS if each == VOID else each for each in known]
    if known[word.part] == NAMELESS or known[word.part].startswith(VOID):
        known[word.part] = word.message_id or NAMELESS
    return tuple(known)


def _failed(before: State, after: State, word: PartReport) -> State:
    """Mark a delivery failed, with the reason of its first failed part."""
    after = after._replace(status=DeliveryStatus.FAILED)
    is_first = after.progress.index("f") == word.part and word.state is ReceiptState.FAILED
    has_own = before.status is DeliveryStatus.FAILED and "f" not in before.progress
    return after._replace(code=word.code, reason=word.reason) if is_first and not has_own else after


def _reopened(before: State, word: PartReport, parts: int) -> State:
    """Reopen a part that failed after it was accepted; keep the others."""
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


def _is_settled(before: State, after: State, word: PartReport) -> bool:
    """Return whether the failed part is the one that made the delivery uncertain.

    If a process died, it may have sent more parts after that one.
    """
    has_id = word.part < len(before.message_ids)
    was_known = has_id and not before.message_ids[word.part].startswith(VOID)
    may_have_more = before.code == PROCESS_DIED and len(after.message_ids) < len(after.progress)
    return not was_known and not may_have_more


def _settled(progress: str) -> DeliveryStatus:
    """Return the status of a complete delivery: that of its slowest part."""
    rank = min(_RANKS[letter] for letter in progress)
    if rank >= _RANKS["r"]:
        return DeliveryStatus.READ
    return DeliveryStatus.DELIVERED if rank >= _RANKS["d"] else DeliveryStatus.SENT


def _open(before: State, after: State, parts: int) -> DeliveryStatus:
    """Return the status of a delivery with missing parts.

    An uncertain delivery continues with the next part once the uncertain part is settled, unless a
    process died: it may have sent more parts.
    """
    if before.status is not DeliveryStatus.UNCERTAIN or before.code == PROCESS_DIED:
        return before.status
    is_settled = unsent(after.message_ids, parts) != unsent(before.message_ids, parts)
    return DeliveryStatus.QUEUED if is_settled else DeliveryStatus.UNCERTAIN
