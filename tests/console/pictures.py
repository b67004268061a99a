"""The pictures of the console in docs/, taken anew by `make pictures`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from service.app import create_app
from service.config import Settings
from service.core import clients, sign_ins, tokens
from service.core.tokens import Scope
from service.database import now_ms
from tests.browser import DESKTOP, PHONE, chromium
from tests.conftest import ROOT, migrate
from tests.serving import Server, running

FOLDER = ROOT / "docs" / "pictures"
_CROWD = [str(12025552000 + number) for number in range(900)]
_ODD = ["12025550101", "12025550106", "12025550104"]
_QUALITY = 62
_LOOKS: list[Any] = [
    {"viewport": DESKTOP, "color_scheme": "light"},
    {"viewport": PHONE, "color_scheme": "dark"},
]


def main() -> None:
    """Run a service of its own, and take a picture of each screen that is shown."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), dispatch="off")
        app = create_app(settings)
        database = app.extensions["crier"].database
        migrate(database)
        with database.writing() as db:
            client_id = clients.create(db, "Harbour Clinic").id
            token = tokens.create(db, client_id, "office", [Scope.ADMIN])[1]
            links = [sign_ins.link(db, client_id, Scope.ADMIN, now=now_ms()) for _ in range(2)]
        database.dispose()
        server = Server(settings, MAX_ATTEMPTS="2", LOG_LEVEL="ERROR")
        with running(server), chromium() as browser:
            broadcast = _send(server, token)
            for link, looks in zip(links, _LOOKS, strict=True):
                context = browser.new_context(locale="en-GB", timezone_id="Europe/Paris", **looks)
                page = context.new_page()
                page.goto(f"{server.address}/console/sign-in?link={link}")
                page.get_by_role("button", name="Sign in").click()
                page.wait_for_url("**/console/")
                _take(page, server.address, broadcast, wide=looks["viewport"] == DESKTOP)
                context.close()


def _send(server: Server, token: str) -> str:
    slow = {"name": "Front desk", "channel": "sandbox", "rate": 40}
    server.ask("POST", "/session", token, slow)
    text = "The clinic moves to 12 Harbour Road on Monday. Please bring your card."
    order = {"send_type": "individual", "to": [*_ODD, *_CROWD], "message": {"text": text}}
    return str(server.ask("POST", "/broadcast", token, order)[1]["data"]["_id"])


def _take(page: Page, address: str, broadcast: str, *, wide: bool) -> None:
    page.goto(f"{address}/console/broadcasts/{broadcast}")
    page.wait_for_selector(".uplot")
    page.wait_for_timeout(6_000)
    _keep(page, "broadcast" if wide else "broadcast-phone")
    if not wide:
        page.goto(f"{address}/console/phones/{_CROWD[0]}")
        page.wait_for_selector(".bubble")
        _keep(page, "phone")
        return
    page.goto(f"{address}/console/compose")
    page.get_by_label("Phone numbers").fill("\n".join(f"+{each}" for each in _CROWD[:6]))
    page.get_by_label("Text").fill("Your results are here. Please call us.")
    _keep(page, "compose")


def _keep(page: Page, name: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    page.screenshot(path=FOLDER / f"console-{name}.jpeg", type="jpeg", quality=_QUALITY)


if __name__ == "__main__":
    main()
