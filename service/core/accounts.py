"""Sessions as drivers see them: decrypted, and with a memory of what they uploaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, delete, select

from service.channels.base import Account, Content, Driver, Surroundings
from service.channels.registry import Channels
from service.config import Settings
from service.core import content
from service.core.vault import Vault
from service.database import Database, now_ms
from service.models import Broadcast, Session, UploadedMedia


class Accounts:
    """The way from a session to its driver."""

    def __init__(self, settings: Settings, database: Database, vault: Vault) -> None:
        self.settings = settings
        self.channels = Channels(surroundings(settings))
        self._database = database
        self._vault = vault

    def open(self, session: Session) -> Driver:
        """Make the driver of a session; no call goes out yet."""
        media = StoredMediaIds(self._database, session.id)
        return self.channels.open(
            session.channel, Account(session.id, self.settings_of(session), media)
        )

    def settings_of(self, session: Session) -> dict[str, Any]:
        """Return all settings of a session, the secret ones decrypted."""
        secrets = self._vault.decrypt(session.secrets) if session.secrets else {}
        return {**session.settings, **secrets}

    def content(self, broadcast: Broadcast) -> Content:
        """Return what a broadcast says, as drivers read it."""
        folder: Path = self.settings.attachments_dir
        return content.restore(broadcast.content, folder, self.settings.public_url)


class StoredMediaIds:
    """A session's uploads, remembered for every process that sends for it."""

    def __init__(self, database: Database, session_id: str) -> None:
        self._database = database
        self._session_id = session_id

    def get(self, attachment_id: str) -> str | None:
        """Return the provider's id of an attachment while it is valid."""
        with self._database.reading() as db:
            return db.scalar(
                select(UploadedMedia.provider_id).where(
                    *self._key(attachment_id), UploadedMedia.expires_at > now_ms()
                )
            )

    def put(self, attachment_id: str, provider_id: str, *, lifetime: float) -> None:
        """Remember an upload for `lifetime` seconds."""
        with self._database.writing() as db:
            db.execute(delete(UploadedMedia).where(*self._key(attachment_id)))
            db.add(
                UploadedMedia(
                    session_id=self._session_id,
                    attachment_id=attachment_id,
                    provider_id=provider_id,
                    expires_at=now_ms() + round(lifetime * 1000),
                )
            )

    def forget(self, attachment_id: str) -> None:
        """Drop an id that the provider no longer knows."""
        with self._database.writing() as db:
            db.execute(delete(UploadedMedia).where(*self._key(attachment_id)))

    def _key(self, attachment_id: str) -> tuple[ColumnElement[bool], ...]:
        return (
            UploadedMedia.session_id == self._session_id,
            UploadedMedia.attachment_id == attachment_id,
        )


def surroundings(settings: Settings) -> Surroundings:
    """Return the part of the settings that concerns drivers."""
    return Surroundings(
        sandbox_store=settings.sandbox_store,
        connect_timeout=settings.connect_timeout,
        send_timeout=settings.send_timeout,
        proxy=settings.outgoing_proxy,
        private_addresses=settings.private_addresses,
    )
