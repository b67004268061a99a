"""Tests of messages that differ from one recipient to the next."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.channels.base import Account, Driver, DriverContext
from service.channels.content import ContactCard, Content, Location, Media, Template, Text
from service.channels.registry import Channels
from service.core import personalisation
from service.core.personalisation import Personalisation, PersonalisedParts
from service.core.placeholders import Syntax
from service.errors import InvalidError
from tests.channels.conftest import SETTINGS, Memory, picture

ADA, BEN = "2348179803743", "2349048988056"
PLAIN = Personalisation(Syntax.BRACES, {}, {}, tidy=False)
ALL_TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


def opened(channel: str, folder: Path = Path()) -> Driver:
    channels = Channels(DriverContext(folder, private_addresses=True))
    loaded = channels.settings_schema(channel)().load(SETTINGS.get(channel, {}))
    return channels.open(channel, Account("64ac-session", loaded, Memory()))


CHANNELS = {name: opened(name) for name in ("sandbox", "waha", "whatsapp_cloud")}


def parts(
    channel: str, content: Content, values: dict[str, str], how: Personalisation = PLAIN
) -> list[Any]:
    """Return the parts that a recipient gets."""
    worded = PersonalisedParts(CHANNELS[channel], content, how)
    return [worded.part(number, values, ADA) for number in range(len(worded.parts))]


def test_every_text_that_people_see_is_filled(tmp_path: Path) -> None:
    card = ContactCard("Agent {{name}}; {{city}}", "BEGIN:VCARD…", (BEN,))
    button = {
        "type": "button",
        "parameters": [{"type": "text", "text": "?q={{code|0}}"}],
        "index": 0,
    }
    content = Content(
        text="Hi {{name}}!",
        media=(picture(tmp_path),),
        location=Location("6.5", "3.2", "{{city}}"),
        contact=card,
        template=Template("sale", "en", (button,)),
    )
    values = {"name": "Ada", "city": "Lagos"}
    template, file, place, contact = parts("whatsapp_cloud", content, values)

    assert template.components[0]["parameters"][0]["text"] == "?q=0"
    assert template.components[0]["index"] == 0
    assert (file.caption, place.name, contact.name) == ("Hi Ada!", "Lagos", "Agent Ada; Lagos")
    assert "FN:Agent Ada\\; Lagos\r\n" in contact.vcard
    assert parts("sandbox", content, values)[0] == Text("Hi Ada!")


def test_a_plain_message_goes_to_the_driver_as_it_is() -> None:
    content = Content(text="Hi {{name}} [name] {a|b}")
    worded = PersonalisedParts(CHANNELS["sandbox"], content, None)
    assert worded.parts == (Text(content.text),)
    assert not worded.is_personal
    assert not PersonalisedParts(CHANNELS["sandbox"], Content(text="Hi"), PLAIN).is_personal


def test_what_a_channel_decides_by_length_is_decided_by_the_longest(tmp_path: Path) -> None:
    content = Content(text="Hi {{name}}", media=(picture(tmp_path),))
    for length, kinds in ((1_024, [Media]), (1_025, [Text, Media])):
        how = replace(PLAIN, lengths={"message.text": length})
        made = parts("whatsapp_cloud", content, {"name": "Ada"}, how)
        assert [type(part) for part in made] == kinds
        assert getattr(made[0], "caption", "") or made[0].body == "Hi Ada"


@given(st.sampled_from(sorted(CHANNELS)), ALL_TEXT, ALL_TEXT, ALL_TEXT)
def test_nobody_gets_anything_but_the_text_and_their_own_values(
    channel: str, before: str, name: str, other: str
) -> None:
    before = before.replace("{", "")
    content = Content(text=f"a{before}{{{{name|}}}}{{{{other|}}}}z{{{{name|}}}}")
    worded = PersonalisedParts(CHANNELS[channel], content, replace(PLAIN, common={"other": other}))
    for mine in ({"name": name}, {}, {"name": name, "other": "mine"}):
        said = mine.get("name", "")
        expected = f"a{before}{said}{mine.get('other') or other}z{said}"
        assert worded.part(0, mine, ADA) == Text(expected)


def test_blanks_in_the_values_of_a_tidy_template_become_one() -> None:
    components = ({"type": "body", "parameters": [{"type": "text", "text": "{{name}}, hi"}]},)
    content = Content(text="{{name}}", template=Template("sale", "en", components))
    how = replace(PLAIN, tidy=True)
    template, text = parts("whatsapp_cloud", content, {"name": "Ada\n\t Love"}, how)
    assert template.components[0]["parameters"][0]["text"] == "Ada Love, hi"
    assert text.body == "Ada\n\t Love"


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (Content(text="{{name"), "message.text"),
        (Content(location=Location("1", "2", "{{")), "message.location.name"),
        (Content(contact=ContactCard("{{", "")), "message.contactId"),
        (
            Content(template=Template("x", "en", ({"a": ["{{"]},))),
            "message.template.components.0.a.0",
        ),
        (Content(text="{{a}}" * 201), "message"),
    ],
)
def test_a_text_that_cannot_be_read_is_refused_by_its_field(content: Content, field: str) -> None:
    with pytest.raises(InvalidError) as caught:
        PLAIN.parse_all(content)
    assert list(caught.value.errors) == [field]


def test_a_message_may_have_two_hundred_gaps_and_marks_of_its_own() -> None:
    own = "".join(map(chr, range(0xE000, 0xE100)))
    content = Content(text=own + "{{a}}" * 200)
    PLAIN.parse_all(content)
    [part] = parts("sandbox", content, {"a": "\ue000"})
    assert part.body == own + "\ue000" * 200


def test_the_names_in_a_message_are_known_before_its_recipients_are_read() -> None:
    message: dict[str, Any] = {"text": "{{a}} {{b|x}}", "location": {"name": "{{c}}", "lat": 1}}
    assert personalisation.names(message, Syntax.BRACES) == frozenset("abc")
    assert personalisation.names({"text": "{{a", "x": "{{b}}"}, Syntax.BRACES) == frozenset("b")
    assert personalisation.names({"text": "[a] {[b]|x}"}, Syntax.GUIDE) == frozenset("ab")
    assert personalisation.names({**message, "contactId": "1"}, Syntax.BRACES) is None


def test_a_personalisation_is_stored_with_its_broadcast() -> None:
    how = Personalisation(Syntax.GUIDE, {"a": "b"}, {"message.text": 3}, tidy=True)
    assert personalisation.restore(json.loads(json.dumps(personalisation.keep(how)))) == how
    assert personalisation.restore(personalisation.keep(None)) is None
