"""The errors that an API client can get: one class each, with an HTTP status and a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ServiceError(Exception):
    """Something went wrong. Try again; if it keeps happening, ask the operator."""

    status = 500

    def __init__(
        self,
        message: str | None = None,
        *,
        errors: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Use the first line of the class's docstring if there is no `message`.

        `errors` maps a field (dotted, as in the request) to its reasons.
        """
        self.message = message or (self.__doc__ or "").strip().splitlines()[0]
        self.errors = errors or {}
        self.headers = headers or {}
        super().__init__(self.message)


class UnreadableBodyError(ServiceError):
    """The request body is not valid JSON."""

    status = 400


class UnauthorisedError(ServiceError):
    """This request needs a valid token: send it as `Authorization: Bearer <token>`."""

    status = 401

    def __init__(self, message: str | None = None, *, problem: str = "") -> None:
        """`problem` is the RFC 6750 error code (`invalid_token`), empty if there was no token."""
        challenge = (
            f'Bearer realm="crier", error="{problem}"' if problem else 'Bearer realm="crier"'
        )
        super().__init__(message, headers={"WWW-Authenticate": challenge})
        self.problem = problem


class ForbiddenError(ServiceError):
    """This token may not do that."""

    status = 403

    def __init__(self, scope: str) -> None:
        super().__init__(
            f"This token lacks the scope `{scope}`. The operator can create one that has it:"
            f" `.venv/bin/flask token create CLIENT --scope {scope}`.",
            headers={
                "WWW-Authenticate": f'Bearer realm="crier", error="insufficient_scope",'
                f' scope="{scope}"'
            },
        )


class SessionTokenError(ServiceError):
    """A session token is not enough here. Send the client's token, as `Authorization: Bearer`."""

    status = 403

    def __init__(self) -> None:
        challenge = 'Bearer realm="crier", error="insufficient_scope"'
        super().__init__(headers={"WWW-Authenticate": challenge})


class NotFoundError(ServiceError):
    """You have no object with this id."""

    status = 404

    _whose = "You have"

    def __init__(self, noun: str, object_id: str) -> None:
        super().__init__(f"{self._whose} no {noun} {object_id[:64]!r}.")


class NowhereError(NotFoundError):
    """No client has an object with this id."""

    _whose = "There is"


class UnknownSessionError(ServiceError):
    """You have no session with this id."""

    status = 404


class ConflictError(ServiceError):
    """The current state of the object does not allow this."""

    status = 409


class StaleVersionError(ConflictError):
    """This object has changed since you fetched it. Fetch it again and repeat your change."""


class JustDeletedError(ConflictError):
    """The session or an attachment of this broadcast has just been deleted."""


class InUseError(ConflictError):
    """An unfinished broadcast still uses this object."""


class LimitError(ConflictError):
    """A limit of this client is reached."""

    def __init__(
        self, limit: str, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        """`limit` is the name of the limit."""
        super().__init__(message, errors={limit: [message]}, headers=dict(headers or {}))
        self.limit = limit


class SizeLimitError(LimitError):
    """More than a limit of this client has room for."""

    status = 413


class RateLimitError(LimitError):
    """Too many of these in a time."""

    status = 429

    def __init__(self, limit: str, message: str, *, quota: int, window: int, wait: int) -> None:
        """`quota` is allowed in `window` seconds, and something again after `wait` seconds."""
        wait = max(1, wait)
        fields = rate_limit_fields(limit, quota=quota, window=window, left=0, wait=wait)
        super().__init__(limit, message, headers={"Retry-After": str(wait), **fields})


def rate_limit_fields(
    limit: str, *, quota: int, window: int, left: int, wait: int | None = None
) -> dict[str, str]:
    """Return the fields of draft-ietf-httpapi-ratelimit-headers-10; times are in seconds."""
    later = "" if wait is None else f";t={wait}"
    return {
        "RateLimit-Policy": f'"{limit}";q={quota};w={window}',
        "RateLimit": f'"{limit}";r={left}{later}',
    }


class TooLargeError(ServiceError):
    """The request is too large."""

    status = 413


class TooManyReportsError(ServiceError):
    """Too many reports are waiting for this session. Send this one again in a minute."""

    status = 429

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "60"})


class TooManyQuestionsError(ServiceError):
    """Too many questions of yours wait for answers of providers. Ask again in a few seconds."""

    status = 429

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "5"})


class TooManyRequestsError(ServiceError):
    """A client has taken its share of threads, and other clients make requests, too."""

    status = 429

    def __init__(self) -> None:
        sentence = (
            "Too many requests of yours are under way, and other clients make requests, too. Wait"
            " for some answers, then send this one again."
        )
        super().__init__(sentence, headers={"Retry-After": "1"})


class TooManyAnswersError(ServiceError):
    """Too many long answers of yours are under way: exports, and pages of more than 100 entries."""

    status = 429

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "1"})


class MediaTypeError(ServiceError):
    """This file type or content type is not supported."""

    status = 415


class InvalidError(ServiceError):
    """Some fields of the request are not valid."""

    status = 422


class BusyError(ServiceError):
    """The database is not available. Nothing was stored. Try again."""

    status = 503

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message, headers={"Retry-After": "2"})


class NotMigratedError(BusyError):
    """The database schema does not match this version. The operator must run `make migrate`."""


class DiskError(BusyError):
    """The disk of the service is full or read-only. Nothing was stored. Its operator can help."""


class ProviderError(ServiceError):
    """The session's provider did not answer the question as it should. Please try again."""

    status = 502


class ForgedWebhookError(ServiceError):
    """The webhook's signature or token is wrong. Check the secrets of the session."""

    status = 403
