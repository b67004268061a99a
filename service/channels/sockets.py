"""Sockets of libcurl: opening them, and whether the other side still waits for a request."""

from __future__ import annotations

import os
import socket

import pycurl


class Socket:
    """A socket that libcurl duplicates; the original closes with this object."""

    def __init__(self, name: pycurl.CurlSockAddr) -> None:
        self._number = socket.socket(name.family, name.socktype, name.protocol).detach()

    def fileno(self) -> int:
        """Return the descriptor that libcurl duplicates."""
        return self._number

    def __del__(self) -> None:
        os.close(self._number)


def waits(number: int) -> bool:
    """Return whether a socket is connected and silent: unrequested data is not an answer."""
    looked_at = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=number)
    try:
        return _is_established(looked_at) and _is_silent(looked_at)
    finally:
        looked_at.detach()  # libcurl owns it


def _is_silent(looked_at: socket.socket) -> bool:
    try:
        looked_at.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _is_established(looked_at: socket.socket) -> bool:
    """Ask the kernel: the first byte of Linux's `struct tcp_info` is the state, and 1 means so."""
    try:
        return looked_at.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\x01"
    except OSError:
        return False
