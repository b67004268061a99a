"""Structured logs: one line an event, on stderr, without secrets, message texts or full numbers."""

from __future__ import annotations

import logging
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
    if log_format == "console":
        # The default shows the locals of every frame: tokens and texts among them.
        plain = structlog.dev.plain_traceback
        colours = sys.stderr.isatty()
        return [remove, structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=plain)]
    return [
        remove,
        structlog.processors.format_exc_info,
        _in_order,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]


def _in_order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put first what a reader looks for first."""
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return {**first, **event}
