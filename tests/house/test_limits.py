"""The page of limits has the values of the code."""

from __future__ import annotations

import re

import pytest

from service.blueprints import opt_outs, requests
from service.channels import webhooks
from service.config import Settings
from service.core import groups, imports, marks, receipts, replies, variables
from service.core.deliveries import invalid
from service.core.limits import Limit
from service.core.paging import LARGEST_SIZE
from service.lists import archives, base, old_workbooks
from service.schemas import callbacks, contacts
from tests.conftest import ROOT

PAGE = (ROOT / "docs/limits.md").read_text(encoding="utf-8")
ROWS = {cells[0]: cells for cells in re.findall(r"^\| (.+?) \| (.+?) \|", PAGE, re.MULTILINE)}
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def shown(value: int) -> str:
    for size, unit in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if value >= size and value % size == 0:
            return f"{value // size} {unit}"
    return f"{value:,}"


@pytest.mark.parametrize("limit", [*Limit])
def test_every_limit_of_a_client_is_there_with_its_default(limit: Limit) -> None:
    value = getattr(Settings(), f"limit_{limit}")
    [row] = [cells for name, cells in ROWS.items() if f"`{limit}`" in name]
    assert (shown(value) if limit == Limit.BYTES else f"{value:,}") in row[1]


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("body of JSON or a form", shown(Settings().max_body_bytes)),
        ("file of an attachment", shown(Settings().max_attachment_bytes)),
        ("file of recipients or contacts", shown(Settings().max_list_bytes)),
        ("file of recipients or contacts", f"XLS {shown(old_workbooks.MOST_BYTES)}"),
        ("part of a body in which a token is found", shown(requests.MOST_SEARCHED)),
        ("part of a body in which a token is found", shown(requests.HEAD)),
        ("entries of a page", f"{LARGEST_SIZE:,}"),
        ("recipients", f"{Settings().max_recipients:,}"),
        ("invalid entries that are skipped", f"{invalid.MOST:,}"),
        ("text", f"{Settings().max_text_chars:,} characters"),
        ("message as JSON", f"{Settings().max_message_bytes:,} bytes"),
        ("attachments", f"{Settings().max_attachments}"),
        ("placeholders in a message", f"{marks.MOST}"),
        ("variables of a recipient", f"{variables.MOST}"),
        ("name of a variable", f"{variables.LONGEST_NAME} characters"),
        ("value of a variable", f"{variables.LONGEST_VALUE:,} characters"),
        ("variables of all recipients, as JSON", shown(variables.MOST_BYTES)),
        ("phones, emails, tags, fields of a contact", f"{contacts.MOST} each"),
        ("contacts of a group", f"{groups.MOST_CONTACTS:,}"),
        ("rows of an import of contacts", f"{imports.MOST:,}"),
        ("opt-outs of an import", f"{opt_outs.MOST_IMPORTED:,}"),
        ("URL of a callback", f"{callbacks.LONGEST_URL:,}"),
        ("bytes that a workbook unpacks to", shown(base.MOST_UNPACKED)),
        (
            "each part of a workbook that is neither a sheet nor its texts",
            shown(archives.MOST_ASIDE),
        ),
        ("directory of a workbook's parts", shown(archives.MOST_DIRECTORY)),
        ("statuses that wait for a session", f"{receipts.MOST_WAITING:,}"),
        ("statuses that wait for a session", shown(receipts.MOST_BYTES)),
        ("lists and objects, levels, messages", f"{webhooks.MOST_BRACKETS:,}"),
        ("characters kept of a reply's text", f"{replies.LONGEST_TEXT:,}"),
        ("messages under way", f"{Settings().in_flight}"),
        ("claimed deliveries", f"{2 * Settings().claim_batch:,}"),
        ("database connections", f"{2 * Settings().database_pool_size}"),
    ],
)
def test_a_limit_of_the_code_is_on_the_page(what: str, value: str) -> None:
    assert value in ROWS[what][1]
