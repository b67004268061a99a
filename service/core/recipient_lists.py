"""Recipients that were read: each once, with the entries that were not valid."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final, NamedTuple

from service.core import variables
from service.core.entries import Given, pieces, read_piece, size
from service.core.numbering import INTERNATIONAL, Numbering
from service.core.variables import Variables
from service.models import SendType

SHOWN: Final = 1_000
"""The most entries of `to` that answers repeat."""


_MOST_CHARACTERS: Final = 200_000
"""The most characters of `to` that answers repeat: a few numbers may have millions of spaces."""


class BadEntry(NamedTuple):
    """A bad entry: its position in `to` from 0, its beginning, and the reason."""

    position: int
    entry: str
    reason: str


class Source(NamedTuple):
    """Where entries come from: the field of the request, and how a place in it is called.

    `place` returns words to go before an entry, empty where the position says it all.
    """

    field: str = "to"
    place: Callable[[int], str] = lambda _: ""


@dataclass(frozen=True, slots=True)
class Recipients:
    """What `to` says: each recipient once, in the order of first mention, and the bad entries.

    Numbers are E.164 digits without `+`. `bad` holds the first bad entries; more of them were found
    where `bad_count` is higher, and then not all entries were read. `count` is that of the entries
    that were read. `rows` are the positions of the unique ones, if they were noted, and `variables`
    what they bring, None where nobody brings any. `numbering` says how numbers were meant.
    """

    unique: tuple[str, ...]
    bad: tuple[BadEntry, ...] = ()
    bad_count: int = field(default=0, compare=False)
    count: int = field(default=0, compare=False)
    given: Given = field(default="", compare=False, repr=False)
    send_type: str = field(default=SendType.INDIVIDUAL, compare=False)
    rows: Sequence[int] = field(default=(), compare=False, repr=False)
    variables: Variables | None = field(default=None, compare=False, repr=False)
    numbering: Numbering = field(default=INTERNATIONAL, compare=False)
    source: Source = field(default=Source(), compare=False, repr=False)

    @property
    def duplicates(self) -> int:
        """How many entries named somebody who is there already."""
        return self.count - self.bad_count - len(self.unique)

    @property
    def is_truncated(self) -> bool:
        """Return whether `to` is too long to repeat in answers."""
        return self.count > SHOWN or size(self.given) > _MOST_CHARACTERS

    @property
    def shown(self) -> Given:
        """Return `to` as given, or its first recipients if it is too long."""
        if not self.is_truncated:
            return self.given
        head = self.unique[:SHOWN]
        return ",".join(head) if isinstance(self.given, str) else list(head)

    def without(self, positions: Collection[int]) -> Recipients:
        """Return the recipients without the entries at some positions."""
        places = self.places()
        kept = [at for at, each in enumerate(self.unique) if places[each] not in positions]
        bad = tuple(each for each in self.bad if each.position not in positions)
        return replace(
            self,
            unique=tuple(self.unique[at] for at in kept),
            bad=bad,
            bad_count=self.bad_count - len(self.bad) + len(bad),
            rows=[places[self.unique[at]] for at in kept],
            variables=self.variables and self.variables.chosen(kept),
        )

    def with_given(self) -> Recipients:
        """Return the recipients as if a client had sent a list of them."""
        brought = self.variables
        given: list[str | Mapping[str, Any]] = [*self.unique[: SHOWN + 1]]
        if brought:
            texts = brought.texts[: SHOWN + 1]
            given = [
                {"to": each, "variables": variables.load(text)} if text else each
                for each, text in zip(self.unique, texts, strict=False)
            ]
        return replace(self, given=given)

    def sampled(self, size: int, chance: Random) -> Recipients:
        """Return the recipients with a random sample in front of the others."""
        first = sorted(chance.sample(range(len(self.unique)), size))
        taken = set(first)
        order = [*first, *(at for at in range(len(self.unique)) if at not in taken)]
        return replace(
            self,
            unique=tuple(self.unique[at] for at in order),
            rows=(),
            variables=self.variables and self.variables.chosen(order),
        )

    def written(self) -> Iterator[str]:
        """Yield the entries as they were written, those that are given back of a long file."""
        for piece in pieces(self.given):
            yield from piece

    def places(self) -> dict[str, int]:
        """Return where each recipient is mentioned first, if need be by reading `to` once more."""
        if self.rows:
            return dict(zip(self.unique, self.rows, strict=True))
        found: dict[str, int] = {}
        read_ones = (each for piece in pieces(self.given) for each in self._read(piece))
        for position, recipient in enumerate(read_ones):
            found.setdefault(recipient or "", position)
        return found

    def _read(self, piece: Sequence[str]) -> list[str | None]:
        return read_piece(piece, self.send_type, self.numbering)
