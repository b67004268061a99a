"""Who gets in, and what others try: the console without scripts."""

from __future__ import annotations

import io
import re

import pytest
from sqlalchemy import update

from service import ids
from service.app import Application
from service.console import access
from service.core import rate_table
from service.core import sign_ins as verbs
from service.core.tokens import Scope
from service.database import now_ms
from service.models import FOREVER, Delivery, DeliveryStatus, Session
from tests.blueprints.test_broadcasts import deliver
from tests.conftest import Tenant, on_sqlite
from tests.console.visiting import ConsoleUser
from tests.house.test_routes import one_of_each
from tests.sending import PICTURE

pytestmark = on_sqlite
"""Who is let in does not depend on the database; the verbs are tested on both."""

PUBLIC = {
    ("GET", "/console/sign-in"),
    ("POST", "/console/sign-in"),
    ("POST", "/console/preferences"),
    ("GET", "/console/<path:rest>"),
}
SCRIPT = "<script>alert('x')</script>"


def routes(app: Application) -> list[tuple[str, str, Scope | None]]:
    return [
        (method, rule.rule, getattr(app.view_functions[rule.endpoint], "console_scope", None))
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/console")
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"})  # type: ignore[operator]
    ]


def fill(rule: str, made: dict[str, str]) -> str:
    rule = re.sub(r"<any\((\w+)[^>]*>", r"\1", rule)
    filled = re.sub(r"<id:(\w+)>", lambda match: made[match[1]], rule)
    return re.sub(r"<(\w+)>", "12025550110", filled).removeprefix("/console")


def test_every_page_asks_for_a_scope_or_is_known_to_be_public(app: Application) -> None:
    assert {(method, rule) for method, rule, scope in routes(app) if scope is None} == PUBLIC


def test_nobody_gets_in_without_a_sign_in(acme: Tenant, app: Application) -> None:
    made, stranger = one_of_each(acme), app.test_client()
    for method, rule, scope in routes(app):
        if scope is not None:
            answer = stranger.open(f"/console{fill(rule, made)}", method=method)
            assert answer.status_code == 303, rule
            assert "/console/sign-in" in answer.headers["Location"]


def test_no_page_lets_in_a_lesser_scope(acme: Tenant, app: Application) -> None:
    made = one_of_each(acme)
    reader = ConsoleUser(acme, acme.new_token(Scope.READ))
    for method, rule, scope in routes(app):
        if scope in {Scope.SEND, Scope.ADMIN}:
            ask = reader.get if method == "GET" else reader.post
            assert ask(fill(rule, made)).status_code == 403, rule


def test_another_clients_objects_are_not_there(
    acme: Tenant, globex: Tenant, app: Application
) -> None:
    made, stranger = one_of_each(acme), ConsoleUser(globex)
    other = one_of_each(globex)
    mixed = made | {"group_id": made["group_id"], "contact_id": other["contact_id"]}
    for method, rule, scope in routes(app):
        if "<id:" in rule and scope is not None:
            ask = stranger.get if method == "GET" else stranger.post
            ids = mixed if "group_id" in rule else made
            fields = {"recipient": "12025550110", "people": "Ada, 12025550110", "name": "x"}
            answer = ask(fill(rule, ids), **({} if method == "GET" else fields))
            assert answer.status_code == 404, rule
            assert "text/html" in answer.headers["Content-Type"]


def test_every_page_of_ones_own_is_there_with_headers_that_guard_it(
    acme: Tenant, app: Application
) -> None:
    made, visitor = one_of_each(acme), ConsoleUser(acme)
    for method, rule, scope in routes(app):
        if method == "GET" and scope is not None:
            answer = visitor.get(fill(rule, made))
            assert answer.status_code == 200, rule
            policy = answer.headers["Content-Security-Policy"]
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert answer.headers["Cache-Control"] == "no-store"
            assert not re.search(r"<script(?! src=)| on\w+=|style=|javascript:", answer.text), rule


