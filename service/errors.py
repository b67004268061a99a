"""The failures that a client program may meet: a class each, with a status and a sentence."""

from __future__ import annotations

from typing import Any


class ServiceError(Exception):
    """Something went wrong. Please try again; if it persists, ask the operator."""

    status = 500

    def __init__(
        self,
        message: str | None = None,
        *,
        errors: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Take the class's own sentence for want of a `message`.

        `errors` maps a field (dotted, as in the request) to its reasons.
        """
        self.message = message or (self.__doc__ or "").strip().splitlines()[0]
        self.errors = errors or {}
        self.headers = headers or {}
        super().__init__(self.message)


class UnreadableBodyError(ServiceError):
    """The request's body is not readable as JSON."""

    status = 400


class UnauthorisedError(ServiceError):
    """This request needs a valid token: send it as `Authorization: Bearer <token>`."""

    status = 401

    def __init__(self, message: str | None = None, *, problem: str = "") -> None:
        """Take the RFC 6750 error word (`invalid_token`) as `problem`, empty for no token."""
        challenge = (
            f'Bearer realm="crier", error="{problem}"' if problem else 'Bearer realm="crier"'
        )
        super().__init__(message, headers={"WWW-Authenticate": challenge})


class ForbiddenError(ServiceError):
    """This token may not do that."""

    status = 403

    def __init__(self, scope: str) -> None:
        super().__init__(
            f"This token lacks the scope `{scope}`: the operator makes one that has it by"
            f" `.venv/bin/flask token create CLIENT --scope {scope}`.",
            headers={
                "WWW-Authenticate": f'Bearer realm="crier", error="insufficient_scope",'
                f' scope="{scope}"'
            },
        )


class SessionTokenError(ServiceError):
    """A session's own token does not reach this: send a token of the client, too, as `Bearer`."""

    status = 403

    def __init__(self) -> None:
        challenge = 'Bearer realm="crier", error="insufficient_scope"'
        super().__init__(headers={"WWW-Authenticate": challenge})


class NotFoundError(ServiceError):
    """There is nothing of yours under that id."""

    status = 404

    _whose = " among yours"

    def __init__(self, noun: str, object_id: str) -> None:
        super().__init__(f"There is no {noun} {object_id[:64]!r}{self._whose}.")


class NowhereError(NotFoundError):
    """There is nothing under that id, whoever asks."""

    _whose = ""


class UnknownSessionError(ServiceError):
    """No session of this client has that id."""

    status = 404


class ConflictError(ServiceError):
    """The object is not in a state that allows this."""

    status = 409


class StaleVersionError(ConflictError):
    """Somebody changed this object meanwhile: fetch it again and repeat your change."""


class InUseError(ConflictError):
    """Something unfinished still needs this object."""


class TooLargeError(ServiceError):
    """The request is larger than this service accepts."""

    status = 413


class TooManyReportsError(ServiceError):
    """Too many reports of this session wait to be applied: send this one again in a minute."""

    status = 429

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "60"})


class MediaTypeError(ServiceError):
    """This kind of file or body is not accepted."""

    status = 415


class InvalidError(ServiceError):
    """The request is readable, but some of its fields are not right."""

    status = 422


class BusyError(ServiceError):
    """The database cannot be reached just now; nothing was stored. Please try again."""

    status = 503

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message, headers={"Retry-After": "2"})


class NotMigratedError(BusyError):
    """The tables are not of this version: the operator runs `make migrate`, or restarts this."""


class FullDiskError(BusyError):
    """The service's disk is full; nothing was stored. The operator has to make room."""


class ForgedWebhookError(ServiceError):
    """The webhook's signature or token is not right: check the secrets of the session."""

    status = 403
