"""Messages that people write, as Meta's webhook reports them.

https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/components#messages-object
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from service.channels.wa_ids import spellings
from service.channels.webhooks import Inbound, Move, Person, Report, texts

_MOVES: Final = {"user_changed_number", "customer_changed_number", "user_changed_user_id"}
_FILES: Final = ("image", "video", "audio", "document", "sticker")


def read_messages(report: Report, value: Mapping[str, Any]) -> None:
    """Add to a report what people wrote; `value` is that of a change in the field `messages`."""
    names = _names(report, value)
    for message in report.objects(value.get("messages")):
        _read_message(report, message, names)


def _names(report: Report, value: Mapping[str, Any]) -> dict[str, str]:
    """Return what people call themselves, by their WhatsApp id and by their user id."""
    names: dict[str, str] = {}
    for contact in report.objects(value.get("contacts")):
        profile = contact.get("profile")
        name = profile.get("name") if isinstance(profile, Mapping) else None
        names |= {_text(contact, key): str(name or "") for key in ("wa_id", "user_id")}
    return names


def _read_message(report: Report, message: Mapping[str, Any], names: Mapping[str, str]) -> None:
    message_id, kind = _text(message, "id"), _text(message, "type")
    number, user_id = _text(message, "from"), _text(message, "from_user_id")
    if not (message_id and kind and (number or user_id or kind == "system")):
        return  # a kind that Meta has added since
    if kind == "system":
        _read_move(report, message)
    else:
        if number and user_id:
            report.people.append(Person(number, user_id))
        said = message.get(kind)
        kind, text, payload = _content(kind, said if isinstance(said, Mapping) else {})
        inbound = Inbound(
            message_id=message_id,
            sender=number or user_id,
            kind=kind,
            text=text,
            payload=payload,
            forms=tuple(filter(None, (*spellings(number), user_id))),
            name=names.get(number) or names.get(user_id, ""),
            answers=_answered(message, said),
            written_at=_moment(message.get("timestamp")),
            file=texts(said, "id", "filename")
            if kind in _FILES and isinstance(said, Mapping)
            else None,
        )
        report.inbound.append(inbound)


def _read_move(report: Report, message: Mapping[str, Any]) -> None:
    """Read a system message: somebody has another number, or another user id.

    A new number comes with a new user id if the old user id is reported.
    """
    said = message.get("system")
    if not isinstance(said, Mapping):
        report.odd += 1
        return
    kind = _text(said, "type")
    old = _text(message, "from") or _text(message, "from_user_id")
    before = (*spellings(_text(message, "from")), _text(said, "previous_user_id"))
    number = _text(said, "wa_id") or _text(said, "new_wa_id")
    after = (number, _text(said, "user_id"))
    if kind in _MOVES and any(before) and any(after):
        report.moves.append(Move(tuple(filter(None, before)), tuple(filter(None, after))))
    report.inbound.append(
        Inbound(
            message_id=_text(message, "id"),
            sender=next(filter(None, (*after, old)), "unknown"),
            kind=kind or "system",
            text=_text(said, "body"),
            written_at=_moment(message.get("timestamp")),
        )
    )


def _content(kind: str, said: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return a message's kind as we call it, its text and its payload."""
    match kind:
        case "text":
            return kind, _text(said, "body"), ""
        case "button":
            return kind, _text(said, "text"), _text(said, "payload")
        case "interactive":
            chosen = said.get(_text(said, "type"))
            chosen = chosen if isinstance(chosen, Mapping) else {}
            return "button", _text(chosen, "title"), _text(chosen, "id")
        case "reaction":
            return kind, _text(said, "emoji"), ""
        case _:
            return kind, _text(said, "caption"), ""


def _answered(message: Mapping[str, Any], said: object) -> str:
    """Return the id of the message that this one answers, or reacts to."""
    context = message.get("context")
    if isinstance(context, Mapping) and context.get("id"):
        return _text(context, "id")
    return _text(said, "message_id") if isinstance(said, Mapping) else ""


def _moment(timestamp: object) -> int:
    """Return Unix seconds, which Meta writes as a text, in milliseconds; 0 for anything else."""
    text = str(timestamp)
    return int(text[:10]) * 1000 if text.isascii() and text.isdecimal() else 0


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    return value if isinstance(value, str) else ""
