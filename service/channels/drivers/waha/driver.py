"""The driver of a session on a WAHA server."""

from __future__ import annotations

import base64
import json
import time
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple
from urllib.parse import quote, urlencode

from marshmallow import Schema, fields, validate

from service.channels.answers import read
from service.channels.base import Account, DriverContext, InboundFile, TemplateInfo
from service.channels.captions import arrange, refuse_long
from service.channels.content import (
    ContactCard,
    Content,
    Location,
    Media,
    MediaKind,
    Part,
    Template,
    Text,
    UnsupportedContentError,
)
from service.channels.drivers.waha import downloads, restrictions
from service.channels.drivers.waha.errors import WORKING, failed, not_working, refused
from service.channels.drivers.waha.message_ids import id_of, mint
from service.channels.drivers.waha.receipts import (
    is_authentic,
    parse_report,
)
from service.channels.errors import (
    BlockedError,
    PermanentError,
    RequestError,
    SendError,
    UncertainError,
)
from service.channels.settings import BaseUrl, KeepFiles, Secret
from service.channels.steps import Conversation, Request, get, post, result
from service.channels.webhooks import Webhook

_PATHS: Final = {
    MediaKind.IMAGE: "sendImage",
    MediaKind.VIDEO: "sendVideo",
    MediaKind.AUDIO: "sendVoice",
    MediaKind.DOCUMENT: "sendFile",
}
_RESTRICTIONS: Final = {"/timelock": restrictions.timelock, "/capping": restrictions.capping}
_CONVERTED: Final = {MediaKind.VIDEO: "video/mp4", MediaKind.AUDIO: "audio/ogg"}
"""The formats of these endpoints. WAHA must convert all others first."""

_OF_OUR_IDS: Final = (Text, Location, ContactCard)
"""Parts for which WAHA accepts our message id, if its engine can. Files get WhatsApp's."""

_MOST_CHATS: Final = 100_000
"""The most resolved numbers that a process remembers for a session."""

TEXT_LIMIT: Final = 65_536
"""The most UTF-16 units that WhatsApp's own apps send."""


class Settings(Schema):
    """A WAHA server and a session on it."""

    base_url = BaseUrl(required=True)
    session = fields.String(
        load_default="default",
        validate=validate.Regexp(r"[A-Za-z0-9_\-]{1,64}\Z"),
        metadata={"description": "The session's name in WAHA"},
    )
    api_key = Secret(load_default="", description="WAHA's X-Api-Key")
    resolve = fields.Boolean(
        load_default=False,
        metadata={
            "description": "Ask WhatsApp for the form in which it knows a number before the first"
            " message to it: Brazil, Mexico, Argentina"
        },
    )
    webhook_key = Secret(load_default="", description="The HMAC key of the session's webhook")
    files = fields.String(
        load_default="link",
        validate=validate.OneOf(("link", "inline")),
        metadata={"description": "`link`: WAHA downloads files; `inline`: requests contain them"},
    )
    keep_files = KeepFiles()


class Prepared(NamedTuple):
    """The JSON of a message without its beginning, which has the recipient and the id."""

    url: str
    tail: bytes
    takes_id: bool


