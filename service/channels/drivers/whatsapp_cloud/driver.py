"""The driver of a phone number on the Cloud API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple

from marshmallow import Schema, fields, validate

from service.channels.answers import Answer, read
from service.channels.base import Account, DriverContext, Held, InboundFile, TemplateInfo
from service.channels.captions import arrange, refuse_long
from service.channels.content import Content, Media, Part, Template, Text, UnsupportedContentError
from service.channels.drivers.whatsapp_cloud import templates
from service.channels.drivers.whatsapp_cloud.downloads import Downloads
from service.channels.drivers.whatsapp_cloud.errors import MediaGoneError, refused
from service.channels.drivers.whatsapp_cloud.receipts import (
    challenge,
    is_authentic,
    parse_report,
)
from service.channels.drivers.whatsapp_cloud.rendering import dump, fitted, render
from service.channels.drivers.whatsapp_cloud.uploads import Uploads
from service.channels.errors import BlockedError
from service.channels.settings import BaseUrl, KeepFiles, Secret
from service.channels.steps import Conversation, get, post, result
from service.channels.webhooks import Webhook

BASE_URL: Final = "https://graph.facebook.com"
VERSION: Final = "v26.0"

TEXT_LIMIT: Final = 4096
"""The most UTF-16 units of a text."""

_HELD: Final = frozenset({"held_for_quality_assessment", "paused"})
"""The states of a message that Meta releases or drops later, as a receipt tells."""

_TO: Final = ',"to":"'

_FIELDS: Final = (
    "id,display_phone_number,verified_name,quality_rating,"
    "code_verification_status,name_status,status"
)
_UNFIT: Final = {
    "BANNED": "Meta has banned this number.",
    "DELETED": "This number was deleted from its WhatsApp Business Account.",
    "DISCONNECTED": "This number is disconnected; register it with the Cloud API.",
    "MIGRATED": "This number has moved to another WhatsApp Business Account.",
    "PENDING": "This number is not registered with the Cloud API yet.",
    "RESTRICTED": "Meta has restricted this number.",
    "UNLINKED": "This number is not linked to a WhatsApp Business Account.",
    "UNVERIFIED": "This number is not verified yet.",
}


class Settings(Schema):
    """A phone number on the Cloud API and its credentials."""

    phone_number_id = fields.String(
        required=True,
        validate=validate.Regexp(r"[0-9]{1,32}\Z"),
        metadata={"description": "The id of the phone number, not the number itself"},
    )
    access_token = Secret(required=True, description="A system user's token")
    app_secret = Secret(load_default="", description="The key with which Meta signs webhooks")
    verify_token = Secret(
        load_default="", description="The token that Meta sends when the webhook is set up"
    )
    business_account_id = fields.String(
        load_default="",
        validate=validate.Regexp(r"[0-9]{0,32}\Z"),
        metadata={
            "description": "The id of the WhatsApp Business Account: required for its templates,"
            " and if the app of the webhook has several accounts"
        },
    )
    base_url = BaseUrl(load_default=BASE_URL)
    version = fields.String(
        load_default=VERSION,
        validate=validate.Regexp(r"v[0-9]{1,3}\.[0-9]{1,2}\Z"),
        metadata={"description": "The version of the Graph API"},
    )
    preview_url = fields.Boolean(
        load_default=False, metadata={"description": "Show a preview of a link in a text"}
    )
    keep_files = KeepFiles()


@dataclass(frozen=True, slots=True)
class DirectText(Text):
    """A text that needs neither a conversation nor a template, of an eligible account."""

    category: str = ""


class Prepared(NamedTuple):
    """The JSON of a message in two pieces, without media id, recipient and reference."""

    head: str
    tail: str
    media: Media | None
    url: str


class WhatsAppCloud:
    """A driver for a phone number on the Cloud API."""

    name: ClassVar[str] = "whatsapp_cloud"
    reaches_groups: ClassVar[bool] = False
    reaches_user_ids: ClassVar[bool] = True
    has_templates: ClassVar[bool] = True
    echoes_references: ClassVar[bool] = True
    concurrency: ClassVar[int | None] = None
    webhook: ClassVar[Webhook | None] = Webhook(
        is_authentic, parse_report, challenge, signed_with="app_secret"
    )
    Settings: ClassVar[type[Schema]] = Settings

    def __init__(self, account: Account, context: DriverContext) -> None:
        """Create the driver, without any request."""
        settings = account.settings
        base = str(settings.get("base_url", BASE_URL)).rstrip("/")
        self._node = f"{base}/{settings.get('version', VERSION)}/{settings['phone_number_id']}"
        account_id = settings.get("business_account_id")
        graph = f"{base}/{settings.get('version', VERSION)}"
        self._account = f"{graph}/{account_id}" if account_id else ""
        self._messages = f"{self._node}/messages"
        self._marketing = f"{self._node}/marketing_messages"
        self._preview_url = bool(settings.get("preview_url", False))
        self._credentials = (f"Authorization: Bearer {settings['access_token']}",)
        self._headers = (*self._credentials, "Content-Type: application/json")
        self._downloads = Downloads(graph, str(settings["phone_number_id"]), self._credentials)
        self._uploads = Uploads(self._node, self._credentials, account.media, context)

    def plan(self, content: Content) -> tuple[Part, ...]:
        """Split a message into parts. Files that WhatsApp cannot show are sent as documents."""
        refuse_long(content.text, TEXT_LIMIT, "WhatsApp")
        worded = arrange(content.text, [fitted(media) for media in content.media])
        said = _direct(worded, content.category) if content.category else worded
        parts = (content.template, *said, content.location, content.contact)
        return tuple(part for part in parts if part)

    def segments(self, text: str) -> int | None:  # noqa: ARG002 - the contract of all drivers
        """Return None: a text is one message."""
        return None

    def prepare(self, part: Part) -> Prepared:
        """Render the JSON that is the same for every recipient."""
        kind, body = render(part, preview_url=self._preview_url)
        start = (
            '{"messaging_product":"whatsapp","recipient_type":"individual",'
            f'"type":"{kind}","{kind}":'
        )
        end = _TO
        if isinstance(part, DirectText):
            end = f',"category":"{part.category}"{end}'
        is_marketing = isinstance(part, Template) and part.marketing
        url = self._marketing if is_marketing else self._messages
        if not isinstance(part, Media):
            return Prepared(f"{start}{dump(body)}{end}", "", None, url)
        rest = f",{dump(body)[1:]}" if body else "}"
        return Prepared(f'{start}{{"id":"', f'"{rest}{end}', part, url)

    def send(self, recipient: str, prepared: Prepared, reference: str) -> Conversation[str]:
        """Send a message and return Meta's id for it; raises SendError."""
        media = prepared.media
        if media is None:
            body = _body(prepared, "", recipient, reference)
            return _message_id((yield post(prepared.url, body, self._headers)))
        media_id = yield from self._uploads.id_of(media)
        try:
            return (yield from self._send_file(prepared, media_id, recipient, reference))
        except MediaGoneError:
            media_id = yield from self._uploads.renew(media, media_id)
            return (yield from self._send_file(prepared, media_id, recipient, reference))

    def may_repeat(self, part: Part) -> Conversation[bool]:  # noqa: ARG002 - the contract of all drivers
        """Return False: Meta delivers a repeated request twice."""
        return result(value=False)

    def templates(self) -> Conversation[list[TemplateInfo]]:
        """Return the templates of the number's account; raises SendError."""
        if not self._account:
            reason = "Set `business_account_id` in the session's settings to have its templates."
            raise BlockedError(reason, code="no_account")
        return (yield from templates.fetch(self._account, self._credentials))

    def fetch(self, file: InboundFile) -> Conversation[None]:
        """Fetch a file that a person sent to the number; raises SendError."""
        return self._downloads.fetch(file)

    def check(self) -> Conversation[None]:
        """Ask Meta about the number; raises SendError if it cannot send."""
        answer = yield get(f"{self._node}?fields={_FIELDS}", self._credentials)
        if not answer.accepted:
            raise refused(answer)
        number = read(answer.body)
        if "id" not in number:
            reason = "The server does not answer like the Cloud API. Check the base URL."
            raise BlockedError(reason, code="not_cloud_api")
        status = str(number.get("status", ""))
        if status in _UNFIT:
            raise BlockedError(_UNFIT[status], code=status.lower())

    def _send_file(
        self, prepared: Prepared, media_id: str, recipient: str, reference: str
    ) -> Conversation[str]:
        body = _body(prepared, media_id, recipient, reference)
        return _message_id((yield post(prepared.url, body, self._headers)), media_id)


def _direct(parts: Sequence[Part], category: str) -> tuple[Part, ...]:
    """Return the parts with their text as one of a category; raises UnsupportedContentError."""
    texts = [part for part in parts if isinstance(part, Text)]
    if not texts:
        reason = "Needs a text that is not the caption of a file."
        raise UnsupportedContentError("message.category", reason)
    return tuple(
        DirectText(part.body, category) if isinstance(part, Text) else part for part in parts
    )


def _body(prepared: Prepared, media_id: str, recipient: str, reference: str) -> bytes:
    start = f"{prepared.head}{media_id}{prepared.tail}"
    if not recipient.isdecimal():
        # A user id goes by another name.
        start = f'{start.removesuffix(_TO)},"recipient":"'
    return f'{start}{recipient}","biz_opaque_callback_data":"{reference}"}}'.encode()


def _message_id(answer: Answer, media_id: str = "") -> str:
    """Return Meta's id of a message; raises SendError."""
    if not answer.accepted:
        raise refused(answer, media_id)
    try:
        message = read(answer.body)["messages"][0]
        message_id = str(message["id"])
        return Held(message_id) if message.get("message_status") in _HELD else message_id
    except (LookupError, TypeError, AttributeError) as error:
        raise refused(answer, media_id) from error
