"""The settings, read once from the environment into one frozen dataclass."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from dotenv import load_dotenv
from environs import Env, EnvError

from service import dsn

MIB = 1024 * 1024

_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
"""An origin as browsers send it: in lower case, without a path, a slash or a usual port."""

_ACCEL_PREFIX = re.compile(r"(/[\w.~-]+)+", re.ASCII)


class SettingError(Exception):
    """An environment variable holds what the service cannot use."""


def setting(default: Any, help_text: str) -> Any:
    """Declare a setting: its variable is the field's name in capitals."""
    return field(default=default, metadata={"help": help_text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator may set; times in seconds, sizes in bytes unless the name says otherwise."""

    data_dir: Path = setting(  # noqa: RUF009 - a path cannot be changed either
        Path("var"), "Folder of everything that the service stores on disk by default"
    )
    database_url: str = setting(
        "",
        "`postgresql://…` with libpq's parameters, or `sqlite:////folder/file.db`; empty: an SQLite"
        " file in `DATA_DIR`",
    )
    database_direct_url: str = setting(
        "",
        "The same Postgres database past a pooler such as PgBouncer, for `LISTEN`, migrations and"
        " `flask worker`; empty: `DATABASE_URL`",
    )
    database_pool_size: int = setting(10, "Database connections of a process")
    database_timeout: float = setting(5.0, "Longest wait for a connection, a lock or an answer")
    secret_key: str = setting(
        "",
        "Fernet keys, comma-separated, for the credentials of sessions; the first one encrypts;"
        " empty: one is made in `DATA_DIR/secret.key`",
    )
    public_url: str = setting(
        "",
        "Address under which providers and clients reach the service, for attachment links; empty:"
        " a link has the host that the request for it named",
    )
    trusted_proxies: int = setting(0, "Number of proxies in front that set `X-Forwarded-*`")
    accel_prefix: str = setting(
        "",
        "Internal location (`/_attachments`) from which nginx serves the files of attachments,"
        " through `X-Accel-Redirect`; empty: the service sends them itself",
    )
    cors_origins: str = setting(
        "",
        "Origins whose pages may call the API from a browser, comma-separated, such as"
        " `https://app.example`; `*`: all; empty: none",
    )
    max_body_bytes: int = setting(32 * MIB, "Largest JSON body")
    max_attachment_bytes: int = setting(16 * MIB, "Largest uploaded file")
    max_list_bytes: int = setting(128 * MIB, "Largest file of recipients or contacts")
    max_recipients: int = setting(1_000_000, "Most recipients of one broadcast")
    max_text_chars: int = setting(4096, "Longest text of a message, in characters")
    max_message_bytes: int = setting(65_536, "Largest message as JSON")
    max_attachments: int = setting(10, "Most attachments of one message")
    limit_requests: int = setting(200, "Requests a second of a client")
    limit_burst: int = setting(1_000, "Requests of a client at once")
    limit_recipients: int = setting(10_000_000, "Recipients a day of a client's broadcasts")
    limit_bytes: int = setting(
        20 * 1024 * MIB, "Attachments, contacts, messages and recipients that a client stores"
    )
    limit_broadcasts: int = setting(1_000, "Unfinished broadcasts of a client")
    limit_sessions: int = setting(100, "Sessions of a client")
    limit_contacts: int = setting(1_000_000, "Contacts of a client")
    limit_groups: int = setting(1_000, "Groups of a client")
    limit_members: int = setting(2_000_000, "Contacts in all groups of a client together")
    limit_attachments: int = setting(10_000, "Attachments of a client")
    limit_callbacks: int = setting(20, "Callbacks of a client")
    limit_tokens: int = setting(100, "Valid tokens of a client")
    limit_opt_outs: int = setting(
        1_000_000, "Opt-outs that a client adds; those by keyword are never refused"
    )
    limit_sandbox_replies: int = setting(10_000, "Replies that a client makes up in the sandbox")
    sandbox_bytes: int = setting(
        256 * MIB, "Messages of a client that the sandbox keeps, in bytes; the oldest go"
    )
    sign_in_failures: int = setting(
        30, "Wrong tokens a minute from one address, in the API and the console"
    )
    dispatch: str = setting(
        "threads",
        "`threads`: a web worker also sends, in a process beside it; `off`: it only accepts;"
        " `procrastinate`: it only accepts and leaves jobs for `flask worker` (Postgres)",
    )
    lanes: int = setting(4, "Most `procrastinate` workers that share one broadcast")
    in_flight: int = setting(
        512,
        "Most messages that a process sends at the same time for one client; beside others there"
        " may be more",
    )
    sender_threads: int = setting(1, "Threads that send; each sends many messages at the same time")
    claim_batch: int = setting(1000, "Most deliveries that a process claims at a time")
    flush_batch: int = setting(1000, "Most results written in one transaction")
    flush_interval: float = setting(0.1, "Longest time a result waits to be written")
    fanout_chunk: int = setting(10_000, "Recipients turned into deliveries in one transaction")
    poll_interval: float = setting(0.5, "How often an idle dispatcher looks for work")
    sweep_interval: float = setting(
        5.0, "How often schedules, expiries and dead claims are checked"
    )
    check_interval: float = setting(60.0, "How often blocked sessions are checked")
    lease: float = setting(
        30.0, "How long a dispatcher may be silent before its claims are taken over"
    )
    grace: float = setting(
        25.0, "How long a stopping process waits for messages that are being sent"
    )
    retry_base: float = setting(
        5.0,
        "Wait before the second attempt; it doubles with each attempt, with jitter. Also the wait "
        "of a message that met a blocked session",
    )
    retry_cap: float = setting(3600.0, "Longest wait between two attempts")
    max_attempts: int = setting(6, "Attempts per delivery, unless its session says otherwise")
    expire_after: float = setting(
        3 * 86400.0, "Age at which unsent deliveries fail, unless the broadcast says otherwise"
    )
    connect_timeout: float = setting(5.0, "Longest wait for a connection to a provider")
    send_timeout: float = setting(30.0, "Longest wait for a provider's answer")
    check_timeout: float = setting(5.0, "Longest wait for the check of a session with its provider")
    private_addresses: bool = setting(
        default=False,
        help_text="Whether sessions may name providers on this machine or its private network,"
        " such as a WAHA of your own, and name a host in an Apprise URL",
    )
    outgoing_proxy: str = setting(
        "", "HTTP proxy for all calls to providers; it must refuse private addresses; empty: none"
    )
    audit_retention: float = setting(
        365 * 86_400.0, "How long `flask purge` keeps the entries of the audit log"
    )
    metrics_token: str = setting(
        "",
        "Bearer token that `/metrics` asks for; empty: it answers only those who ask from this"
        " machine itself",
    )
    log_level: str = setting("INFO", "`DEBUG`, `INFO`, `WARNING` or `ERROR`")
    log_format: str = setting("json", "`json` or `console`")

    def __post_init__(self) -> None:
        """Refuse what could not work, with the name of the variable."""
        _refuse(
            self.dispatch not in {"threads", "off", "procrastinate"},
            "DISPATCH must be `threads`, `off` or `procrastinate`",
        )
        _check_database(self.database, "DATABASE_URL")
        _refuse(
            self.database_direct_url != "" and not dsn.is_postgres(self.database_direct_url),
            "DATABASE_DIRECT_URL must look like postgresql://user:password@host:5432/name",
        )
        if self.database_direct_url:
            _check_database(self.database_direct_url, "DATABASE_DIRECT_URL")
        _refuse(
            self.dispatch == "procrastinate" and not dsn.is_postgres(self.database),
            "DISPATCH=procrastinate needs Postgres: set DATABASE_URL, or choose `threads`",
        )
        _refuse(
            self.log_format not in {"json", "console"}, "LOG_FORMAT must be `json` or `console`"
        )
        _refuse(
            self.log_level not in {"DEBUG", "INFO", "WARNING", "ERROR"},
            "LOG_LEVEL must be `DEBUG`, `INFO`, `WARNING` or `ERROR`",
        )
        _refuse(
            self.accel_prefix != "" and not _ACCEL_PREFIX.fullmatch(self.accel_prefix),
            "ACCEL_PREFIX must begin with a slash and not end with one",
        )
        for origin in self.origins - {"*"}:
            _refuse(
                not _ORIGIN.fullmatch(origin),
                f"CORS_ORIGINS must name origins such as https://app.example, not {origin!r}",
            )
        for setting_ in fields(self):
            value = getattr(self, setting_.name)
            if setting_.type in {"int", "float"} and setting_.name != "trusted_proxies":
                _refuse(value <= 0, f"{setting_.name.upper()} must be more than 0")

    @property
    def database(self) -> str:
        """Return the URL of the database that is really used."""
        return self.database_url or dsn.of_file(self.data_dir.resolve() / "crier.db")

    @property
    def origins(self) -> frozenset[str]:
        """Return the origins whose pages may call the API from a browser."""
        given = (origin.strip() for origin in self.cors_origins.split(","))
        return frozenset(origin for origin in given if origin)

    @property
    def attachments_dir(self) -> Path:
        """Return the folder of the uploaded files."""
        return self.data_dir.resolve() / "attachments"

    @property
    def ledgers_dir(self) -> Path:
        """Return the folder of the ledgers of this machine's dispatchers."""
        return self.data_dir.resolve() / "ledgers"

    @property
    def rates_dir(self) -> Path:
        """Return the folder in which the processes of this machine count requests."""
        return self.data_dir.resolve() / "rates"

    @property
    def signals_dir(self) -> Path:
        """Return the folder of the named pipes by which this machine's dispatchers hear signals."""
        return self.data_dir.resolve() / "signals"

    @property
    def metrics_dir(self) -> Path:
        """Return the folder of the counts that the processes of this machine share."""
        return self.data_dir.resolve() / "metrics"

    @property
    def sandbox_store(self) -> Path:
        """Return the file in which the sandbox channel keeps what it received."""
        return self.data_dir.resolve() / "sandbox.db"


def _check_database(url: str, name: str) -> None:
    try:
        dsn.check(url)
    except dsn.DsnError as error:
        raise SettingError(f"{name} {error}") from error


def _refuse(wrong: bool, sentence: str) -> None:  # noqa: FBT001 - reads as a sentence
    if wrong:
        raise SettingError(sentence)


def load() -> Settings:
    """Read the settings from the environment; raises SettingError with a sentence.

    A file `.env` in the working folder is read first, as the flask command does by itself: what is
    served and what is migrated must be the same. The environment has the last word.
    """
    load_dotenv(Path(".env").resolve())
    env = Env()
    readers: dict[str, Callable[[str], Any]] = {
        "int": env.int,
        "float": env.float,
        "bool": env.bool,
        "str": env.str,
        "Path": lambda name: env.path(name).expanduser(),
    }
    values: dict[str, Any] = {}
    try:
        for setting_ in fields(Settings):
            name = setting_.name.upper()
            if os.environ.get(name):
                values[setting_.name] = readers[str(setting_.type)](name)
    except EnvError as error:
        raise SettingError(str(error).rstrip(".")) from error
    settings = Settings(**values)
    _refuse_another_owner(settings.data_dir.resolve())
    return settings


def _refuse_another_owner(folder: Path) -> None:
    """Refuse root a folder of somebody else, who could not write to what root makes there."""
    owner = _owner(folder) if folder.exists() else 0
    if os.geteuid() or not owner:
        return
    name = _name_of(owner)
    raise SettingError(
        f"DATA_DIR {folder} belongs to the user {name}, who could not write to the files that root"
        f" makes there: put `runuser -u {name} --` before the command"
    )


def _owner(folder: Path) -> int:
    return folder.stat().st_uid


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"#{user}"
