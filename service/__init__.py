"""Crier: one message to many people, delivered or accounted for.

A body is JSON under any content type, in UTF-8 or UTF-16, plain or packed as gzip or deflate; or a
form, urlencoded or multipart, with names in brackets (`message[text]=Hello`, `to[]=12025550110`).
Where something is made, an optional field that is empty counts as absent.
"""

from pathlib import Path

VERSION = "1.1.0.dev0"
"""The version of the service and its API; `.dev0` until it is released."""

_PACKAGE = Path(__file__).resolve().parent
_PACKED = _PACKAGE / "migrations"

MIGRATIONS = _PACKED if _PACKED.is_dir() else _PACKAGE.parent / "migrations"
"""The migrations: inside the package in a wheel, beside it in a checkout."""