class Waha:
    """A driver for a session on a WAHA server."""

    name: ClassVar[str] = "waha"
    reaches_groups: ClassVar[bool] = True
    reaches_user_ids: ClassVar[bool] = False
    has_templates: ClassVar[bool] = False
    echoes_references: ClassVar[bool] = False  # files get WhatsApp's own ids
    concurrency: ClassVar[int | None] = 4  # a WAHA is one browser
    webhook: ClassVar[Webhook | None] = Webhook(is_authentic, parse_report)
    Settings: ClassVar[type[Schema]] = Settings

    def __init__(self, account: Account, context: DriverContext) -> None:  # noqa: ARG002 - as all
        """Create the driver, without any request."""
        settings = account.settings
        self._api = f"{str(settings['base_url']).rstrip('/')}/api"
        self._session = str(settings.get("session") or "default")
        self._inline = settings.get("files", "link") == "inline"
        key = settings.get("api_key")
        self._headers = (
            "Content-Type: application/json",
            *((f"X-Api-Key: {key}",) if key else ()),
        )
        self._takes_ids: bool | None = None
        self._resolves = bool(settings.get("resolve", False))
        self._chats: dict[str, str] = {}

    def plan(self, content: Content) -> tuple[Part, ...]:
        """Split a message into parts; raises UnsupportedContentError for a template."""
        if content.template:
            raise _no_templates()
        if content.category:
            raise UnsupportedContentError("message.category", "WAHA has no Direct Send.")
        refuse_long(content.text, TEXT_LIMIT, "WhatsApp")
        parts = (*arrange(content.text, content.media), content.location, content.contact)
        return tuple(part for part in parts if part)

    def segments(self, text: str) -> int | None:  # noqa: ARG002 - the contract of all drivers
        """Return None: a text is one message."""
        return None

    def prepare(self, part: Part) -> Prepared:
        """Render the JSON that is the same for every recipient."""
        path, body = self._render(part)
        rendered = json.dumps({**body, "session": self._session}, separators=(",", ":"))
        takes_id = isinstance(part, _OF_OUR_IDS)
        return Prepared(f"{self._api}/{path}", f'",{rendered[1:]}'.encode(), takes_id)

    def send(self, recipient: str, prepared: Prepared, reference: str) -> Conversation[str]:
        """Send a message and return WhatsApp's id for it; raises SendError."""
        takes_id = prepared.takes_id and (yield from self._engine_takes_ids())
        message_id = mint(reference) if takes_id else ""
        chat = yield from self._chat(recipient)
        given = f'"id":"{message_id}",' if message_id else ""
        body = b'{%b"chatId":"%b%b' % (given.encode(), chat.encode(), prepared.tail)
        try:
            known_as = yield from self._post(prepared.url, body)
        except UncertainError as error:
            error.provider_id = message_id
            raise
        if message_id and known_as and known_as != message_id:
            self._takes_ids = False  # the engine used another id despite its earlier answer
        return known_as or message_id

    def _chat(self, recipient: str) -> Conversation[str]:
        """Return the address of a recipient, as WhatsApp has it if the session resolves numbers.

        Some numbers are known there in another form, and a message to the usual one is accepted and
        never delivered. Raises PermanentError for a number that is not on WhatsApp.
        """
        if "@" in recipient:
            return recipient
        if not self._resolves:
            return f"{recipient}@c.us"
        if recipient not in self._chats:
            query = urlencode({"phone": recipient, "session": self._session})
            answer = yield get(f"{self._api}/contacts/check-exists?{query}", self._headers)
            if not answer.accepted:
                raise refused(answer)
            said = read(answer.body)
            known = (
                str(said.get("chatId") or f"{recipient}@c.us") if said.get("numberExists") else ""
            )
            while len(self._chats) >= _MOST_CHATS:
                self._chats.pop(next(iter(self._chats)))
            self._chats[recipient] = known
        if not self._chats[recipient]:
            raise PermanentError("This number is not on WhatsApp.", code="not_on_whatsapp")
        return self._chats[recipient]

    def may_repeat(self, part: Part) -> Conversation[bool]:
        """Return True for parts with our id, if the engine accepts ids; raises SendError."""
        return isinstance(part, _OF_OUR_IDS) and (yield from self._engine_takes_ids())

    def templates(self) -> Conversation[list[TemplateInfo]]:
        """Return none: the channel has no templates."""
        return result([])

    def fetch(self, file: InboundFile) -> Conversation[None]:
        """Fetch a file that a person sent to the session; raises SendError."""
        return downloads.fetch(file, self._api, self._headers[1:])

    def check(self) -> Conversation[None]:
        """Ask WAHA about the session; raises SendError if it cannot send."""
        answer = yield self._question()
        if answer.status == HTTPStatus.NOT_FOUND:
            reason = f"WAHA has no session {self._session!r}."
            raise BlockedError(reason, code="http_404")
        if not answer.accepted:
            raise refused(answer)
        session = read(answer.body)
        status = str(session.get("status") or "in an unknown status")
        if status != WORKING:
            raise not_working(status)
        restriction = restrictions.of_account(session.get("me"), time.time())
        if restriction := restriction or (yield from self._restriction()):
            raise restriction

    def _question(self, about: str = "") -> Request:
        """Return a request about the session, or to a route below it."""
        return get(f"{self._api}/sessions/{quote(self._session)}{about}", self._headers)

    def _restriction(self) -> Conversation[BlockedError | None]:
        """Ask for WhatsApp's restrictions of the number. WAHA before 2026.8 does not know them."""
        for route, found_in in _RESTRICTIONS.items():
            with suppress(SendError):
                answer = yield self._question(route)
                if restriction := found_in(read(answer.body), time.time()):
                    return restriction
        return None

    def _dated(self, error: SendError) -> Conversation[SendError]:
        """Return the error; for a restriction, with its end if WAHA knows it."""
        if error.code == restrictions.CODE:
            with suppress(SendError):
                answer = yield self._question()
                me = read(answer.body).get("me")
                return restrictions.of_account(me, time.time()) or error
        return error

    def _render(self, part: Part) -> tuple[str, dict[str, Any]]:
        match part:
            case Text():
                return "sendText", {"text": part.body}
            case Location():
                place = {"latitude": float(part.latitude), "longitude": float(part.longitude)}
                return "sendLocation", {**place, "title": part.name}
            case ContactCard():
                return "sendContactVcard", {"contacts": [{"vcard": part.vcard}]}
            case Media():
                return _PATHS[part.kind], self._media(part)
            case Template():
                raise _no_templates()

    def _media(self, media: Media) -> dict[str, Any]:
        file = {"mimetype": media.mimetype, "filename": media.filename}
        if self._inline or not media.url:
            file["data"] = _inlined(media.path)
        else:
            file["url"] = media.url
        body: dict[str, Any] = {"file": file}
        if media.caption:
            body["caption"] = media.caption
        if media.kind in _CONVERTED:
            body["convert"] = media.mimetype.partition(";")[0] != _CONVERTED[media.kind]
        return body

    def _post(self, url: str, body: bytes) -> Conversation[str]:
        answer = yield post(url, body, self._headers)
        said = read(answer.body)
        if error := failed(said) if answer.accepted else refused(answer):
            raise (yield from self._dated(error))
        if known_as := id_of(said):
            return known_as
        if answer.status == HTTPStatus.CREATED and (said or answer.body in {b"", b"{}"}):
            return ""  # WAHA's documentation promises a body only for texts
        reason = "WAHA's answer has no message id."
        raise UncertainError(reason, code="no_message_id")

    def _engine_takes_ids(self) -> Conversation[bool]:
        """Return whether the engine accepts message ids; asked once per process."""
        if self._takes_ids is None:
            url = f"{self._api}/{quote(self._session)}/new-message-id"
            answer = yield get(url, self._headers)
            if answer.accepted:
                self._takes_ids = bool(read(answer.body).get("id"))
            elif isinstance(error := refused(answer), RequestError):
                self._takes_ids = False  # an engine that cannot answers 422
            else:
                raise error
        return self._takes_ids


def _no_templates() -> UnsupportedContentError:
    reason = "WAHA does not support templates. Use the text."
    return UnsupportedContentError(field="message.template", reason=reason)


@lru_cache(maxsize=2)
def _inlined(path: Path) -> str:
    """Return a file in base64. A message with a personal caption is rendered for each recipient."""
    return base64.b64encode(path.read_bytes()).decode()
