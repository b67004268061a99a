"""Fields that the settings of several channels share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from marshmallow import Schema, fields, validate

_PORTS = {"http": 80, "https": 443}


class BaseUrl(fields.String):
    """The base URL of a provider, without user, query or fragment."""

    def __init__(self, schemes: tuple[str, ...] = ("http", "https"), **options: Any) -> None:
        named = "|".join(schemes)
        pattern = rf"({named})://[A-Za-z0-9.\-_\[\]:]+(/[A-Za-z0-9.\-_~/%]*)?\Z"
        message = f"Must be an {' or '.join(schemes)} URL without user, query and fragment."
        checks = [validate.Length(max=512), validate.Regexp(pattern, error=message)]
        super().__init__(validate=checks, **options)


class Secret(fields.String):
    """A token or key. It is encrypted at rest and must fit into a header."""

    def __init__(self, *, description: str, **options: Any) -> None:
        message = "Must have only printable ASCII characters, without spaces."
        least = 1 if options.get("required") else 0
        checks = [validate.Length(least, 2048), validate.Regexp(r"[!-~]*\Z", error=message)]
        metadata = {"secret": True, "description": description}
        super().__init__(validate=checks, metadata=metadata, **options)


class KeepFiles(fields.Boolean):
    """Whether the files that people send to the account are fetched and kept."""

    def __init__(self) -> None:
        about = "Keep the files that people send to the account, as attachments of their replies"
        super().__init__(load_default=False, metadata={"description": about})


def servers(schema: type[Schema], settings: Mapping[str, Any]) -> dict[str, tuple[object, ...]]:
    """Return the server (scheme, host and port) of each URL in the settings."""
    return {
        name: _server(str(settings.get(name) or "").lower())
        for name, field in schema().fields.items()
        if isinstance(field, BaseUrl)
    }


def _server(url: str) -> tuple[object, ...]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:  # the call with it reports what is wrong
        return (url,)
