"""The rules of CONTRIBUTING.md that can be read off the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

SERVICE = ROOT / "service"
CORE = SERVICE / "core"
TRANSITIONS = CORE / "deliveries"

_OPENS = {"begin", "commit", "connect", "reading", "rollback", "writing"}
_WRITES_DELIVERIES = re.compile(r"\b(UPDATE|INSERT\s+INTO)\s+deliveries\b", re.IGNORECASE)
_WRITING_CALLS = {"insert", "sql_insert", "sql_update", "update"}


def sources(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*.py"))
    assert found
    return found


def called(call: ast.Call) -> str:
    """Return the last word of what is called: `begin` for `db.begin()`."""
    match call.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def transactions(source: str) -> Iterator[int]:
    """Yield the lines that could begin or end a transaction; a savepoint is none."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and called(node) in _OPENS:
            yield node.lineno
        if isinstance(node, ast.alias) and node.name in {"Database", "create_engine"}:
            yield node.lineno


def moves(source: str) -> Iterator[int]:
    """Yield the lines that make a delivery or change its row."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Constant(value=str(text)) if _WRITES_DELIVERIES.search(text):
                yield node.lineno
            case ast.Call(func=ast.Name(id="Delivery")):
                yield node.lineno
            case ast.Call(args=[ast.Name(id="Delivery"), *_]) if called(node) in _WRITING_CALLS:
                yield node.lineno
            case ast.Attribute(value=ast.Name(id=name), attr="status", ctx=ast.Store()):
                if "delivery" in name:
                    yield node.lineno


def test_core_works_inside_the_transactions_of_its_callers() -> None:
    found = {
        str(path.relative_to(ROOT)): lines
        for path in sources(CORE)
        if (lines := list(transactions(path.read_text())))
    }
    assert found == {}


def test_a_deliverys_status_moves_in_its_own_package_alone() -> None:
    found = {path.relative_to(ROOT) for path in sources(SERVICE) if [*moves(path.read_text())]}
    assert {path.parent for path in found} == {TRANSITIONS.relative_to(ROOT)}


@pytest.mark.parametrize(
    "source",
    [
        "db.commit()",
        "with database.writing() as db: pass",
        "with self._database.reading() as db: pass",
        "from service.database import Database",
    ],
)
def test_a_transaction_of_ones_own_is_recognised(source: str) -> None:
    assert list(transactions(source)) == [1]


def test_a_savepoint_is_allowed() -> None:
    assert list(transactions("with db.begin_nested(): pass")) == []


@pytest.mark.parametrize(
    "source",
    [
        "text('UPDATE deliveries SET status = 1')",
        "text(f'update  deliveries SET {what}')",
        "db.execute(update(Delivery).values(status=1))",
        "db.execute(sql_update(Delivery))",
        "db.add(Delivery(id=1))",
        "delivery.status = 'sent'",
    ],
)
def test_a_move_is_recognised(source: str) -> None:
    assert list(moves(source)) == [1]


@pytest.mark.parametrize(
    "source",
    ["select(Delivery.status)", "text('DELETE FROM deliveries')", "session.status = 'ready'"],
)
def test_what_moves_no_delivery_is_allowed(source: str) -> None:
    assert list(moves(source)) == []
