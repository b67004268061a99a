"""A browser without scripts, by which tests use the console as somebody who is signed in."""

from __future__ import annotations

import re
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conftest import Tenant

_WORD = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


class ConsoleUser:
    """Somebody with a browser, signed in by a token."""

    def __init__(self, tenant: Tenant, token: str = "") -> None:
        self.http: FlaskClient = tenant.new_browser()
        signed_in = self.http.post("/console/sign-in", data={"token": token or tenant.token})
        assert signed_in.status_code == 303, signed_in.text

    def get(self, path: str, **request: Any) -> TestResponse:
        return self.http.get(f"/console{path}", buffered=True, **request)

    def word(self) -> str:
        found = _WORD.search(self.get("/").text)
        assert found
        return found[1]

    def post(self, path: str, **fields: Any) -> TestResponse:
        """Send a form, with the word that the console's pages put into each."""
        fields = {"csrf": self.word(), **fields}
        return self.http.post(f"/console{path}", data=fields, buffered=True)

    def said(self) -> str:
        """Return the page that the answer before leads to, with what it was told."""
        return self.get("/").text
