"""The Apprise services that a session may use, and the options of their URLs.

Some options make Apprise load a file or a URL, run a program, skip TLS verification or send a
message twice. Each service therefore has a list of allowed options; all others are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from apprise.plugins import url_to_dict
from apprise.utils.parse import parse_qsd

_ALWAYS: Final = frozenset({"to", "format", "overflow", "emojis", "tz"})
"""Options of every service: the recipient, and the text format."""

_SMS: Final = {
    "46elks": "from",
    "atalk": "apikey from mode batch",
    "bulksms": "from route unicode batch",
    "bulkvs": "from batch",
    "burstsms": "from key secret country validity batch",
    "clickatell": "apikey from",
    "clicksend": "key batch",
    "cm": "token from channels batch",
    "d7sms": "source from unicode batch",
    "elks": "from",
    "exotel": "from sid token apikey key batch unicode region priority",
    "freemobile": "",
    "gupshup": "app key from source template :",
    "httpsms": "key from",
    "kavenegar": "from",
    "kudosity": "from key secret country validity batch",
    "msg91": "short_url :",
    "msgbird": "from",
    "nexmo": "from key secret ttl",
    "octopush": "login key batch replies purpose type",
    "plivo": "from token id batch",
    "seven": "source from flash label",
    "sinch": "from spi region token",
    "smsmanager": "key from sender gateway batch",
    "smsmgr": "key from sender gateway batch",
    "sns": "token access key secret region mode",
    "telnyx": "key from profile",
    "twilio": "from sid token apikey method",
    "voipms": "from",
    "vonage": "from key secret ttl",
}

_CHATS: Final = {
    "discord": "tts avatar avatar_url href url thread footer footer_logo fields flags ping batch",
    "line": "",
    "pbul": "",
    "pover": "priority sound url url_title interval expire key e2ee",
    "slack": "footer blocks timestamp mode token",
    "tgram": "detect silent preview album topic thread mdv content",
    "threema": "from gwid secret",
    "viber": "from avatar token",
    "whatsapp": "from token template lang :",
}

_MAIL: Final = {
    "brevo": "reply",
    "mailersend": "reply",
    "mailgun": "name from region batch",
    "postmark": "name reply",
    "resend": "from name apikey reply",
    "sendgrid": "template +",
    "ses": "from reply name token access key secret region",
    "smtp2go": "name batch",
    "sparkpost": "name region batch",
}

_NAMING_A_HOST: Final = {
    **dict.fromkeys(("json", "jsons", "xml", "xmls", "form", "forms"), "method + : -"),
    **dict.fromkeys(("gotify", "gotifys"), "priority"),
    **dict.fromkeys(("mailto", "mailtos"), "from name smtp mode reply user pass"),
    **dict.fromkeys(("matrix", "matrixs"), "mode path version msgtype token"),
    **dict.fromkeys(("mmost", "mmosts"), "channel channels icon_url team botname mode"),
    **dict.fromkeys(("ntfy", "ntfys"), "click delay email priority xtags actions mode token auth"),
    **dict.fromkeys(("rocket", "rockets"), "mode avatar webhook"),
    **dict.fromkeys(("signal", "signals"), "from status batch"),
}

SMS: Final = frozenset(_SMS)
"""Gateways that split long texts."""

HOSTED: Final = frozenset({*_SMS, *_CHATS, *_MAIL})
"""Services with fixed addresses. URLs of all other services name a host, which needs
PRIVATE_ADDRESSES."""

NO_HTTP: Final = frozenset({"mailto", "mailtos"})
"""Services that cannot use an HTTP proxy."""

OPTIONS: Final[Mapping[str, frozenset[str]]] = {
    service: _ALWAYS | frozenset(names.split())
    for service, names in {**_SMS, **_CHATS, **_MAIL, **_NAMING_A_HOST}.items()
}
"""The options of each service. A punctuation mark allows all options that begin with it."""


def service_of(url: str) -> str:
    """Return the name of the service in a URL."""
    return url.partition(":")[0].lower()


def fault(url: str) -> str:
    """Return why a URL must not be used, empty if it may be used."""
    options = OPTIONS.get(service_of(url))
    if options is None:
        return f"Must begin with one of these services: {', '.join(sorted(OPTIONS))}."
    refused = sorted(name for name in _said(url) if not _is_among(name, options))
    if not refused:
        return ""
    known = ", ".join(sorted(name if name[0].isalnum() else f"{name}NAME" for name in options))
    return f"The option {refused[0][:64]!r} is not allowed. This service takes {known}."


def _said(url: str) -> set[str]:
    """Return the names of all options in a URL, as parsed by us and by Apprise."""
    read = url_to_dict(url) or {}
    ours = parse_qsd(url.partition("?")[2])["qsd"] if "?" in url else {}
    return {*ours, *read.get("qsd", {})}


def _is_among(name: str, options: frozenset[str]) -> bool:
    return name in options or name[:1] in options
