"""Variables: the values that recipients bring for the placeholders of a message.

They are kept as one JSON text for each recipient, so that a million of them take little memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from json import JSONDecoder
from json.encoder import encode_basestring
from typing import Any, Final

from service.core.texts import Texts

MOST: Final = 50
"""The most variables of one recipient."""

LONGEST_NAME: Final = 100
LONGEST_VALUE: Final = 4_096

MOST_BYTES: Final = 256 * 1024 * 1024
"""The most bytes that the variables of one broadcast take as JSON."""


_decode: Final = JSONDecoder().raw_decode
"""Reads JSON that is known to end where its value does, in less time than `json.loads`."""


class UnusableVariablesError(ValueError):
    """These variables cannot be taken; the text says why, to go behind the recipient."""


def settle(given: Mapping[str, Any], names: frozenset[str] | None = None) -> dict[str, str]:
    """Return variables as texts without blanks around them; a blank one is left out.

    Only those in `names` are looked at, all where it is None. Raises UnusableVariablesError.
    """
    if len(given) > MOST and names is None:
        raise UnusableVariablesError(f"has {len(given)} variables: at most {MOST} are taken")
    settled = {}
    for name, value in given.items():
        if names is None or name in names:
            text = (value if type(value) is str else _text(name, value)).strip()
            if len(text) > LONGEST_VALUE or len(name) > LONGEST_NAME or "\0" in text:
                raise UnusableVariablesError(_objection(name, text))
            if text:
                settled[name] = text
    return settled


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise UnusableVariablesError(f"has the variable {name[:40]!r}, which is no text and no number")


def _objection(name: str, text: str) -> str:
    if len(name) > LONGEST_NAME:
        return f"has a variable whose name is longer than {LONGEST_NAME} characters"
    if len(text) > LONGEST_VALUE:
        return f"has the variable {name!r}, which is longer than {LONGEST_VALUE:,} characters"
    return f"has the variable {name!r}, in which there is a NUL character"


@dataclass(slots=True)
class Variables:
    """The variables of all recipients of a broadcast, in the order of the recipients.

    `texts` has the JSON of each, an empty text for none. `counts` says how many have a variable,
    `longest` is the longest value of each. `seen` are the names that came, also of those that were
    not kept.
    """

    texts: Texts = field(default_factory=Texts)
    counts: dict[str, int] = field(default_factory=dict)
    longest: dict[str, str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    @property
    def size(self) -> int:
        """How many bytes they take."""
        return self.texts.size

    def see(self, given: Iterable[str]) -> None:
        """Note names; those of the first recipients are enough."""
        if len(self.seen) < MOST:
            self.seen.update(given)

    def add(self, values: Mapping[str, str]) -> None:
        """Append the variables of the next recipient."""
        self.texts.append(dump(values))
        counts, longest = self.counts, self.longest
        for name, value in values.items():
            counts[name] = counts.get(name, 0) + 1
            if len(value) > len(longest.get(name, "")):
                longest[name] = value

    def of(self, position: int) -> dict[str, str]:
        """Return the variables of one recipient."""
        return load(self.texts[position])

    def chosen(self, positions: Sequence[int]) -> Variables:
        """Return the variables of recipients who each have those at one of these positions."""
        chosen = Variables(seen=self.seen)
        for position in positions:
            chosen.add(self.of(position))
        return chosen


def dump(values: Mapping[str, str]) -> str:
    """Return variables as they are stored, in one line; an empty text for none.

    It is put together here, as `json.dumps` makes an encoder for each call.
    """
    members = [f"{encode_basestring(name)}:{encode_basestring(values[name])}" for name in values]
    return f"{{{','.join(members)}}}" if members else ""


def load(text: str | None) -> dict[str, str]:
    """Return variables that were stored."""
    values: dict[str, str] = _decode(text)[0] if text else {}
    return values
