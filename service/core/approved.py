"""Approved templates: what a session's provider says of those that its broadcasts may use."""

from __future__ import annotations

from sqlalchemy.orm import Session as Db

from service.channels.base import TemplateNotice
from service.database import insert_new
from service.models import Template


def note(db: Db, session_id: str, notice: TemplateNotice, *, now: int) -> None:
    """Remember what a webhook said of a template."""
    key = {"session_id": session_id, "name": notice.name, "language": notice.language}
    insert_new(db, Template, [{**key, "status": notice.status or "UNKNOWN", "updated_at": now}])
    template = db.get_one(Template, key, populate_existing=True)
    template.status = notice.status or template.status
    template.quality = notice.quality or template.quality
    template.reason = notice.reason or None if notice.status else template.reason
    template.updated_at = now
    db.flush()
