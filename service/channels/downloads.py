"""Downloads: libcurl's options for a file that goes into a sink, and the errors that end it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pycurl

from service.channels.errors import PermanentError, RetryableError, SendError
from service.channels.steps import Sink

_SILENT: Final = 1_000
"""Bytes per second of a download that count as none."""


class Download:
    """A file on its way from a provider into a sink, and what went wrong with that."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._error: OSError | None = None

    def options(self, patience: float) -> Mapping[int, Any]:
        """Return the options that end a download if it is too large, or silent for some seconds."""
        return {
            pycurl.WRITEFUNCTION: self.write,
            pycurl.MAXFILESIZE: self._sink.most,
            pycurl.LOW_SPEED_LIMIT: _SILENT,
            pycurl.LOW_SPEED_TIME: max(1, round(patience)),
        }

    def write(self, data: bytes) -> int:
        """Write a piece; another number than its length makes curl stop."""
        try:
            self._sink.write(data)
        except OSError as error:
            self._error = error
            return 0
        return len(data)

    def problem(self, number: int) -> SendError | None:
        """Return why the sink could not take everything, for an error of libcurl."""
        if self._error is not None:
            reason = f"The file cannot be written ({self._error.strerror})."
            return RetryableError(reason, code="disk")
        if number == pycurl.E_FILESIZE_EXCEEDED:
            most = self._sink.most
            return PermanentError(f"The file has more than {most:,} bytes.", code="too_large")
        return None
