"""Content: resolves the ids in a message to the objects to send.

The resolved content is stored with the broadcast as JSON. Later changes to a contact or a file name
do not change an accepted message.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, false, select
from sqlalchemy.orm import Session as Db

from service import ids
from service.channels.content import ContactCard, Content, Location, Media, MediaKind, Template
from service.core import attachments, templates
from service.core.vcard import render
from service.errors import InvalidError
from service.models import Attachment, Contact

_KINDS = {"image": MediaKind.IMAGE, "video": MediaKind.VIDEO, "audio": MediaKind.AUDIO}


def resolve(
    db: Db, client_id: str, message: dict[str, Any], *, within: str | None = None
) -> dict[str, Any]:
    """Resolve all ids in a message; raises InvalidError with the field of every unknown id.

    With `within`, only files of that session and shared files are known, and no contacts.
    """
    mine = attachments.visible(client_id, within)
    contacts = Contact.client_id == client_id if within is None else false()
    errors: dict[str, list[str]] = {}
    text = message.get("text") or ""
    resolved = {
        "text": text if text.strip() else "",
        "media": _media(db, mine, _files(message), errors),
        "location": _location(_filled(message, "location")),
        "contact": _contact(db, contacts, message.get("contactId") or "", errors),
        "template": _template(_filled(message, "template"), errors),
    }
    category = message.get("category") or ""
    if errors:
        raise InvalidError(errors=errors)
    if not any(resolved.values()):
        reason = "Needs at least one of text, attachments, location, contactId, template."
        raise InvalidError(errors={"message": [reason]})
    if category:
        resolved["category"] = category
    return resolved


def restore(resolved: dict[str, Any], attachments_dir: Path, public_url: str) -> Content:
    """Restore stored content for drivers."""
    location, contact = resolved["location"], resolved["contact"]
    template = resolved.get("template")
    return Content(
        text=resolved["text"],
        media=tuple(_restored(media, attachments_dir, public_url) for media in resolved["media"]),
        location=location and Location(location["lat"], location["lng"], location["name"]),
        contact=contact
        and ContactCard(
            name=contact["name"],
            vcard=contact["vcard"],
            phones=tuple(contact["phones"]),
            emails=tuple(contact["emails"]),
            organisation=contact["organisation"],
        ),
        template=template
        and Template(
            template["name"],
            template["language"],
            tuple(template.get("components") or ()),
            template.get("when") or "",
            bool(template.get("marketing")),
        ),
        category=resolved.get("category") or "",
    )


def _filled(message: dict[str, Any], name: str) -> dict[str, Any]:
    """Return an object of a message; empty if all its fields are empty."""
    value = message.get(name)
    if not isinstance(value, dict) or all(inner in (None, "", [], {}) for inner in value.values()):
        return {}
    return value


def _template(template: dict[str, Any], errors: dict[str, list[str]]) -> dict[str, Any] | None:
    try:
        return templates.settle(template) or None
    except InvalidError as error:
        errors |= error.errors
        return None


def _location(location: dict[str, Any]) -> dict[str, str] | None:
    """Return a location with plain decimal coordinates, as providers expect."""
    if not location:
        return None
    place = {key: format(Decimal(str(location[key])), "f") for key in ("lat", "lng")}
    return {**place, "name": str(location.get("name") or "")}


def _files(message: dict[str, Any]) -> dict[str, str]:
    """Return the attachment ids of a message by field."""
    files = {
        f"message.attachments.{position}": attachment_id
        for position, attachment_id in enumerate(message.get("attachments") or [])
        if attachment_id
    }
    if message.get("file"):
        files["message.file"] = message["file"]
    return files


def _media(
    db: Db, mine: ColumnElement[bool], wanted: dict[str, str], errors: dict[str, list[str]]
) -> list[dict[str, Any]]:
    if not wanted:
        return []
    found = select(Attachment).where(Attachment.id.in_(wanted.values()), mine)
    known = {row.id: row for row in db.scalars(found)}
    for field, attachment_id in wanted.items():
        if attachment_id not in known:
            errors[field] = [f"You have no attachment {attachment_id!r}."]
    return [_described(known[each]) for each in wanted.values() if each in known]


def _described(attachment: Attachment) -> dict[str, Any]:
    return {
        "attachment_id": attachment.id,
        "kind": _KINDS.get(attachment.mimetype.partition("/")[0], MediaKind.DOCUMENT),
        "mimetype": attachment.mimetype,
        "filename": attachment.filename,
        "file": f"{attachment.name}.{attachment.type}",
        "size": attachment.size,
    }


def _restored(media: dict[str, Any], attachments_dir: Path, public_url: str) -> Media:
    described = {key: value for key, value in media.items() if key not in {"file", "kind"}}
    return Media(
        kind=MediaKind(media["kind"]),
        path=attachments_dir / media["file"],
        url=public_url and f"{public_url.rstrip('/')}/public/attachments/{media['file']}",
        **described,
    )


def _contact(
    db: Db, mine: ColumnElement[bool], contact_id: str, errors: dict[str, list[str]]
) -> dict[str, Any] | None:
    if not contact_id:
        return None
    wanted = select(Contact).where(Contact.id == contact_id, mine)
    contact = db.scalar(wanted) if ids.is_id(contact_id) else None
    if contact is None:
        errors["message.contactId"] = [f"You have no contact {contact_id!r}."]
        return None
    return {
        "name": contact.name,
        "vcard": render(contact),
        "phones": contact.phones,
        "emails": contact.emails,
        "organisation": contact.organisation,
    }
