"""Reads the request for a broadcast: its recipients, its message, and its fallback."""

from __future__ import annotations

from typing import Any

from service.blueprints import lists
from service.blueprints.context import caller, crier, named_session, within
from service.blueprints.requests import request
from service.core import audiences, fallbacks, fingerprints, personalisation
from service.core.audiences import Audience
from service.core.broadcast_requests import BroadcastRequest
from service.core.placeholders import Syntax
from service.core.recipient_lists import Recipients
from service.errors import InvalidError
from service.models import OnInvalid


def read(document: dict[str, Any], body: dict[str, Any], key: str | None) -> BroadcastRequest:
    """Return the client's request. `message` is kept as given, not as validated in `body`."""
    message, syntax = document["message"], Syntax(body.get("syntax") or Syntax.BRACES)
    kept = fallback(body, document)
    return BroadcastRequest(
        session_id=named_session(),
        within=within(),
        people=_people(body, personalisation.names(message, syntax, *fallbacks.messages(kept))),
        message=message,
        send_at=body.get("send_at"),
        expires_at=body.get("expires_at"),
        idempotency_key=key or None,
        fingerprint=fingerprints.take(document | lists.digest()) if key else "",
        personalise=body.get("personalise", False),
        syntax=syntax,
        variables=body.get("variables", {}),
        sample=body.get("sample"),
        window=body.get("window"),
        audience=body.get("audience"),
        skips_invalid=body.get("on_invalid") == OnInvalid.SKIP,
        confirms_countries=body.get("confirm_countries", False),
        fallback=fallbacks.restore(kept),
    )


def fallback(body: dict[str, Any], document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the steps of a fallback, with their messages as given."""
    steps = zip(body.get("fallback") or (), document.get("fallback") or (), strict=True)
    return [
        step | ({"message": given["message"]} if "message" in step else {}) for step, given in steps
    ]


_NO_AUDIENCE = "Must name an earlier broadcast by its id, as `broadcast`."


def _people(body: dict[str, Any], names: frozenset[str] | None) -> Recipients:
    """Return the recipients of a request, with the variables in `names`."""
    if "audience" not in body:
        if request.document.get("audience") == {} and "to" not in body:
            raise InvalidError(errors={"audience": [_NO_AUDIENCE]})
        return lists.recipients_of(body, names)
    wanted = body["audience"]
    audience = Audience(
        wanted["broadcast"],
        wanted.get("statuses", ()),
        wanted.get("codes", ()),
        wanted.get("replied"),
    )
    with crier().database.reading() as db:
        return audiences.find(
            db,
            caller().client_id,
            audience,
            within=within(),
            send_type=body["send_type"],
            names=names if body.get("personalise") else frozenset(),
            most=crier().settings.max_recipients,
        )
