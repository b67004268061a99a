"""Routes of attachments."""

from __future__ import annotations

from service.blueprints.api import Blueprint
from service.blueprints.context import address, caller, crier, within
from service.blueprints.requests import request
from service.core import attachments
from service.core.attachments import SharedError, StoredFile
from service.core.paging import Page, PageRequest
from service.core.tokens import Scope
from service.errors import InUseError, LimitError
from service.models import Attachment
from service.schemas.attachments import AttachmentSchema, DataUrlSchema, UploadSchema
from service.schemas.base import Shown

blueprint = Blueprint("attachments", __name__, description="Files to send with messages")


@blueprint.post("/attachment", "createAttachment")
@blueprint.uploads(UploadSchema, DataUrlSchema)
@blueprint.scope(Scope.SEND, by_session=True)
@blueprint.raises(LimitError)
@blueprint.answers(201, AttachmentSchema, "Attachment created successfully!")
def create() -> Shown:
    """Upload a file, as a form or as a data URL in JSON.

    Crier detects the type from the content, not from the name. Supported types: jpeg, png, webp,
    gif, mp4, 3gp, 3g2, ogv, mp3, m4a, 3ga, ogg, oga, amr, aac, pdf, docx, xlsx, pptx, txt, csv,
    vcf.
    """
    upload = request.upload
    stored = attachments.store(crier().storage, upload.file, upload.filename)
    return _shown(keep(stored, within=within()))


@blueprint.get("/attachment", "listAttachments")
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.pages()
@blueprint.answers(200, AttachmentSchema, "Attachment fetched successfully!", many=True)
def index(page: PageRequest) -> Page[Shown]:
    """Fetch your attachments and those that all clients share, oldest first."""
    with crier().database.reading() as db:
        return attachments.page(db, caller().client_id, page, within=within()).map(_shown)


@blueprint.get("/attachment/<id:attachment_id>", "getAttachment")
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.answers(200, AttachmentSchema, "Attachment fetched successfully!")
def show(attachment_id: str) -> Shown:
    """Fetch one attachment."""
    with crier().database.reading() as db:
        return _shown(attachments.get(db, caller().client_id, attachment_id, within=within()))


@blueprint.delete("/attachment/<id:attachment_id>", "deleteAttachment")
@blueprint.scope(Scope.SEND, by_session=True)
@blueprint.raises(SharedError, InUseError)
@blueprint.answers(200, AttachmentSchema, "Attachment deleted successfully!")
def delete(attachment_id: str) -> Shown:
    """Delete an attachment and its file, unless an unfinished broadcast needs it."""
    with crier().database.writing() as db:
        attachment = attachments.delete(db, caller().client_id, attachment_id, within=within())
    crier().storage.remove(attachments.file_of(attachment))
    return _shown(attachment)


def keep(stored: StoredFile, *, within: str | None = None) -> Attachment:
    """Create an attachment of the caller from a stored file; remove the file if that fails."""
    try:
        with crier().database.writing() as db:
            return attachments.create(db, caller().client_id, stored, within=within)
    except BaseException:
        crier().storage.remove(stored.file)
        raise


def _shown(attachment: Attachment) -> Shown:
    file = attachments.file_of(attachment)
    return Shown(attachment, url=address(f"/public/attachments/{file}"))
