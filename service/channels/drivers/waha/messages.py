"""Messages that people write, as WAHA's webhook reports them.

https://waha.devlike.pro/docs/how-to/receive-messages/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from service.channels.drivers.waha.message_ids import shortened
from service.channels.wa_ids import spellings
from service.channels.webhooks import Inbound, Report, texts

_PERSON: Final = ("@c.us", "@s.whatsapp.net", "@lid")
_MOST_SECONDS: Final = 1e11
_NUMBER: Final = ("@c.us", "@s.whatsapp.net")


def read_message(report: Report, payload: Mapping[str, Any]) -> None:
    """Add a person's message in a direct chat to a report; ignore groups and channels."""
    known_as, chat = payload.get("id"), payload.get("from")
    if not isinstance(known_as, str) or not isinstance(chat, str):
        report.odd += 1
    elif not payload.get("fromMe") and chat.endswith(_PERSON):
        number = next(filter(None, map(_number, _addresses(payload))), "")
        has_file = bool(payload.get("hasMedia"))
        report.inbound.append(
            Inbound(
                message_id=shortened(known_as),
                sender=number or chat,
                kind="media" if has_file else "text",
                text=str(payload.get("body") or ""),
                forms=(*(spellings(number) if number else ()), *([chat] if "@lid" in chat else ())),
                name=_name(payload),
                answers=_answered(payload),
                written_at=_moment(payload.get("timestamp")),
                file=_file(payload) if has_file else None,
            )
        )


def _file(payload: Mapping[str, Any]) -> dict[str, str]:
    media = payload.get("media")
    return texts(media, "url", "filename") if isinstance(media, Mapping) else {}


def _addresses(payload: Mapping[str, Any]) -> list[str]:
    """Return the addresses of the writer: of a hidden one, the engine may tell the number, too."""
    data = payload.get("_data")
    data = data if isinstance(data, Mapping) else {}
    key, info = data.get("key"), data.get("Info")
    key = key if isinstance(key, Mapping) else {}
    info = info if isinstance(info, Mapping) else {}
    said = (
        payload.get("from"),
        key.get("remoteJidAlt"),
        key.get("senderPn"),
        info.get("SenderAlt"),
    )
    return [each for each in said if isinstance(each, str)]


def _number(address: str) -> str:
    user, _, server = address.partition("@")
    digits = user.partition(":")[0]
    is_number = f"@{server}" in _NUMBER and digits.isascii() and digits.isdecimal()
    return digits if is_number else ""


def _name(payload: Mapping[str, Any]) -> str:
    data = payload.get("_data")
    data = data if isinstance(data, Mapping) else {}
    return str(data.get("notifyName") or data.get("pushName") or "")


def _answered(payload: Mapping[str, Any]) -> str:
    replied = payload.get("replyTo")
    known_as = replied.get("id") if isinstance(replied, Mapping) else None
    return shortened(known_as) if isinstance(known_as, str) else ""


def _moment(timestamp: object) -> int:
    """Return Unix seconds in milliseconds; 0 for anything else."""
    if not isinstance(timestamp, int | float) or isinstance(timestamp, bool):
        return 0
    return int(timestamp * 1000) if 0 < timestamp < _MOST_SECONDS else 0
