"""Personalisation: a message whose gaps are filled for each recipient."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from service.channels.base import Driver
from service.channels.content import ContactCard, Content, Part, Template
from service.core import marks, placeholders, templates, vcard
from service.core.marks import Marks, Wording
from service.core.placeholders import Gap, MalformedTextError, Syntax, Text
from service.errors import InvalidError
from service.models import Broadcast

_COMPONENTS: Final = "message.template.components"


@dataclass(frozen=True, slots=True)
class Personalisation:
    """How the gaps of a message are read and filled.

    `common` has the values that are the same for all recipients. `lengths` are the sizes, in UTF-16
    units, that no text of the message exceeds for any recipient, by the field of the text. If
    `tidy`, each run of spaces in a template's value becomes one space.
    """

    syntax: Syntax
    common: Mapping[str, str]
    lengths: Mapping[str, int]
    tidy: bool

    def parse(self, text: str) -> Text:
        """Take a text apart; raises MalformedTextError."""
        return placeholders.with_fallback(placeholders.parse(text, self.syntax), self.common)

    def parse_all(self, content: Content) -> dict[str, Text]:
        """Take all texts of a message apart, by field; raises InvalidError with every fault."""
        found: dict[str, Text] = {}
        faults: dict[str, list[str]] = {}
        for field, text in (*texts(content).items(), *_parameters(content)):
            try:
                found[field] = self.parse(text)
            except MalformedTextError as error:
                faults[field] = [str(error)]
        gaps = sum(isinstance(piece, Gap) for text in found.values() for piece in text)
        if gaps > marks.MOST:
            faults["message"] = [f"Has {gaps} placeholders: at most {marks.MOST} are taken."]
        if faults:
            raise InvalidError(errors=faults)
        return found


def names_in(parsed: Iterable[Text]) -> set[str]:
    """Return the names of all values in some texts."""
    return {value.name for text in parsed for value in placeholders.values(text)}


def names(
    message: Mapping[str, Any], syntax: Syntax, *others: Mapping[str, Any]
) -> frozenset[str] | None:
    """Return the names of all gaps that messages may have; None: any name."""
    said = (message, *others)
    if any(each.get("contactId") for each in said):
        return None
    return frozenset(name for each in said for name in _written(each, syntax))


def written_names(broadcast: Broadcast) -> list[str]:
    """Return the names of the placeholders in a broadcast's message, in the order of its texts."""
    personal = restore(broadcast.personalisation)
    return [*dict.fromkeys(_written(broadcast.message, personal.syntax))] if personal else []


def _written(message: Mapping[str, Any], syntax: Syntax) -> Iterator[str]:
    for _, text in strings(message, ""):
        with suppress(MalformedTextError):
            yield from (
                value.name for value in placeholders.values(placeholders.parse(text, syntax))
            )


def keep(personalisation: Personalisation | None) -> dict[str, Any] | None:
    """Return the JSON of a personalisation, to store with its broadcast."""
    if personalisation is None:
        return None
    return {
        "syntax": personalisation.syntax,
        "variables": personalisation.common,
        "lengths": personalisation.lengths,
        "tidy": personalisation.tidy,
    }


def restore(kept: Mapping[str, Any] | None) -> Personalisation | None:
    """Return a stored personalisation."""
    if kept is None:
        return None
    return Personalisation(Syntax(kept["syntax"]), kept["variables"], kept["lengths"], kept["tidy"])


def texts(content: Content) -> dict[str, str]:
    """Return the texts of a message whose length a channel may cut, by field."""
    return {
        "message.text": content.text,
        "message.location.name": content.location.name if content.location else "",
        "message.contactId": content.contact.name if content.contact else "",
    }


def _parameters(content: Content) -> Iterator[tuple[str, str]]:
    return strings(content.template.components if content.template else (), _COMPONENTS)


def strings(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield all texts in JSON, each with its place."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from strings(inner, f"{place}.{name}")
    elif isinstance(value, list | tuple):
        for position, inner in enumerate(value):
            yield from strings(inner, f"{place}.{position}")


class PersonalisedParts:
    """The parts of a message, some of them filled for each recipient.

    `parts` come from the channel, with marks in place of gaps.
    """

    def __init__(
        self, driver: Driver, content: Content, personalisation: Personalisation | None
    ) -> None:
        """Cut a message into parts; raises UnsupportedContentError."""
        self._gaps: list[Gap] = []
        self._wordings: dict[int, Wording] = {}
        self._is_tidy = personalisation is not None and personalisation.tidy
        if personalisation is None:
            self.parts = driver.plan(content)
            return
        found = Marks("".join(text for _, text in _all_texts(content)))
        self.parts = driver.plan(_marked(content, personalisation, found))
        self._gaps = found.gaps
        for number, part in enumerate(self.parts):
            if wording := found.find(part):
                self._wordings[number] = wording

    @property
    def is_personal(self) -> bool:
        """Whether any part differs from one recipient to the next."""
        return bool(self._wordings)

    def differs(self, number: int) -> bool:
        """Return whether a part differs between recipients."""
        return number in self._wordings

    def part(self, number: int, values: Mapping[str, str], recipient: str) -> Part:
        """Return a part, filled for one recipient."""
        part, wording = self.parts[number], self._wordings.get(number)
        if wording is None:
            return part
        filled = [gap.fill(values, recipient) for gap in self._gaps]
        if self._is_tidy and isinstance(part, Template):
            filled = [*map(templates.tidied, filled)]
        worded: Part = wording(filled)
        if isinstance(worded, ContactCard):
            return replace(worded, vcard=vcard.render(worded))
        return worded


def _all_texts(content: Content) -> Iterator[tuple[str, str]]:
    yield from texts(content).items()
    yield from _parameters(content)


def _marked(content: Content, personalisation: Personalisation, found: Marks) -> Content:
    """Return a message with a mark in place of each gap."""
    text, place, name = (
        found.put(personalisation.parse(text), personalisation.lengths.get(field, 0))
        for field, text in texts(content).items()
    )

    def marked(value: Any) -> Any:
        if isinstance(value, str):
            return found.put(personalisation.parse(value))
        if isinstance(value, Mapping):
            return {name: marked(inner) for name, inner in value.items()}
        return [*map(marked, value)] if isinstance(value, list | tuple) else value

    template = content.template
    return replace(
        content,
        text=text,
        location=content.location and replace(content.location, name=place),
        contact=content.contact and replace(content.contact, name=name),
        template=template and replace(template, components=(*map(marked, template.components),)),
    )