def test_a_form_of_another_site_is_refused(acme: Tenant) -> None:
    made, visitor = one_of_each(acme), ConsoleUser(acme)
    path = f"/console/broadcasts/{made['broadcast_id']}/pause"
    word = visitor.word()
    other = ConsoleUser(acme).word()
    forged = [
        ({}, {}),
        ({"csrf": other}, {}),
        ({"csrf": word}, {"Origin": "https://evil.example"}),
        ({"csrf": word}, {"Origin": "null"}),
        ({"csrf": word}, {"Origin": "http://["}),
        ({"csrf": word}, {"Sec-Fetch-Site": "cross-site"}),
    ]
    for fields, headers in forged:
        refused = visitor.http.post(path, data=fields, headers=headers)
        assert refused.status_code == 403, headers
    signing_in = {"data": {"token": acme.token}, "headers": {"Sec-Fetch-Site": "cross-site"}}
    assert visitor.http.post("/console/sign-in", **signing_in).status_code == 403
    origin = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    assert visitor.http.post(path, data={"csrf": word}, headers=origin).status_code == 303


def test_the_cookie_is_made_by_us_alone_and_worth_nothing_after_the_sign_out(
    acme: Tenant, app: Application
) -> None:
    victim = app.test_client()
    victim.set_cookie("crier_console", "chosen-by-somebody-else", path="/console")
    answer = victim.post(
        "/console/sign-in", data={"token": acme.token}, base_url="https://localhost"
    )
    [cookie] = [each for each in answer.headers.getlist("Set-Cookie") if "crier_console" in each]
    assert "chosen" not in cookie
    assert {"HttpOnly", "SameSite=Lax", "Secure", "Path=/console"} <= {*cookie.split("; ")}
    visitor = ConsoleUser(acme)
    stolen = visitor.http.get_cookie("crier_console", path="/console")
    assert stolen is not None
    assert visitor.post("/sign-out").status_code == 303
    thief = app.test_client()
    thief.set_cookie("crier_console", stolen.value, path="/console")
    assert thief.get("/console/").status_code == 303


def test_signing_in_leads_to_pages_of_the_console_only(acme: Tenant) -> None:
    visitor = ConsoleUser(acme)
    fields = {"token": acme.token}
    foreign = ("https://evil.example/", "//evil.example", "/console/\\evil", "/elsewhere")
    for wanted in (*foreign, "/console/\r\nSet-Cookie: a=b", "http://["):
        answer = visitor.http.post("/console/sign-in", data={**fields, "next": wanted})
        assert answer.headers["Location"] == "/console/"
    answer = visitor.http.post("/console/sign-in", data={**fields, "next": "/console/broadcasts"})
    assert answer.headers["Location"] == "/console/broadcasts"


def test_a_form_leads_back_to_no_page_but_one_of_ours(app: Application) -> None:
    for referrer in ("http://[", "http://evil.example/console/broadcasts", "http://localhost/"):
        with app.test_request_context(headers={"Referer": referrer}):
            assert access.came_from() == "/console/"


def test_a_zero_is_refused_before_a_database_sees_it(acme: Tenant) -> None:
    visitor = ConsoleUser(acme)
    for path in ("/broadcasts?q=%00", "/contacts?%00=a", "/phones/%00", "/contacts?q=a&q=%00"):
        assert visitor.get(path).status_code in {404, 422}, path
    assert visitor.post("/groups/new", name="a\0b").status_code == 422
    visitor.post("/groups/new", name=" ")
    assert "This field is required." in visitor.said()


