"""Who is meant by a recipient that somebody looks for."""

from __future__ import annotations

import pytest

from service.core import entries
from service.core.numbering import INTERNATIONAL, Numbering

NIGERIA, GERMANY = Numbering("NG", ("GH",)), Numbering("DE")
USER_ID, GROUP = "NG.13491208655302741918", "120363025246125486@g.us"


@pytest.mark.parametrize(
    ("numbering", "written", "people"),
    [
        (INTERNATIONAL, "+234 (0) 817 980-3743", ("2348179803743",)),
        (INTERNATIONAL, "0817 980 3743", ()),
        (NIGERIA, "0817 980 3743", ("2348179803743",)),
        (NIGERIA, "8179803743", ("2348179803743",)),
        (NIGERIA, "2348179803743", ("2348179803743",)),
        (NIGERIA, "+1 202 555 0110", ("12025550110",)),
        (GERMANY, "15123456789", ("4915123456789", "15123456789")),
        (GERMANY, "+1 512 345 6789", ("15123456789",)),
        (NIGERIA, USER_ID, (USER_ID,)),
        (NIGERIA, GROUP, (GROUP,)),
        (NIGERIA, "abc", ()),
        (NIGERIA, "", ()),
    ],
)
def test_a_number_is_looked_for_as_the_client_means_it_and_as_answers_show_it(
    numbering: Numbering, written: str, people: tuple[str, ...]
) -> None:
    assert entries.possible(written, numbering) == people


def test_what_is_no_recipient_is_looked_for_as_it_is() -> None:
    assert entries.searched(" Ada's phone ", NIGERIA) == ("Ada's phone",)
    assert entries.searched("0817 980 3743", NIGERIA) == ("2348179803743", "0817 980 3743")
    assert entries.searched(" ", NIGERIA) == ()
