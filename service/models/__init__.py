"""The database tables: one file per noun."""

from service.models.attachments import Attachment
from service.models.audit_entries import ActionSource, AuditEntry
from service.models.base import Base
from service.models.broadcasts import (
    UNFINISHED,
    Broadcast,
    BroadcastAttachment,
    BroadcastStatus,
    OnInvalid,
    RecipientChunk,
    SendType,
    StepCondition,
)
from service.models.callbacks import (
    Callback,
    CallbackEvent,
    CallbackQueue,
    EventStatus,
    EventType,
)
from service.models.charges import Charge
from service.models.clients import Client
from service.models.contacts import Contact
from service.models.deliveries import COUNTED, Delivery, DeliveryStatus
from service.models.delivery_events import DeliveryEvent, EventKind
from service.models.dispatchers import Dispatcher
from service.models.due_ways import DueWay
from service.models.groups import Group, GroupMember
from service.models.identities import Identity
from service.models.limit_groups import CountedRecipient, LimitGroup
from service.models.links import SessionLink
from service.models.opt_outs import ClientOptOut, OptOut, OptOutSource
from service.models.receipts import WaitingReceipt
from service.models.replies import Reply
from service.models.revoked_claims import RevokedClaim
from service.models.sent_parts import SentPart
from service.models.sessions import FOREVER, OnUncertain, Session, SessionStatus
from service.models.sign_ins import SignIn
from service.models.templates import Template
from service.models.timeline_buckets import TimelineBucket
from service.models.tokens import Token
from service.models.uploaded_media import UploadedMedia
from service.models.usages import SharedRate, Usage

__all__ = [
    "COUNTED",
    "FOREVER",
    "UNFINISHED",
    "ActionSource",
    "Attachment",
    "AuditEntry",
    "Base",
    "Broadcast",
    "BroadcastAttachment",
    "BroadcastStatus",
    "Callback",
    "CallbackEvent",
    "CallbackQueue",
    "Charge",
    "Client",
    "ClientOptOut",
    "Contact",
    "CountedRecipient",
    "Delivery",
    "DeliveryEvent",
    "DeliveryStatus",
    "Dispatcher",
    "DueWay",
    "EventKind",
    "EventStatus",
    "EventType",
    "Group",
    "GroupMember",
    "Identity",
    "LimitGroup",
    "OnInvalid",
    "OnUncertain",
    "OptOut",
    "OptOutSource",
    "RecipientChunk",
    "Reply",
    "RevokedClaim",
    "SendType",
    "SentPart",
    "Session",
    "SessionLink",
    "SessionStatus",
    "SharedRate",
    "SignIn",
    "StepCondition",
    "Template",
    "TimelineBucket",
    "Token",
    "UploadedMedia",
    "Usage",
    "WaitingReceipt",
]
