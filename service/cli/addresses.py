"""Addresses: the URLs of the service, derived from the settings; see `gunicorn.conf.py`."""

from __future__ import annotations

import os

import click
from gunicorn.util import parse_address

from service.blueprints.context import crier

_ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - these are read
"""What stands for all addresses of a machine, and which of them is asked for."""


def port() -> str:
    """Return the port on 127.0.0.1, where nothing else is bound; it may be no number."""
    return os.environ.get("PORT") or "8000"


def local() -> str:
    """Return the URL of the service on this machine; empty if it listens only on sockets."""
    bound = os.environ.get("BIND")
    if not bound:
        return f"http://127.0.0.1:{port()}"
    places = (parse_address(each, "8000") for each in bound.split(","))
    return next((_url(*place) for place in places if isinstance(place, tuple)), "")


def usual() -> str:
    """Return PUBLIC_URL, or else the local URL; raises ClickException if there is neither."""
    found = crier().settings.public_url or local()
    if not found:
        raise click.ClickException(
            "BIND has only sockets. Say with --address where the service answers, or set"
            " PUBLIC_URL."
        )
    return found


def _url(host: str, number: int) -> str:
    host = _ANY.get(host, host)
    return f"http://[{host}]:{number}" if ":" in host else f"http://{host}:{number}"
