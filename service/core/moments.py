"""Moments as the API writes them."""

from __future__ import annotations

import datetime as dt

UNIX_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def show(milliseconds: int) -> str:
    """Return a moment of Unix time, such as `2021-12-09T07:33:18.698Z`."""
    moment = UNIX_EPOCH + dt.timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
