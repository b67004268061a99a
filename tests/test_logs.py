"""What is logged of an error says nothing of the rows that it is about."""

from __future__ import annotations

import logging

import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from service import logs
from service.config import Settings
from service.database import Database

NUMBER = "12025550177"
INSERT = text("INSERT INTO secrets VALUES (:number, :said)")


@pytest.fixture
def error(database: Database) -> IntegrityError:
    """Return the error of a row that is there already."""
    row = {"number": NUMBER, "said": "a private\n\nmatter"}
    with database.writing() as db:
        db.execute(text("CREATE TABLE secrets (number TEXT, said TEXT, UNIQUE (number, said))"))
        db.execute(INSERT, row)
    with pytest.raises(IntegrityError) as caught, database.writing() as db:
        db.execute(INSERT, row)
    return caught.value


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_value_of_a_row_gets_into_the_log(
    settings: Settings, error: IntegrityError, capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    logs.configure(Settings(data_dir=settings.data_dir, log_format=log_format))
    log = structlog.get_logger("service.test")
    log.error("by us", exc_info=error, error=str(error))
    log.error("its cause", exc_info=error.orig)
    logging.getLogger("of.a.library").error("failed: %s", error, exc_info=error)
    logged = capsys.readouterr().err
    assert "IntegrityError" in logged
    assert "INSERT INTO secrets" in logged
    for kept_out in (NUMBER, "a private", "matter"):
        assert kept_out not in logged
