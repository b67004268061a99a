"""Templates of WhatsApp in a new broadcast of the console."""

from __future__ import annotations

from collections.abc import Callable

from werkzeug.datastructures import MultiDict
from werkzeug.test import TestResponse

from service.app import Application
from service.console import templates
from service.console.templates import TemplateParameter
from tests.acceptance.test_vendors import ACCOUNT, TEMPLATES
from tests.conftest import on_sqlite
from tests.console.visiting import ConsoleUser
from tests.provider import Provider
from tests.sending import QUICK, Sending

FILLED = {
    "template": "sale/en_US",
    "parameter/header/0/image/image": "https://a.example/cake.png",
    "parameter/body/0/text/1": "Ada",
    "parameter/body/0/text/2": "20 %",
    "parameter/button/0/text/1": "cake",
}


def test_parameters_are_asked_for_in_the_order_in_which_they_count() -> None:
    asked = [
        {"component": "header", "names": ["image"]},
        {"component": "body", "names": ["10", "2", "1"]},
        {"component": "button", "index": 1, "names": ["code"]},
    ]
    assert templates.gaps(asked) == [
        TemplateParameter("header", 0, "image", "image"),
        *(TemplateParameter("body", 0, "text", name) for name in ("1", "2", "10")),
        TemplateParameter("button", 1, "text", "code"),
    ]


def test_the_form_and_the_message_say_the_same_template() -> None:
    message = templates.message(MultiDict({**FILLED, "parameter/body/0/text/due": " May "}))
    header, body, button = message["components"]
    assert (message["name"], message["language"]) == ("sale", "en_US")
    assert header["parameters"] == [
        {"type": "image", "image": {"link": "https://a.example/cake.png"}}
    ]
    assert body["parameters"][1:] == [
        {"type": "text", "text": "20 %"},
        {"type": "text", "parameter_name": "due", "text": "May"},
    ]
    assert (button["sub_type"], button["index"]) == ("url", "0")
    assert templates.fields(message) == {**FILLED, "parameter/body/0/text/due": "May"}
    assert templates.message(MultiDict({"text": "Hello", "parameter/x": "y"})) == {}


def test_a_template_that_the_form_cannot_say_is_taken_as_far_as_possible() -> None:
    odd = [{"parameters": "x"}, {"type": "body", "index": "x", "parameters": [1, {"type": "text"}]}]
    said = templates.fields({"name": "sale", "language": "fr", "components": odd})
    assert said == {"template": "sale/fr", "parameter/body/0/text/2": ""}


def test_a_button_of_a_number_without_end_is_passed_over() -> None:
    endless = "9" * 5_000
    given = {"template": "sale/fr", f"parameter/button/{endless}/text/1": "cake"}
    assert templates.message(MultiDict(given)) == {"name": "sale", "language": "fr"}
    button = {"type": "button", "index": endless, "parameters": [{"type": "text", "text": "x"}]}
    said = templates.fields({"name": "sale", "language": "fr", "components": [button]})
    assert said["parameter/button/0/text/1"] == "x"


@on_sqlite
def test_a_template_is_picked_filled_in_and_sent(make_app: Callable[..., Application]) -> None:
    with Provider() as provider:
        sending = Sending(make_app(**QUICK), provider)
        provider.templates = TEMPLATES
        session = sending.session(settings={"business_account_id": ACCOUNT})
        unnamed = sending.session(name="unnamed")
        sandbox = sending.client.make("/session", name="sandbox", channel="sandbox")
        visitor = ConsoleUser(sending.client)

        def ask(path: str, session_id: str, **fields: str) -> TestResponse:
            return visitor.post(path, session_id=session_id, **fields)

        assert 'hx-trigger="load"' in visitor.get("/compose").text
        listed = ask("/compose/template", session["_id"]).text
        assert 'value="plain/en_US"' in listed
        assert 'value="sale/fr" disabled' in listed
        chosen = ask("/compose/template", session["_id"], **FILLED).text
        assert 'name="parameter/body/0/text/2" value="20 %"' in chosen
        assert "End of the link of button 1" in chosen
        assert 'name="parameter' in ask("/compose/edit", session["_id"], **FILLED).text
        order = {"audience": "numbers", "to": "12025550110"}
        short = {name: FILLED[name] for name in list(FILLED)[:3]}
        wrong = ask("/compose", session["_id"], **order, **short)
        assert wrong.status_code == 422
        assert "The body takes 2 parameters" in wrong.text
        reviewed = ask("/compose", session["_id"], **order, **FILLED).text
        assert "en_US · Ada · 20 %" in reviewed
        sent = ask("/compose/send", session["_id"], **order, **FILLED, key="1" * 32)
        made = sent.headers["Location"].rsplit("/", 1)[1]
        assert 'value="20 %"' in visitor.get(f"/compose?like={made}").text
        unlisted = ask("/compose/template", unnamed["_id"]).text
        assert "business_account_id" in unlisted
        assert 'name="template.name"' in unlisted
        assert "<details" not in ask("/compose/template", sandbox["_id"]).text
        assert "<details" not in ask("/compose/template", "nonsense").text
