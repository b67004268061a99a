"""What a broadcast says, from the client's ids to something that needs no look-up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.channels.content import Content, Location, MediaKind, Template
from service.core import contacts, content
from service.errors import InvalidError
from service.models import Attachment
from tests.conftest import on_sqlite
from tests.world import ADA, World

FOLDER = Path("/srv/attachments")


def resolve(world: World, **message: Any) -> dict[str, Any]:
    with world.database.reading() as db:
        resolved = content.resolve(db, world.client_id, message)
    # As the database keeps it.
    kept: dict[str, Any] = json.loads(json.dumps(resolved))
    return kept


def restored(world: World, public_url: str = "https://crier.example/", **message: Any) -> Content:
    return content.restore(resolve(world, **message), FOLDER, public_url)


def attach(world: World, mimetype: str = "image/jpeg", name: str = "JCEVJKGEFKSMR8W") -> str:
    kind = mimetype.rpartition("/")[2]
    described = {"type": kind, "mimetype": mimetype, "filename": f"cake.{kind}", "size": 7}
    with world.database.writing() as db:
        attachment = Attachment(name=name, client_id=world.client_id, **described)
        db.add(attachment)
        db.flush()
        return attachment.id


def test_words_are_kept_as_they_are(world: World) -> None:
    assert restored(world, text="  Grüße\n🎂 ").text == "  Grüße\n🎂 "


def test_a_file_is_found_by_path_and_by_address(world: World) -> None:
    attachment_id = attach(world)
    (media,) = restored(world, attachments=[attachment_id]).media
    assert media.attachment_id == attachment_id
    assert media.path == FOLDER / "JCEVJKGEFKSMR8W.jpeg"
    assert media.url == "https://crier.example/public/attachments/JCEVJKGEFKSMR8W.jpeg"
    assert (media.filename, media.size, media.mimetype) == ("cake.jpeg", 7, "image/jpeg")


def test_a_service_without_a_public_address_gives_none(world: World) -> None:
    (media,) = restored(world, public_url="", attachments=[attach(world)]).media
    assert media.url == ""


@on_sqlite
@pytest.mark.parametrize(
    ("mimetype", "kind"),
    [
        ("image/jpeg", MediaKind.IMAGE),
        ("video/mp4", MediaKind.VIDEO),
        ("video/ogg", MediaKind.VIDEO),
        ("audio/ogg", MediaKind.AUDIO),
        ("audio/mp4", MediaKind.AUDIO),
        ("application/ogg", MediaKind.DOCUMENT),  # sound that is no voice message
        ("application/pdf", MediaKind.DOCUMENT),
        ("text/csv", MediaKind.DOCUMENT),
    ],
)
def test_a_file_is_shown_by_its_kind(world: World, mimetype: str, kind: MediaKind) -> None:
    (media,) = restored(world, attachments=[attach(world, mimetype)]).media
    assert media.kind is kind


def test_files_stay_in_the_order_of_the_message_repeats_included(world: World) -> None:
    first, second = attach(world, name="A" * 15), attach(world, name="B" * 15)
    media = restored(world, attachments=[second, first, second]).media
    assert [each.attachment_id for each in media] == [second, first, second]


@on_sqlite
@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (
            {"lat": " 6.556452", "lng": "3.2774487 ", "name": "optional"},
            ("6.556452", "3.2774487", "optional"),
        ),
        ({"lat": 6.5, "lng": -3}, ("6.5", "-3", "")),
        ({"lat": 0, "lng": 0.0}, ("0", "0.0", "")),
        ({"lat": "0", "lng": "1e-7"}, ("0", "0.0000001", "")),
    ],
)
def test_a_place_is_kept_in_plain_decimals(
    world: World, given: dict[str, Any], kept: tuple[str, str, str]
) -> None:
    assert restored(world, location=given).location == Location(*kept)


def test_a_card_is_rendered_as_it_is_now(world: World) -> None:
    with world.database.writing() as db:
        fields = {
            "name": "Ada Lovelace",
            "phones": [f"+{ADA}"],
            "emails": ["ada@example.org"],
            "organisation": "Analytical Engines",
        }
        contact_id = contacts.create(db, world.client_id, fields).id
    card = restored(world, contactId=contact_id).contact
    assert card is not None
    assert (card.name, card.phones, card.emails) == ("Ada Lovelace", (ADA,), ("ada@example.org",))
    assert card.organisation == "Analytical Engines"
    assert card.vcard.startswith("BEGIN:VCARD")


def test_a_template_is_passed_on(world: World) -> None:
    given = {"name": "sale", "language": "en", "components": [{"type": "body"}]}
    template = restored(world, template=given).template
    assert template == Template("sale", "en", ({"type": "body"},))


def test_what_is_left_out_is_not_there(world: World) -> None:
    assert restored(world, text="Hello") == Content(text="Hello")
    said = restored(world, text="Hello", attachments=None, location=None, contactId=None)
    assert said == Content(text="Hello")


def test_all_unknown_ids_are_named_at_once(world: World) -> None:
    known = attach(world)
    with pytest.raises(InvalidError) as caught:
        resolve(world, attachments=["a" * 24, known, "?"], contactId="b" * 24)
    assert set(caught.value.errors) == {
        "message.attachments.0",
        "message.attachments.2",
        "message.contactId",
    }
    assert repr("a" * 24) in caught.value.errors["message.attachments.0"][0]


@on_sqlite
@pytest.mark.parametrize("message", [{}, {"text": ""}, {"text": " \n"}, {"attachments": []}])
def test_a_message_without_content_is_refused(world: World, message: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        resolve(world, **message)
