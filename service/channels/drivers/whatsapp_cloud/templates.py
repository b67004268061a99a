"""The templates of a WhatsApp Business Account.

https://developers.facebook.com/docs/graph-api/reference/whats-app-business-account/message_templates
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from service.channels.answers import read
from service.channels.base import TemplateInfo
from service.channels.drivers.whatsapp_cloud.errors import refused
from service.channels.steps import Conversation, get

MOST_PAGES: Final = 60
"""The most pages of templates; an account has up to 6,000 templates."""

_FIELDS: Final = "name,language,category,status,quality_score,rejected_reason,components"
_PAGE: Final = 100
_GAP: Final = re.compile(r"\{\{\s*([A-Za-z0-9_]{1,100})\s*\}\}")
_FILES: Final = frozenset({"IMAGE", "VIDEO", "DOCUMENT", "LOCATION"})


def fetch(node: str, headers: Sequence[str]) -> Conversation[list[TemplateInfo]]:
    """Return the templates of an account; `node` is its address. Raises SendError."""
    found: list[TemplateInfo] = []
    after = ""
    for _ in range(MOST_PAGES):
        url = f"{node}/message_templates?fields={_FIELDS}&limit={_PAGE}{after}"
        answer = yield get(url, headers)
        if not answer.accepted:
            raise refused(answer)
        said = read(answer.body)
        listed = said.get("data")
        found += filter(None, map(_info, listed if isinstance(listed, list) else ()))
        cursor = _cursor(said.get("paging"))
        if not cursor:
            break
        after = f"&after={quote(cursor, safe='')}"
    return found


def _cursor(paging: object) -> str:
    """Return where the next page begins, an empty text after the last one."""
    if not isinstance(paging, Mapping) or not paging.get("next"):
        return ""
    cursors = paging.get("cursors")
    return str(cursors.get("after") or "") if isinstance(cursors, Mapping) else ""


def _info(said: object) -> TemplateInfo | None:
    if not isinstance(said, Mapping) or not said.get("name") or not said.get("language"):
        return None
    quality = said.get("quality_score")
    score = quality.get("score") if isinstance(quality, Mapping) else None
    rejected = said.get("rejected_reason")
    components = said.get("components")
    return TemplateInfo(
        name=str(said["name"]),
        language=str(said["language"]),
        category=str(said.get("category") or ""),
        status=str(said.get("status") or "UNKNOWN"),
        quality=str(score or ""),
        reason="" if rejected in {None, "NONE"} else str(rejected),
        parameters=tuple(_parameters(components if isinstance(components, list) else ())),
    )


def _parameters(components: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Yield what each component with gaps needs; those of cards are not looked into."""
    for component in components:
        if not isinstance(component, Mapping):
            continue
        match str(component.get("type")).upper():
            case "HEADER" if str(component.get("format")).upper() in _FILES:
                yield {"component": "header", "names": [str(component["format"]).lower()]}
            case "HEADER" | "BODY" as kind:
                if names := _gaps(component.get("text")):
                    yield {"component": kind.lower(), "names": names}
            case "BUTTONS":
                yield from _of_buttons(component.get("buttons"))


def _of_buttons(buttons: object) -> Iterator[dict[str, Any]]:
    for index, button in enumerate(buttons if isinstance(buttons, list) else ()):
        if isinstance(button, Mapping) and (names := _gaps(button.get("url"))):
            yield {"component": "button", "index": index, "names": names}


def _gaps(text: object) -> list[str]:
    return list(dict.fromkeys(_GAP.findall(text))) if isinstance(text, str) else []
