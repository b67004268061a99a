"""The tables, one file a noun."""

from service.models.attachment import Attachment
from service.models.base import Base
from service.models.broadcast import (
    UNFINISHED,
    Broadcast,
    BroadcastAttachment,
    BroadcastStatus,
    RecipientChunk,
    SendType,
)
from service.models.client import Client, Token
from service.models.contact import Contact, Group, GroupMember
from service.models.delivery import Delivery, DeliveryStatus, Dispatcher
from service.models.receipt import OptOut, SentPart, WaitingReceipt
from service.models.session import FOREVER, OnUncertain, Session, SessionStatus, UploadedMedia

__all__ = [
    "FOREVER",
    "UNFINISHED",
    "Attachment",
    "Base",
    "Broadcast",
    "BroadcastAttachment",
    "BroadcastStatus",
    "Client",
    "Contact",
    "Delivery",
    "DeliveryStatus",
    "Dispatcher",
    "Group",
    "GroupMember",
    "OnUncertain",
    "OptOut",
    "RecipientChunk",
    "SendType",
    "SentPart",
    "Session",
    "SessionStatus",
    "Token",
    "UploadedMedia",
    "WaitingReceipt",
]
