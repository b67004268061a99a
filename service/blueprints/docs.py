"""The OpenAPI description at `/openapi.json`, and Swagger UI at `/docs`."""

from __future__ import annotations

import flask
from flask import Response, current_app, send_from_directory

from service.blueprints.description import Api

blueprint = flask.Blueprint("docs", __name__)

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page may load its own files and call the API beside it."""


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """Fetch the OpenAPI 3.1 description of all routes."""
    api: Api = current_app.extensions["flask-smorest"]["apis"][""]["ext_obj"]
    return flask.jsonify(api.spec.to_dict())


@blueprint.get("/docs")
def docs() -> Response:
    """Show the description as a page for reading and trying requests. It works offline."""
    page = send_from_directory(f"{current_app.static_folder}/docs", "index.html")
    page.headers["Content-Security-Policy"] = _POLICY
    page.headers["Referrer-Policy"] = "no-referrer"
    return page
