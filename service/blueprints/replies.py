"""Routes of replies: messages from people to a client's sessions."""

from __future__ import annotations

from typing import Any

from service.blueprints.api import Blueprint
from service.blueprints.context import caller, crier, searched, within
from service.core import broadcasts, replies
from service.core.paging import Page
from service.core.replies import Answer
from service.core.tokens import Scope
from service.models import Reply
from service.schemas.replies import AnswerSchema, ReplyPageSchema, ReplySchema

blueprint = Blueprint("replies", __name__, description="What people write back")


@blueprint.get("/reply", "listReplies")
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.pages(ReplyPageSchema)
@blueprint.answers(200, ReplySchema, "Reply fetched successfully!", many=True)
def index(asked: dict[str, Any]) -> Page[Reply]:
    """Fetch the messages that people wrote to your sessions, newest first."""
    wanted = asked["wanted"]._replace(recipients=searched(asked["recipient"]))
    if only := within():
        wanted = wanted._replace(session_id=only)
    with crier().database.reading() as db:
        return replies.page(db, caller().client_id, wanted, asked["page"])


@blueprint.get("/reply/<id:reply_id>", "getReply")
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.answers(200, ReplySchema, "Reply fetched successfully!")
def show(reply_id: str) -> Reply:
    """Fetch one reply."""
    with crier().database.reading() as db:
        return replies.get(db, caller().client_id, reply_id, within=within())


@blueprint.get("/broadcast/<id:broadcast_id>/reply", "countReplies")
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.answers(200, AnswerSchema, "Reply fetched successfully!", many=True)
def count(broadcast_id: str) -> list[Answer]:
    """Fetch the 100 most frequent answers to a broadcast, each with its count.

    Answers that differ only in case, accents or punctuation count as one.
    `GET /reply?broadcast_id=…` lists each reply.
    """
    with crier().database.reading() as db:
        broadcast = broadcasts.get(db, caller().client_id, broadcast_id, within=within())
        return replies.answers(db, broadcast.id)
