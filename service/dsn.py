"""What `DATABASE_URL` names: an SQLite file, or a Postgres server as libpq reaches it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy.engine import URL, make_url

_POSTGRES = frozenset({"postgresql", "postgres", "postgresql+psycopg"})
_SQLITE = frozenset({"sqlite", "sqlite+pysqlite"})
_HOST_AND_PORT = re.compile(r"(?P<host>[^/:]+):(?P<port>\d+)")
_PORTS = re.compile(r"\d*(,\d*)*", re.ASCII)
_UTF8 = frozenset({"utf8", "utf-8", "unicode"})


class DsnError(ValueError):
    """A URL does not name a database that the service can use."""


def of_file(path: Path) -> str:
    """Return the URL of an SQLite file, whatever characters its path has."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def is_postgres(url: str) -> bool:
    """Tell whether a URL names a Postgres server."""
    return _scheme(url) in _POSTGRES


def check(url: str) -> None:
    """Raise DsnError unless the service can use every part of a URL."""
    if is_postgres(url):
        libpq_parameters(url)
    elif _scheme(url) in _SQLITE:
        sqlite_url(url)
    else:
        raise DsnError(
            "must look like postgresql://user:password@host:5432/name or sqlite:////folder/file.db"
        )


def sqlite_url(url: str) -> URL:
    """Return the URL of an SQLite file; raises DsnError if it has parameters or names no file."""
    if "?" in url:
        raise DsnError("names an SQLite file and takes no parameters; write a ? in its path as %3F")
    parsed = make_url(url)
    if parsed.host or parsed.database in {None, "", ":memory:"}:
        raise DsnError("must name an SQLite file, as sqlite:////folder/file.db does")
    return parsed


def libpq_parameters(url: str) -> dict[str, Any]:
    """Return the connection parameters of a Postgres URL; raises DsnError in libpq's words.

    Several hosts are taken in libpq's form (`host1:5432,host2:5432`) and in SQLAlchemy's
    (`?host=host1:5432&host=host2:5432`).
    """
    address, _, query = url.partition("?")
    _refuse_bare_characters(address)
    parameters: dict[str, Any]
    try:
        parameters = conninfo_to_dict("postgresql" + address[len(_scheme(url)) :]) | _query(query)
        make_conninfo(**parameters)
    except (psycopg.Error, ValueError) as error:
        raise DsnError(f"cannot be used: {str(error).strip()}") from error
    if not _PORTS.fullmatch(str(parameters.get("port", ""))):
        raise DsnError(f"must have a number as port, not {parameters['port']}")
    if str(parameters.get("client_encoding", "utf8")).lower() not in _UTF8:
        raise DsnError("must leave out client_encoding: texts need UTF8")
    return parameters


def _refuse_bare_characters(address: str) -> None:
    """Raise DsnError where an @ or a / of a password would end it, so that the host is wrong."""
    rest = address.partition("//")[2]
    if rest.count("@") > 1 or "@" in rest.partition("/")[2]:
        raise DsnError(
            "has an @ or a / in its user name or password: percent-encode it (@ is %40, / is %2F)"
        )


def _query(query: str) -> dict[str, str]:
    """Return the parameters behind the question mark; raises ValueError."""
    pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    hosts = [value for name, value in pairs if name == "host"]
    others = [(name, value) for name, value in pairs if name != "host"]
    if len(dict(others)) < len(others):
        raise ValueError("a parameter is given twice")
    return dict(others) | (_hosts(hosts) if hosts else {})


def _hosts(hosts: list[str]) -> dict[str, str]:
    """Return hosts, each with or without a port, as libpq's lists of hosts and of ports."""
    split = [_HOST_AND_PORT.fullmatch(host) for host in hosts]
    names = [found["host"] if found else host for host, found in zip(hosts, split, strict=True)]
    ports = [found["port"] if found else "" for found in split]
    return {"host": ",".join(names)} | ({"port": ",".join(ports)} if any(ports) else {})


def _scheme(url: str) -> str:
    return url.partition("://")[0]
