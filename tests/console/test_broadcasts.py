"""One broadcast, as somebody without scripts sees it."""

from __future__ import annotations

from service.models import DeliveryStatus
from tests.blueprints.test_broadcasts import NUMBERS, deliver, make
from tests.conftest import Tenant, on_sqlite
from tests.console.visiting import ConsoleUser

pytestmark = on_sqlite


def test_people_are_shown_with_the_values_that_they_brought(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    ada = {"to": NUMBERS[0], "variables": {"name": "Ada <b>", "city": "Lagos"}}
    text = "Hi {{name|there}} in {{city|town}}"
    made = make(acme, to=[ada, NUMBERS[1]], message={"text": text})["_id"]
    deliver(acme, made, DeliveryStatus.FAILED, DeliveryStatus.SENT)
    visitor = ConsoleUser(acme)
    for page in (f"/broadcasts/{made}", f"/broadcasts/{made}/people?status=failed"):
        assert "Ada &lt;b&gt; · Lagos" in visitor.get(page).text
    assert "Lagos" not in visitor.get(f"/broadcasts/{made}/people?status=sent").text
