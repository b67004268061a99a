"""Structured logs: one line an event, on stderr, without secrets, message texts or full numbers."""

from __future__ import annotations

import logging
import re
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from service.config import Settings

_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


_DETAIL = re.compile(
    r"^DETAIL:.*?(?=^\[SQL: |^\(Background on |^The above exception |^During handling |\Z)",
    re.MULTILINE | re.DOTALL,
)
"""The values in an error of Postgres, to the next line that is not its own: they may have several.

https://www.postgresql.org/docs/current/error-style-guide.html
"""


class _Handler(logging.StreamHandler[TextIO]):
    """A handler that writes to whatever stderr is at the moment, as tests replace it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """Return the process's stderr."""
        return sys.stderr


def configure(settings: Settings) -> None:
    """Send everything that is logged, by us and by libraries, through one format.

    May be called again: the last call counts.
    """
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = _Handler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED, processors=_rendering(settings.log_format)
        )
    )
    root = logging.getLogger()
    root.handlers = [kept for kept in root.handlers if not isinstance(kept, _Handler)]
    root.addHandler(handler)
    root.setLevel(settings.log_level)


def _rendering(log_format: str) -> list[Processor]:
    """Return the last steps of an event on its way to the stream."""
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    formatted: list[Processor] = [remove, structlog.processors.format_exc_info, _without_details]
    if log_format == "console":
        # The default shows the locals of every frame: tokens and texts among them.
        plain = structlog.dev.plain_traceback
        colours = sys.stderr.isatty()
        renderer = structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=plain)
        return [*formatted, renderer]
    return [
        *formatted,
        _in_order,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]


def _without_details(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Cut what Postgres says of single rows: their numbers and texts."""
    return {
        key: _DETAIL.sub("DETAIL: …", value) if isinstance(value, str) else value
        for key, value in event.items()
    }


def _in_order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put first what a reader looks for first."""
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return {**first, **event}
