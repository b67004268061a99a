"""Why a provider did not accept a message."""

from __future__ import annotations


class SendError(Exception):
    """The provider did not accept a part. `reason` is a sentence for the client.

    `code` is for programs: the provider's code, or a short word of ours.
    """

    def __init__(self, reason: str, *, code: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class RetryableError(SendError):
    """Nothing was sent. A later attempt may succeed, not before `wait` seconds from now."""

    def __init__(self, reason: str, *, code: str = "", wait: float = 0.0) -> None:
        super().__init__(reason, code=code)
        self.wait = wait


class PermanentError(SendError):
    """This recipient cannot be reached. Another attempt would fail too.

    `opted_out`: the person wants no more messages from this account.
    """

    def __init__(self, reason: str, *, code: str = "", opted_out: bool = False) -> None:
        super().__init__(reason, code=code)
        self.opted_out = opted_out


class RequestError(PermanentError):
    """The provider refuses the message itself, for every recipient."""


class TemplateError(RequestError):
    """The provider does not send this template now, but may do so again later."""


class UnknownCodeError(PermanentError):
    """Refused with an unknown code: because of this recipient, or of the message."""


class BlockedError(SendError):
    """The account cannot send now: throttled, logged out, unpaid.

    `wait` is in seconds if the provider says how long, None until somebody fixes it.
    """

    def __init__(self, reason: str, *, code: str = "", wait: float | None = None) -> None:
        super().__init__(reason, code=code)
        self.wait = wait


class UncertainError(SendError):
    """The provider may have the part: the request was sent, but no answer came.

    `provider_id`, if not empty, is the id that we gave the part. The provider's receipts use it,
    and sending the part again with the same reference delivers it once.
    """

    def __init__(self, reason: str, *, code: str = "", provider_id: str = "") -> None:
        super().__init__(reason, code=code)
        self.provider_id = provider_id
