"""Sign-ins: browsers signed in to the console, and links that sign one in."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from service import ids
from service.models.base import Base, Id, Moment


class SignIn(Base):
    """A signed-in browser or, with `is_link`, a link that signs in a browser once.

    `digest` is the SHA-256 of the secret in the cookie or the link. `token_id` is the token that
    was used; null for a link. `scopes` are separated by spaces.
    """

    __tablename__ = "sign_ins"
    __table_args__ = (Index(None, "client_id"), Index(None, "token_id"), Index(None, "expires_at"))

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new)
    client_id: Mapped[str] = mapped_column(Id, ForeignKey("clients.id", ondelete="CASCADE"))
    token_id: Mapped[str | None] = mapped_column(Id, ForeignKey("tokens.id", ondelete="CASCADE"))
    digest: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[str]
    is_link: Mapped[bool]
    created_at: Mapped[int] = mapped_column(Moment)
    expires_at: Mapped[int] = mapped_column(Moment)
