"""News of an account, its numbers and its templates, as Meta's webhooks have them.

https://developers.facebook.com/docs/graph-api/webhooks/reference/whatsapp-business-account
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from service.channels.errors import BlockedError
from service.channels.webhooks import Notice, Report, TemplateNotice

_OF_SENDING: Final = {
    "RESTRICTED_BIZ_INITIATED_MESSAGING": "start conversations",
    "RESTRICTED_CUSTOMER_INITIATED_MESSAGING": "answer people",
}
"""The restrictions that keep an account from sending, and from what."""

_MOST_SECONDS: Final = 1e11
"""Unix time up to which a number counts seconds."""

_BLOCKING: Final = frozenset(
    {"PAUSED", "DISABLED", "REJECTED", "DELETED", "PENDING_DELETION", "LIMIT_EXCEEDED"}
)
"""The states in which a template cannot be used."""

_LEADS_TO: Final = {
    "REINSTATED": "APPROVED",
    "UNPAUSED": "APPROVED",
    "FLAGGED": "APPROVED",  # it can still be sent
    "LOCKED": "",
    "UNLOCKED": "",  # whether it can be edited
}
"""The states that events lead to which are no states themselves."""

_UNPAUSED: Final = "UNPAUSE"
"""The title of what is said of a template that is locked no longer."""


def read_account(report: Report, value: Mapping[str, Any], _at: int) -> None:
    """Read an `account_update`: a restriction until a date, a ban, or its end."""
    event = str(value.get("event") or "")
    ban = value.get("ban_info")
    state = str(ban.get("waba_ban_state") or "") if isinstance(ban, Mapping) else ""
    if event == "ACCOUNT_RESTRICTION":
        for restriction in report.objects(value.get("restriction_info")):
            _read_restriction(report, restriction)
    elif event == "ACCOUNT_DELETED":
        error = BlockedError("The WhatsApp Business Account was deleted.", code="deleted")
        report.words.append(Notice(error))
    elif state == "DISABLE":
        error = BlockedError("Meta has disabled the WhatsApp Business Account.", code="disabled")
        report.words.append(Notice(error))
    elif state == "REINSTATE":
        report.words.append(Notice(None))
    if event:
        report.health["account"] = " ".join(filter(None, (event, state)))


def _read_restriction(report: Report, restriction: Mapping[str, Any]) -> None:
    kind, ends = str(restriction.get("restriction_type") or ""), restriction.get("expiration")
    if kind not in _OF_SENDING:
        return
    until = _seconds(ends)
    if until is not None and until <= time.time():
        return
    when = (
        "" if until is None else f" until {datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M} UTC"
    )
    reason = f"Meta has restricted the account: it cannot {_OF_SENDING[kind]}{when}."
    wait = None if until is None else until - time.time()
    report.words.append(Notice(BlockedError(reason, code="restricted", wait=wait)))


def read_quality(report: Report, value: Mapping[str, Any], _at: int) -> None:
    """Read a `phone_number_quality_update`: the number's quality, and how many it may write to."""
    news = {
        "number": value.get("display_phone_number"),
        "event": value.get("event"),
        "limit": value.get("current_limit") or value.get("max_daily_conversations_per_business"),
    }
    report.health |= {name: str(said)[:100] for name, said in news.items() if said}


def read_template(report: Report, value: Mapping[str, Any], at: int) -> None:
    """Read a `message_template_status_update` of a moment in milliseconds of Unix time."""
    event = str(value.get("event") or "").upper()
    other = value.get("other_info")
    other = other if isinstance(other, Mapping) else {}
    detail = other.get("description")
    if other.get("title") == _UNPAUSED:
        event = "UNPAUSED"
    said = value.get("reason")
    reason = str(detail or (said if said not in {None, "NONE"} else "") or "")
    _note(
        report,
        value,
        status=_LEADS_TO.get(event, event),
        reason=reason,
        blocks=event in _BLOCKING,
        at=at,
    )


def read_template_quality(report: Report, value: Mapping[str, Any], at: int) -> None:
    """Read a `message_template_quality_update`."""
    _note(report, value, quality=str(value.get("new_quality_score") or ""), at=at)


def _note(report: Report, value: Mapping[str, Any], **news: Any) -> None:
    name, language = value.get("message_template_name"), value.get("message_template_language")
    if isinstance(name, str) and isinstance(language, str) and name and language:
        report.templates.append(TemplateNotice(name, language, **news))


def moment(said: object) -> int:
    """Return a moment of Unix seconds, or of milliseconds, in milliseconds; 0 for anything else."""
    try:
        number = float(str(said))
    except ValueError:
        return 0
    seconds = number / 1000 if number > _MOST_SECONDS else number
    return int(seconds * 1000) if 0 < seconds < _MOST_SECONDS else 0


def _seconds(said: object) -> float | None:
    """Return a moment of Unix seconds, None for anything else."""
    try:
        seconds = float(str(said))
    except ValueError:
        return None
    return seconds if 0 < seconds < _MOST_SECONDS else None
