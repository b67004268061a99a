"""What DATABASE_URL names."""

from __future__ import annotations

from pathlib import Path

import pytest

from service import dsn
from service.dsn import DsnError


@pytest.mark.parametrize("name", ["a?b", "a%20b", "a b", "a%3Fb", "a#b", "grüße", "a:b@c", "a&b=c"])
def test_the_url_of_a_file_names_that_file(name: str) -> None:
    path = Path("/srv") / name / "crier.db"
    assert dsn.sqlite_url(dsn.of_file(path)).database == str(path)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://db/crier", {"host": "db", "dbname": "crier"}),
        ("postgres://db/crier", {"host": "db", "dbname": "crier"}),
        ("postgresql+psycopg://db/crier", {"host": "db", "dbname": "crier"}),
        ("postgresql://u%40b:p%2Fw@db:5433/crier",
         {"user": "u@b", "password": "p/w", "host": "db", "port": "5433", "dbname": "crier"}),
        ("postgresql:///crier?host=/run/pg", {"host": "/run/pg", "dbname": "crier"}),
        ("postgresql://db/crier?options=-c%20search_path%3Dtenant",
         {"host": "db", "dbname": "crier", "options": "-c search_path=tenant"}),
        ("postgresql://db/crier?options=-csearch_path=tenant",
         {"host": "db", "dbname": "crier", "options": "-csearch_path=tenant"}),
        ("postgresql://[::1]:5433/crier", {"host": "::1", "port": "5433", "dbname": "crier"}),
        ("postgresql://a:1,b:2/crier?target_session_attrs=read-write",
         {"host": "a,b", "port": "1,2", "dbname": "crier", "target_session_attrs": "read-write"}),
        ("postgresql://a,b:2/crier", {"host": "a,b", "port": ",2", "dbname": "crier"}),
        ("postgresql:///crier?host=a:1&host=b:2",
         {"host": "a,b", "port": "1,2", "dbname": "crier"}),
        ("postgresql:///crier?host=a&host=b", {"host": "a,b", "dbname": "crier"}),
        ("postgresql://db/crier?sslmode=verify-full&sslrootcert=/etc/ca.pem",
         {"host": "db", "dbname": "crier", "sslmode": "verify-full", "sslrootcert": "/etc/ca.pem"}),
    ],
)  # fmt: skip
def test_every_part_of_a_url_reaches_libpq(url: str, expected: dict[str, str]) -> None:
    dsn.check(url)
    assert dsn.is_postgres(url)
    assert dsn.libpq_parameters(url) == expected


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "must look like postgresql://"),
        ("nonsense", "must look like postgresql://"),
        ("mysql://db/crier", "must look like postgresql://"),
        ("postgresql+asyncpg://db/crier", "must look like postgresql://"),
        ("host=db dbname=crier", "must look like postgresql://"),
        ("postgresql://db:many/crier", "a number as port"),
        ("postgresql://crier:p@ss@db/crier", "percent-encode it \\(@ is %40, / is %2F\\)"),
        ("postgresql://crier:p/ss@db/crier", "percent-encode it"),
        ("postgresql://db/crier?pool_size=5", 'invalid connection option "pool_size"'),
        ("postgresql://db/crier?sslmode", "sslmode"),
        ("postgresql://db/crier?sslmode=require&sslmode=disable", "given twice"),
        ("postgresql://db/crier?client_encoding=latin1", "client_encoding"),
        ("sqlite://", "must name an SQLite file"),
        ("sqlite:///:memory:", "must name an SQLite file"),
        ("sqlite://folder/file.db", "must name an SQLite file"),
        ("sqlite:////srv/what?/crier.db", "takes no parameters"),
        ("sqlite:////srv/crier.db?timeout=5", "takes no parameters"),
    ],
)
def test_what_the_service_cannot_heed_is_refused_in_words(url: str, why: str) -> None:
    with pytest.raises(DsnError, match=why):
        dsn.check(url)