def test_a_wrong_token_is_told_and_too_many_have_to_wait(
    acme: Tenant, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = rate_table.clock()
    monkeypatch.setattr(rate_table, "clock", lambda: moment)
    browser = app.test_client()
    most = acme.crier.settings.sign_in_failures
    for _ in range(most):
        wrong = browser.post("/console/sign-in", data={"token": "crier_wrong"})
        assert wrong.status_code == 403
        assert "does not exist" in wrong.text
    refused = browser.post("/console/sign-in", data={"token": acme.token})
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == str(60 // most)
    assert f"more than {most} wrong tokens" in refused.text


def test_a_link_signs_in_by_a_click_and_not_by_being_looked_at(acme: Tenant) -> None:
    with acme.crier.database.writing() as db:
        secret = verbs.link(db, acme.id, Scope.READ, now=now_ms())
    browser = acme.new_browser()
    for _ in range(2):
        assert secret in browser.get(f"/console/sign-in?link={secret}").text
    assert browser.post("/console/sign-in", data={"link": secret}).status_code == 303
    assert "You can view, but not send." in browser.get("/console/").text
    assert acme.new_browser().post("/console/sign-in", data={"link": secret}).status_code == 403


def test_scripts_in_texts_are_shown_as_texts(acme: Tenant) -> None:
    session = acme.make("/session", name=SCRIPT, channel="sandbox")
    contact = acme.make("/contact", name=SCRIPT, phones=["2348179803743"], organisation=SCRIPT)
    group = acme.make("/group", name=SCRIPT, contacts=[contact["_id"]])
    broadcast = acme.make(
        "/broadcast",
        send_type="individual",
        to="2348179803743",
        message={"text": SCRIPT, "location": {"name": SCRIPT, "lat": "1", "lng": "2"}},
    )
    visitor = ConsoleUser(acme)
    pages = [
        "/",
        "/broadcasts",
        f"/broadcasts?q={SCRIPT}",
        f"/broadcasts/{broadcast['_id']}",
        f"/broadcasts/{broadcast['_id']}?q={SCRIPT}&status={SCRIPT}",
        "/sessions",
        f"/sessions/{session['_id']}",
        f"/sessions/{session['_id']}/edit",
        "/contacts",
        f"/contacts/{contact['_id']}",
        f"/groups/{group['_id']}",
        f"/phones/{SCRIPT.replace('/', '')}",
        f"/compose?text={SCRIPT}&to={SCRIPT}&session_id={SCRIPT}",
        f"/compose?like={broadcast['_id']}",
        f"/nothing/{SCRIPT}",
    ]
    for page in pages:
        assert "<script>alert" not in visitor.get(page).text, page
    fields = {"text": SCRIPT, "to": SCRIPT, "session_id": SCRIPT}
    assert "<script>alert" not in visitor.post("/compose", **fields).text
    assert "<script>alert" not in visitor.post("/tokens", name=SCRIPT, scope="read").text
    visitor.post(f"/contacts/{contact['_id']}", name=SCRIPT, phones="2348179803743")
    assert "<script>alert" not in visitor.said()


def test_scripts_in_names_of_files_reasons_and_values_are_shown_as_texts(acme: Tenant) -> None:
    session = acme.make("/session", name="main", channel="sandbox")["_id"]
    form = {"file": (io.BytesIO(PICTURE), "<script>alert('x').png")}
    kept = acme.post("/attachment", data=form, content_type="multipart/form-data").json["data"]
    to = [{"to": "12025550110", "variables": {"Name": SCRIPT}}]
    message = {"text": "Hi {{Name}}", "attachments": [kept["_id"]]}
    made = acme.make("/broadcast", send_type="individual", to=to, message=message)["_id"]
    deliver(acme, made, DeliveryStatus.FAILED)
    with acme.crier.database.writing() as db:
        said = {"reason": SCRIPT, "code": SCRIPT}
        db.execute(update(Delivery).values(**said))
        db.execute(update(Session).values(hold_reason=SCRIPT, held_until=FOREVER))
    visitor = ConsoleUser(acme)
    delivery = ids.delivery(made, 0)
    for page in (
        *("/", "/sessions", f"/sessions/{session}", f"/broadcasts/{made}", "/broadcasts"),
        *(f"/broadcasts/{made}/live", f"/broadcasts/{made}/people", f"/deliveries/{delivery}"),
        *(f"/compose?like={made}", f"/broadcasts/{made}?status=failed&code={SCRIPT}"),
    ):
        shown = visitor.get(page).text
        assert "<script>alert" not in shown, page
    assert "&lt;script&gt;alert" in visitor.get(f"/deliveries/{delivery}").text
    sheet = f"Name,Phone,{SCRIPT}\n{SCRIPT},+1 202 555 0110,{SCRIPT}\n".encode()
    listed = visitor.post("/lists", file=(io.BytesIO(sheet), f"{SCRIPT}.csv")).text
    assert "&lt;script&gt;alert" in listed
    assert "<script>alert" not in listed
    uploaded = visitor.post("/attachments", file=(io.BytesIO(PICTURE), "<script>alert(1).png"))
    assert "<script>alert" not in uploaded.text


def test_a_notice_that_somebody_else_has_written_is_not_shown(acme: Tenant) -> None:
    visitor = ConsoleUser(acme)
    visitor.http.set_cookie("crier_notice", f"{'0' * 64}.LkV2aWw=", path="/console")
    assert "Evil" not in visitor.said()
