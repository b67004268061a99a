"""Replies: what people wrote back, with the files that came with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from flask import render_template
from sqlalchemy.orm import Session as Db

from service.blueprints.context import crier
from service.blueprints.requests import request
from service.console import bubbles, listing, progress
from service.console.access import Section, visitor
from service.console.bubbles import Bubble
from service.core import attachments, replies
from service.core.paging import PageRequest
from service.core.replies import ReplyFilter
from service.models import Reply

blueprint = Section("replies", __name__)

_NEWEST: Final = 10


class ShownReply(NamedTuple):
    """A reply, and the file that came with it if there is one."""

    reply: Reply
    file: Bubble | None

    @property
    def is_expected(self) -> bool:
        """Whether its file must still be fetched from the provider."""
        return self.reply.file_due_at is not None


@blueprint.page("/replies")
def index() -> str:
    """Show replies, newest first: all, those to one broadcast, or those that match a search."""
    words = listing.words()
    broadcast_id = request.args.get("broadcast", "")
    people = listing.recipients(words)
    wanted = ReplyFilter(people, broadcast_id, text="" if people else words)
    with crier().database.reading() as db:
        answered = progress.readable(db, broadcast_id) if broadcast_id else None
        page = replies.page(db, visitor().client_id, wanted, listing.wanted())
        shown = with_files(db, page.items)
        title = progress.title(answered) if answered else ""
    return render_template(
        listing.template("replies"),
        page=page,
        replies=shown,
        words=words,
        broadcast_id=broadcast_id,
        title=title,
    )


def of_person(db: Db, recipient: str) -> list[ShownReply]:
    """Return the newest replies of a person, the oldest of them first."""
    newest = PageRequest(1, _NEWEST, descending=True)
    page = replies.page(db, visitor().client_id, ReplyFilter((recipient,)), newest)
    return with_files(db, page.items[::-1])


def with_files(db: Db, found: Sequence[Reply]) -> list[ShownReply]:
    """Return replies with their files, which take one look together."""
    wanted = {each.attachment_id for each in found if each.attachment_id}
    files = attachments.some(db, visitor().client_id, wanted) if wanted else {}
    kept = {file_id: bubbles.of_attachment(file) for file_id, file in files.items()}
    return [ShownReply(each, kept.get(each.attachment_id or "")) for each in found]
