"""Webhook reports of described gateways, in JSON, a form or a query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from service.channels.errors import PermanentError
from service.channels.sms import descriptions, reports
from service.channels.webhooks import Receipt, ReceiptState, Report, parsed

_WRITTEN: Final = ("id", "sender", "text")


def parse(body: bytes, settings: Mapping[str, Any]) -> Report:
    """Parse a report in JSON, a form or a query."""
    report = Report()
    said = parsed(body) if body.lstrip()[:1] in {b"{", b"["} else reports.form(body)
    described = settings.get("inbound")
    if described and descriptions.holds(said, described.get("where")):
        _read_inbound(report, said, described)
    if (described := settings.get("receipt")) and not report.inbound:
        for each in descriptions.objects(said, described.get("each")):
            _read_receipt(report, each, described)
    return report


def _read_inbound(report: Report, said: Any, described: Mapping[str, Any]) -> None:
    for each in descriptions.objects(said, described.get("each")):
        known_as, sender, text = (descriptions.find(each, described[at]) for at in _WRITTEN)
        if known_as and sender and text:
            report.inbound.append(reports.inbound(known_as, sender, text))


def _read_receipt(report: Report, said: Any, described: Mapping[str, Any]) -> None:
    known_as = descriptions.find(said, described["id"])
    word = descriptions.find(said, described["status"])
    states = {word: name for name, words in described["states"].items() for word in words}
    if not known_as or not word:
        report.odd += 1
    elif word in states:
        state = ReceiptState(states[word])
        reason = descriptions.find(said, described.get("reason") or "-")
        error = PermanentError(reason or f"The gateway reported {word}.", code=word)
        failed = state is ReceiptState.FAILED
        report.words.append(Receipt(known_as, state, error=error if failed else None))
