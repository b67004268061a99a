"""Marks: characters that stand for the gaps of a message while a channel cuts it into parts.

Filler follows a mark, so that the marked text is as long as the longest filled text. A channel's
decisions by length then fit every recipient.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from itertools import islice
from typing import Any, Final

from service.channels.captions import units
from service.core.placeholders import Gap, Text

MOST: Final = 200
"""The most gaps of one message."""

_PRIVATE: Final = range(0xE000, 0xF900)
"""The characters of which marks are made: Unicode leaves them to private use."""

Filled = Sequence[str]
"""What fills each gap of a message for one recipient."""

Wording = Callable[[Filled], Any]
"""Renders text with marks for one recipient."""


class Marks:
    """The marks of one message: characters that it does not contain. `gaps` are in order."""

    def __init__(self, message: str) -> None:
        used = {*message}
        unused = (chr(code) for code in _PRIVATE if chr(code) not in used)
        self._filler, *self._marks = islice(unused, MOST + 1)
        self._pattern = re.compile(f"([{''.join(self._marks)}]){self._filler}*")
        self.gaps: list[Gap] = []

    def put(self, text: Text, length: int = 0) -> str:
        """Return a text with marks; if it has any, it is at least this many UTF-16 units long."""
        pieces = [piece if isinstance(piece, str) else self._mark(piece) for piece in text]
        missing = length - sum(map(units, pieces))
        last = max((at for at, piece in enumerate(pieces) if piece in self._marks), default=None)
        if last is not None:
            pieces[last] += self._filler * missing
        return "".join(pieces)

    def _mark(self, gap: Gap) -> str:
        self.gaps.append(gap)
        return self._marks[len(self.gaps) - 1]

    def find(self, value: Any) -> Wording | None:
        """Return a function that fills the marks in a value, None if it has no marks."""
        if isinstance(value, str):
            return self._find_in_text(value)
        if is_dataclass(value) and not isinstance(value, type):
            return self._find_in_fields(value)
        if isinstance(value, Mapping):
            return self._find_in_members(value)
        if isinstance(value, list | tuple):
            members = self._find_in_members(dict(enumerate(value)))
            return members and (lambda filled: (*members(filled).values(),))
        return None

    def _find_in_text(self, text: str) -> Wording | None:
        pieces = self._pattern.split(text)
        places = [(at, self._marks.index(pieces[at])) for at in range(1, len(pieces), 2)]

        def worded(filled: Filled) -> str:
            said = pieces.copy()
            for at, gap in places:
                said[at] = filled[gap]
            return "".join(said)

        return worded if places else None

    def _find_in_fields(self, part: Any) -> Wording | None:
        changed = dict(
            self._changed((each.name, getattr(part, each.name)) for each in fields(part))
        )
        if not changed:
            return None
        return lambda filled: replace(
            part, **{name: wording(filled) for name, wording in changed.items()}
        )

    def _find_in_members(self, members: Mapping[Any, Any]) -> Wording | None:
        changed = dict(self._changed(members.items()))
        if not changed:
            return None
        return lambda filled: {
            **members,
            **{name: wording(filled) for name, wording in changed.items()},
        }

    def _changed(self, members: Any) -> Iterator[tuple[Any, Wording]]:
        for name, value in members:
            if wording := self.find(value):
                yield name, wording
