"""Crier: one message to many people, delivered or accounted for."""

from pathlib import Path

VERSION = "1.0.0"
"""The version of the service, and with it of the API."""

_PACKAGE = Path(__file__).resolve().parent
_PACKED = _PACKAGE / "migrations"

MIGRATIONS = _PACKED if _PACKED.is_dir() else _PACKAGE.parent / "migrations"
"""The migrations: inside the package in a wheel, beside it in a checkout."""
