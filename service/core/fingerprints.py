"""Fingerprints: compare a request with an earlier one that had the same idempotency key.

A fingerprint is the digest of the whole document, followed by a digest of each field.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

_SHORT: Final = 8
"""Characters of a field's digest: two values collide with a chance of one in four billion."""


UNKNOWN: Final = "some field"


def take(document: Mapping[str, Any]) -> str:
    """Return the fingerprint of a document, ignoring empty fields and the token."""
    relevant = {name: value for name, value in document.items() if name != "access_token"}
    fields = (f"{name}={_digest(value)[:_SHORT]}" for name, value in _fields(relevant))
    return " ".join((_digest(relevant), *sorted(fields)))


def differences(one: str, other: str) -> list[str]:
    """Return the fields in which two documents differ, empty if they are equal.

    For fingerprints of older versions without field digests, it names no fields.
    """
    whole, *fields = one.split()
    other_whole, *other_fields = other.split()
    if whole == other_whole:
        return []
    if not (fields and other_fields):
        return [UNKNOWN]
    return sorted({field.rpartition("=")[0] for field in {*fields} ^ {*other_fields}})


def _fields(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the non-empty fields; those of the message separately."""
    for name, value in document.items():
        if name == "message" and isinstance(value, Mapping):
            yield from ((f"message.{inner}", said) for inner, said in value.items() if said)
        elif value not in (None, ""):
            yield name, value


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
