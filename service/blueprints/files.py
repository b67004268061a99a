"""Public downloads of attachments, by their unguessable name."""

from __future__ import annotations

import io
import re

from flask import Response, send_file

from service.blueprints.api import Blueprint
from service.blueprints.context import crier
from service.blueprints.requests import request
from service.core.formats import FORMATS
from service.errors import NowhereError

blueprint = Blueprint("files", __name__, description="Downloads of attachments")

_NAME = re.compile(r"[A-Z0-9]{15}\.([a-z0-9]{3,4})")

_HEADERS = {
    # A browser must not guess another type or run anything that a client uploaded.
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    # A name is never reused for other content.
    "Cache-Control": "public, max-age=31536000, immutable",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


@blueprint.get("/public/attachments/<file>", "getFile")
@blueprint.raises(NowhereError)
@blueprint.sends_bytes()
def show(file: str) -> Response:
    """Download an attachment or a range of it. No token is needed."""
    match = _NAME.fullmatch(file)
    path = crier().storage.path(file)
    if match is None or match[1] not in FORMATS or not path.is_file():
        raise NowhereError("file", file)
    found = FORMATS[match[1]]
    accelerated = crier().settings.accel_prefix
    _ignore_odd_ranges()
    response = send_file(
        # nginx sends the bytes, so it also handles ranges and validators.
        io.BytesIO() if accelerated else path,
        mimetype=found.mimetype,
        as_attachment=not found.is_inert,
        download_name=file,
        conditional=not accelerated,
    )
    if accelerated:
        response.headers["X-Accel-Redirect"] = f"{accelerated}/{file}"
    response.headers.update(_HEADERS)
    return response


def _ignore_odd_ranges() -> None:
    """Ignore multiple ranges and unknown units (RFC 9110, 14.2).

    Werkzeug would answer 416.
    """
    wanted = request.range
    if wanted is None or wanted.units != "bytes" or len(wanted.ranges) > 1:
        request.environ.pop("HTTP_RANGE", None)
