"""The meaning of SMPP's status codes.

SMPP 3.4, table 5-2. Codes from 0x400 on are a vendor's own.
"""

from __future__ import annotations

from typing import Final

from service.channels.errors import SendError
from service.channels.sms.codes import About, Code, Codes

OK: Final = 0x0
UNKNOWN_COMMAND: Final = 0x3
QUEUE_FULL: Final = 0x14
TEMPORARY: Final = 0x64

BOUND_ELSEWHERE: Final = "ESME_RALYBND"
"""The code of an account that another process is bound as."""

_THROTTLED: Final = 1.0
"""Seconds to wait when an SMSC says that it is too fast, as Kannel does (`throttling-sleep-time`):
SMSCs limit messages per second."""

_NAMES: Final = {
    0x1: "ESME_RINVMSGLEN",
    0x2: "ESME_RINVCMDLEN",
    0x3: "ESME_RINVCMDID",
    0x4: "ESME_RINVBNDSTS",
    0x5: "ESME_RALYBND",
    0x6: "ESME_RINVPRTFLG",
    0x7: "ESME_RINVREGDLVFLG",
    0x8: "ESME_RSYSERR",
    0xA: "ESME_RINVSRCADR",
    0xB: "ESME_RINVDSTADR",
    0xD: "ESME_RBINDFAIL",
    0xE: "ESME_RINVPASWD",
    0xF: "ESME_RINVSYSID",
    0x14: "ESME_RMSGQFUL",
    0x15: "ESME_RINVSERTYP",
    0x43: "ESME_RINVESMCLASS",
    0x45: "ESME_RSUBMITFAIL",
    0x48: "ESME_RINVSRCTON",
    0x49: "ESME_RINVSRCNPI",
    0x50: "ESME_RINVDSTTON",
    0x51: "ESME_RINVDSTNPI",
    0x53: "ESME_RINVSYSTYP",
    0x58: "ESME_RTHROTTLED",
    0x61: "ESME_RINVSCHED",
    0x62: "ESME_RINVEXPIRY",
    0x64: "ESME_RX_T_APPN",
    0x65: "ESME_RX_P_APPN",
    0x66: "ESME_RX_R_APPN",
    0xFE: "ESME_RDELIVERYFAILURE",
    0xFF: "ESME_RUNKNOWNERR",
}

CODES: Final = Codes(
    "The SMSC",
    {
        "ESME_RINVMSGLEN": Code(About.REQUEST, "The SMSC refuses the message's length."),
        "ESME_RINVCMDLEN": Code(About.REQUEST, "The SMSC refuses the message's length."),
        "ESME_RINVCMDID": Code(About.ACCOUNT, "The SMSC takes no messages by submit_sm."),
        "ESME_RINVBNDSTS": Code(About.PASSING, "The SMSC says that the session is not bound."),
        "ESME_RALYBND": Code(About.PASSING, "The account is bound elsewhere."),
        "ESME_RINVPRTFLG": Code(About.ACCOUNT, "The SMSC refuses the message's priority."),
        "ESME_RINVREGDLVFLG": Code(About.ACCOUNT, "The SMSC gives no receipts. Set `receipts`."),
        "ESME_RSYSERR": Code(About.PASSING, "The SMSC had a temporary error."),
        "ESME_RINVSRCADR": Code(About.ACCOUNT, "The SMSC refuses the sender."),
        "ESME_RINVDSTADR": Code(About.RECIPIENT, "This is not a valid number."),
        "ESME_RBINDFAIL": Code(About.PASSING, "The SMSC refused the bind."),
        "ESME_RINVPASWD": Code(About.ACCOUNT, "The SMSC refuses the password."),
        "ESME_RINVSYSID": Code(About.ACCOUNT, "The SMSC does not know this system_id."),
        "ESME_RMSGQFUL": Code(About.LIMIT, "The SMSC's queue is full.", _THROTTLED),
        "ESME_RINVSERTYP": Code(About.ACCOUNT, "The SMSC refuses the service type."),
        "ESME_RINVESMCLASS": Code(About.ACCOUNT, "The SMSC takes no joined segments."),
        "ESME_RSUBMITFAIL": Code(About.PASSING, "The SMSC could not take the message."),
        "ESME_RINVSRCTON": Code(About.ACCOUNT, "The SMSC refuses the sender's type of number."),
        "ESME_RINVSRCNPI": Code(About.ACCOUNT, "The SMSC refuses the sender's numbering plan."),
        "ESME_RINVDSTTON": Code(About.ACCOUNT, "The SMSC refuses the type of number."),
        "ESME_RINVDSTNPI": Code(About.ACCOUNT, "The SMSC refuses the numbering plan."),
        "ESME_RINVSYSTYP": Code(About.ACCOUNT, "The SMSC refuses the system_type."),
        "ESME_RTHROTTLED": Code(About.LIMIT, "The account sends too fast.", _THROTTLED),
        "ESME_RINVSCHED": Code(About.ACCOUNT, "The SMSC refuses the time of delivery."),
        "ESME_RINVEXPIRY": Code(About.ACCOUNT, "The SMSC refuses the message's expiry."),
        "ESME_RX_T_APPN": Code(About.PASSING, "The SMSC had a temporary error."),
        "ESME_RX_P_APPN": Code(About.RECIPIENT, "The SMSC refuses this message for good."),
        "ESME_RX_R_APPN": Code(About.RECIPIENT, "The SMSC rejected the message."),
        "ESME_RDELIVERYFAILURE": Code(About.RECIPIENT, "The message could not be delivered."),
        "ESME_RUNKNOWNERR": Code(About.PASSING, "The SMSC had an unknown error."),
    },
)


def refused(status: int) -> SendError:
    """Return the error for a response's status."""
    return CODES.error(_NAMES.get(status, f"0x{status:08X}"))
