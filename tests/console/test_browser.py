"""The console as people use it: a real browser, a real server, and the sandbox."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from service.app import create_app
from service.config import Settings
from service.core import clients, sign_ins, tokens
from service.core.tokens import Scope
from service.database import now_ms
from tests.browser import (
    DESKTOP,
    PATIENCE,
    PHONE,
    chromium,
    is_too_wide,
    needs_axe,
    needs_chromium,
    violations,
)
from tests.serving import Server, running

pytestmark = [needs_chromium, pytest.mark.xdist_group("browser")]

ROOT = Path(__file__).parent.parent.parent
PICTURE = ROOT / "service/static/demo/evening.jpeg"
ORDINARY = [str(12025552000 + number) for number in range(38)]
UNREACHABLE, FLAKY = "12025550101", "12025550106"


class Console(NamedTuple):
    """A running service with a client that has sent something, and a way in."""

    address: str
    client_id: str
    settings: Settings
    token: str
    broadcast_id: str
    by_ways_id: str

    def link(self) -> str:
        app = create_app(self.settings)
        with app.extensions["crier"].database.writing() as db:
            secret = sign_ins.link(db, self.client_id, Scope.ADMIN, now=now_ms())
        app.extensions["crier"].database.dispose()
        return f"{self.address}/console/sign-in?link={secret}"


@pytest.fixture(scope="module")
def console(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """Return a running service with one broadcast that reached all but one."""
    folder = tmp_path_factory.mktemp("console")
    shutil.copy(sqlite_template, folder / "crier.db")
    settings = Settings(data_dir=folder, dispatch="off")
    app = create_app(settings)
    with app.extensions["crier"].database.writing() as db:
        client_id = clients.create(db, "Acme").id
        token = tokens.create(db, client_id, "test", [Scope.ADMIN])[1]
    app.extensions["crier"].database.dispose()
    server = Server(settings, MAX_ATTEMPTS="2")
    with running(server):
        server.ask("POST", "/session", token, {"name": "Front desk", "channel": "sandbox"})
        server.ask("POST", "/contact", token, {"name": "Ada Obi", "phones": [ORDINARY[0]]})
        order = {"send_type": "individual", "message": {"text": "The clinic moves on Monday."}}
        made = server.ask("POST", "/broadcast", token, {**order, "to": [*ORDINARY, UNREACHABLE]})
        broadcast_id = made[1]["data"]["_id"]
        deaf = {"name": "Deaf", "channel": "sandbox", "settings": {"unreachable": True}}
        first, then = (
            server.ask("POST", "/session", token, fields)[1]["data"]["_id"]
            for fields in (deaf, {"name": "Other way", "channel": "sandbox"})
        )
        fallback = [{"session_id": then, "after": "failed"}]
        by_ways = {**order, "session_id": first, "fallback": fallback, "to": ORDINARY[:3]}
        ways = server.ask("POST", "/broadcast", token, by_ways)[1]["data"]["_id"]
        yield Console(server.address, client_id, settings, token, broadcast_id, ways)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def signed_in(browser: Browser, console: Console, **options: Any) -> BrowserContext:
    """Return a window that came in by a link and complains of whatever goes wrong in it."""
    context = browser.new_context(
        locale="en-GB", timezone_id="Europe/Paris", **{"viewport": DESKTOP, **options}
    )
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(console.link())
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/console/")
    return context


@pytest.fixture
def page(browser: Browser, console: Console) -> Iterator[Page]:
    """Return a page of a signed-in browser; nothing may go wrong in it."""
    context = signed_in(browser, console)
    page, wrong = context.pages[0], []

    def note(message: ConsoleMessage) -> None:
        # An answer of 422 shows the form again with what is wrong in it.
        if message.type == "error" and "422" not in message.text:
            wrong.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    yield page
    context.close()
    assert wrong == []


def screens(console: Console) -> list[str]:
    return [
        "/",
        "/broadcasts",
        f"/broadcasts?q={UNREACHABLE}",
        f"/broadcasts/{console.broadcast_id}",
        f"/deliveries/{console.broadcast_id[:18]}000001",
        f"/broadcasts/{console.by_ways_id}",
        f"/deliveries/{console.by_ways_id[:18]}000001",
        "/replies",
        "/compose",
        "/contacts",
        "/contacts/new",
        "/contacts/import",
        "/groups/rule",
        "/broadcasts?state=removed",
        "/sessions",
        "/sessions/new",
        "/sessions/new?channel=whatsapp_cloud",
        "/phones",
        f"/phones/{ORDINARY[0]}",
        "/tokens",
        "/callbacks",
        "/audit",
        "/limits",
        "/nothing",
    ]


@needs_axe
@pytest.mark.parametrize(
    ("viewport", "theme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"]
)
def test_axe_finds_nothing_wrong_with_any_screen(
    browser: Browser, console: Console, viewport: dict[str, int], theme: Any
) -> None:
    context = signed_in(browser, console, viewport=viewport, color_scheme=theme)
    page, found = context.pages[0], {}
    for screen in screens(console):
        page.goto(f"{console.address}/console{screen}")
        if wrong := violations(page):
            found[screen] = wrong
        if is_too_wide(page):
            found.setdefault(screen, []).append("too wide")
    page.goto(f"{console.address}/console/sign-in")
    found["sign-in"] = violations(page)
    context.close()
    assert {screen: wrong for screen, wrong in found.items() if wrong} == {}


def test_somebody_new_sends_a_spreadsheet_and_retries_those_who_failed(
    page: Page, tmp_path: Path
) -> None:
    people = [f"Person {number};{phone}" for number, phone in enumerate(ORDINARY)]
    rows = ["Name;Phone", *people, f"Flo;{FLAKY}", f"Una;{UNREACHABLE}", "Bad;12"]
    sheet = tmp_path / "people.csv"
    sheet.write_text("\n".join(rows), encoding="utf-8")
    page.get_by_role("link", name="New broadcast").first.click()
    page.get_by_text("Spreadsheet", exact=True).click()
    page.locator("input[type=file]:not([multiple])").set_input_files(sheet)
    expect(page.get_by_text("people.csv: 41 rows")).to_be_visible()
    page.get_by_label("Text").fill("Hello ")
    page.get_by_role("button", name="Name", exact=True).click()
    preview = page.get_by_role("complementary", name="Preview")
    expect(preview.get_by_text("Hello Person 0")).to_be_visible()
    page.locator("input[type=file][multiple]").set_input_files(PICTURE)
    expect(page.get_by_text("evening.jpeg")).to_have_count(1)
    page.get_by_role("button", name="Review").click()
    expect(page.get_by_text("One entry is not valid")).to_be_visible()
    expect(page.get_by_text("Hello Person 0")).to_be_visible()
    page.get_by_role("button", name="Skip these").click()
    page.get_by_role("button", name="Send to 40 recipients").click()
    expect(page.get_by_role("button", name="Retry failed (2)")).to_be_visible()
    expect(page.get_by_text("This number is not on the channel.").first).to_be_visible()
    page.get_by_role("button", name="Retry failed (2)").click()
    expect(page.get_by_text("sent again to 2 recipients")).to_be_visible()
    page.get_by_role("button", name="Retry", exact=True).click()
    expect(page.get_by_text("Retrying 2 recipients.")).to_be_visible()


def test_recipients_are_found_and_shown_in_a_drawer(page: Page, console: Console) -> None:
    page.goto(f"{console.address}/console/broadcasts/{console.broadcast_id}")
    page.get_by_placeholder("Find a number").fill("+1 202-555-0101")
    page.keyboard.press("Enter")
    number = page.get_by_role("link", name="+1 202-555-0101")
    number.click()
    drawer = page.get_by_role("dialog", name="Details")
    expect(drawer.get_by_text("The broadcast was accepted.")).to_be_visible()
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(number).to_be_focused()
    page.goto(f"{console.address}/console/broadcasts")
    page.get_by_placeholder("Search by text or phone number").fill("12025550101")
    expect(page.get_by_text("Messages to this number")).to_be_visible()


def test_a_phone_of_the_sandbox_shows_a_message_and_writes_stop(
    page: Page, console: Console
) -> None:
    page.goto(f"{console.address}/console/phones/{ORDINARY[5]}")
    expect(page.get_by_text("The clinic moves on Monday.")).to_be_visible()
    page.get_by_label("Reply", exact=True).fill("STOP")
    page.keyboard.press("Enter")
    expect(page.locator(".mine").get_by_text("STOP")).to_be_visible()
    page.goto(f"{console.address}/console/sessions")
    page.get_by_role("link", name=re.compile("Front desk")).click()
    expect(page.get_by_text("+1 202-555-2005")).to_be_visible()


def test_a_broadcast_is_paused_resumed_and_cancelled_by_keyboard_alone(
    page: Page, console: Console
) -> None:
    page.goto(f"{console.address}/console/sessions/new?channel=sandbox")
    page.get_by_role("textbox", name="Name").fill("Slow")
    page.get_by_label("Messages per second, at most").fill("0.1")
    page.get_by_role("button", name="Save").click()
    page.goto(f"{console.address}/console/compose")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.get_by_label("Phone numbers").focus()
    page.keyboard.type(", ".join(ORDINARY))
    page.get_by_label("Text").focus()
    page.keyboard.type("Slowly")
    page.get_by_label("Send from").select_option("Slow (sandbox)")
    for button in ("Review", "Send to 38 recipients", "Pause", "Pause"):
        press(page, button)
    expect(page.get_by_text("Nothing more is sent until you resume it.")).to_be_visible()
    for button in ("Resume", "Resume"):
        press(page, button)
    expect(page.get_by_text("Resumed.")).to_be_visible()
    for button in ("Cancel", "Cancel broadcast"):
        press(page, button)
    expect(page.get_by_text("will not be sent")).to_be_visible()


def press(page: Page, name: str) -> None:
    """Reach the last button of that name and press it."""
    button = page.get_by_role("button", name=name, exact=True).last
    button.focus()
    expect(button).to_be_focused()
    page.keyboard.press("Enter")


def test_contacts_groups_tokens_and_callbacks_are_made_and_ended(
    page: Page, console: Console
) -> None:
    page.goto(f"{console.address}/console/contacts")
    page.get_by_placeholder("Group name").fill("Team")
    page.get_by_role("button", name="Create group").click()
    page.get_by_label("Add people").fill("Ben, +1 202 555 0111\nCleo, +1 202 555 0112")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("2 people added.")).to_be_visible()
    page.get_by_role("link", name="Send to this group").click()
    expect(page.get_by_label(re.compile("Team"))).to_be_checked()
    page.goto(f"{console.address}/console/tokens")
    page.get_by_role("textbox", name="Name").fill("Shop")
    page.get_by_role("button", name="Create token").click()
    expect(page.locator("#secret")).to_have_text(re.compile("^crier_[0-9a-f]{40}$"))
    page.goto(f"{console.address}/console/callbacks")
    page.get_by_label("Address").fill("http://127.0.0.1/")
    page.get_by_role("button", name="Create callback").click()
    expect(page.get_by_role("alert").first).to_be_visible()


def test_signing_out_everywhere_ends_every_window(
    browser: Browser, console: Console, page: Page
) -> None:
    other = signed_in(browser, console)
    page.locator(".you summary").click()
    page.get_by_role("button", name="Sign out everywhere").click()
    expect(page.get_by_role("heading", name="Sign in to Crier")).to_be_visible()
    other.pages[0].reload()
    expect(other.pages[0].get_by_role("heading", name="Sign in to Crier")).to_be_visible()
    other.close()
