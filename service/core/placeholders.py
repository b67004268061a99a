"""Placeholders: texts with gaps, parsed once and filled for each recipient in a single pass.

Nothing is evaluated, and a value is never searched for placeholders.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Final, NamedTuple
from zlib import crc32


class Syntax(StrEnum):
    """How placeholders are written.

    `braces`: `{{name}}` and `{{name|there}}`. `guide`: `[name]`, `[name|there]`, and `{Hi|Hello}`
    for one of several texts.
    """

    BRACES = "braces"
    GUIDE = "guide"


DEEPEST: Final = 8
"""How many choices may stand one in another."""


class MalformedTextError(ValueError):
    """This text has a placeholder that cannot be read; the sentence says which, and why."""


class Value(NamedTuple):
    """A gap that a variable fills, or else `fallback`, unless that is None."""

    name: str
    fallback: str | None

    def fill(self, values: Mapping[str, str], recipient: str) -> str:
        """Return what stands here for a recipient."""
        del recipient
        return values.get(self.name) or self.fallback or ""

    def values(self) -> Iterator[Value]:
        """Yield this gap itself."""
        yield self

    def longest(self, longest: Mapping[str, str], size: Callable[[str], int]) -> int:
        """Return the size of the longest text that may stand here."""
        return max(size(longest.get(self.name, "")), size(self.fallback or ""))

    def may_be_blank(self) -> bool:
        """Return whether this may be empty for some recipients."""
        return self.fallback is not None and not self.fallback.strip()

    def with_fallback(self, common: Mapping[str, str]) -> Value:
        """Return the same gap with what all recipients have in common."""
        return Value(self.name, common.get(self.name, self.fallback))


class Choice(NamedTuple):
    """A gap that one of several texts fills; a recipient always gets the same one."""

    options: tuple[Text, ...]

    def fill(self, values: Mapping[str, str], recipient: str) -> str:
        """Return what stands here for a recipient."""
        chosen = crc32(recipient.encode(), len(self.options)) % len(self.options)
        return render(self.options[chosen], values, recipient)

    def values(self) -> Iterator[Value]:
        """Yield the gaps that variables fill."""
        for option in self.options:
            yield from values(option)

    def longest(self, longest: Mapping[str, str], size: Callable[[str], int]) -> int:
        """Return the size of the longest text that may stand here."""
        return max(bound(option, longest, size) for option in self.options)

    def may_be_blank(self) -> bool:
        """Return whether this may be empty for some recipients."""
        return any(map(may_be_blank, self.options))

    def with_fallback(self, common: Mapping[str, str]) -> Choice:
        """Return the same gap with what all recipients have in common."""
        return Choice(tuple(with_fallback(option, common) for option in self.options))


Gap = Value | Choice
Text = tuple[str | Gap, ...]


def values(text: Text) -> Iterator[Value]:
    """Yield the gaps of a text that variables fill."""
    for piece in text:
        if not isinstance(piece, str):
            yield from piece.values()


def render(text: Text, given: Mapping[str, str], recipient: str) -> str:
    """Return a text, filled for one recipient."""
    return "".join(
        piece if isinstance(piece, str) else piece.fill(given, recipient) for piece in text
    )


def bound(text: Text, longest: Mapping[str, str], size: Callable[[str], int]) -> int:
    """Return the longest possible size of a text, given the `longest` size of each value."""
    return sum(
        size(piece) if isinstance(piece, str) else piece.longest(longest, size) for piece in text
    )


def may_be_blank(text: Text) -> bool:
    """Return whether a text may be empty for some recipients."""
    return not any(
        piece.strip() if isinstance(piece, str) else not piece.may_be_blank() for piece in text
    )


def with_fallback(text: Text, common: Mapping[str, str]) -> Text:
    """Return a text whose gaps fall back to values that are the same for all recipients."""
    return tuple(piece if isinstance(piece, str) else piece.with_fallback(common) for piece in text)


def example(name: str, syntax: Syntax) -> str:
    """Return the notation of a gap with a fallback text."""
    return f"{{{{{name}|there}}}}" if syntax is Syntax.BRACES else f"[{name}|there]"


def parse(text: str, syntax: Syntax) -> Text:
    """Take a text apart; raises MalformedTextError."""
    return _braces(text) if syntax is Syntax.BRACES else _guide(text)


_DOUBLE: Final = re.compile(r"\{\{(?P<name>[^{}|\n]{1,100})(?:\|(?P<fallback>[^{}]*))?\}\}")


def _braces(text: str) -> Text:
    pieces: list[str | Gap] = []
    end = 0
    for match in _DOUBLE.finditer(text):
        pieces += _literal(text, end, match.start())
        pieces.append(_value(match))
        end = match.end()
    return (*pieces, *_literal(text, end, len(text)))


def _literal(text: str, start: int, end: int) -> list[str]:
    if (at := text.find("{{", start, end)) >= 0:
        raise MalformedTextError(
            f"Has {text[at : at + 20]!r} at character {at + 1}, which is no placeholder: write"
            " {{name}}, or {{name|text}} for a text that stands where there is no value."
        )
    return [text[start:end]] if start < end else []


def _value(match: re.Match[str]) -> Value:
    name = match["name"].strip()
    if not name:
        raise MalformedTextError(f"Has a placeholder without a name: {match[0]!r}.")
    return Value(name, match["fallback"])


_TOKENS: Final = re.compile(
    r"\[(?P<name>[^\[\]{}|\n]{1,100})(?:\|(?P<fallback>[^\[\]{}]*))?\]"
    r"|(?P<mark>[{}|])"
)


def _guide(text: str) -> Text:
    """Read `[name]` and `{Hi|Hello}`; a bar outside braces is plain text."""
    # One frame for each choice that is open: its options, the last of which is still growing.
    frames: list[list[list[str | Gap]]] = [[[]]]
    end = 0
    for match in _TOKENS.finditer(text):
        frames[-1][-1] += [text[end : match.start()]] if end < match.start() else []
        end = match.end()
        if match["name"]:
            frames[-1][-1].append(_value(match))
        else:
            _mark(match["mark"], frames, match.start())
    if len(frames) > 1:
        raise MalformedTextError("Has a { that no } ends.")
    return (*frames[0][0], *([text[end:]] if text[end:] else []))


def _mark(mark: str, frames: list[list[list[str | Gap]]], at: int) -> None:
    if mark == "{":
        frames.append([[]])
        if len(frames) > DEEPEST + 1:
            raise MalformedTextError(f"Has more than {DEEPEST} choices one in another.")
    elif len(frames) == 1:
        if mark == "}":
            raise MalformedTextError(f"Has a }} at character {at + 1} that ends nothing.")
        frames[0][0].append(mark)
    elif mark == "|":
        frames[-1].append([])
    else:
        options = frames.pop()
        if len(options) == 1:
            raise MalformedTextError(
                f"Has a choice of one text, which ends at character {at + 1}: write {{Hi|Hello}},"
                " and [name] for a value."
            )
        frames[-1][-1].append(Choice(tuple(map(tuple, options))))
