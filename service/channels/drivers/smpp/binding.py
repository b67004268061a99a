"""Connecting to an SMSC, and binding there as a transceiver."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import NamedTuple

import certifi

from service.channels.addresses import forbidden, is_public
from service.channels.base import DriverContext
from service.channels.drivers.smpp import errors
from service.channels.drivers.smpp.connection import Connection
from service.channels.drivers.smpp.pdus import Pdu
from service.channels.errors import BlockedError, RetryableError, UncertainError


class Bind(NamedTuple):
    """Where an SMSC is, and who binds there."""

    host: str
    port: int
    tls: bool
    system_id: str
    password: str
    system_type: str


async def bound(
    bind: Bind, context: DriverContext, on_message: Callable[[Pdu], None]
) -> Connection:
    """Connect and bind. Raises BlockedError and RetryableError."""
    try:
        async with asyncio.timeout(context.connect_timeout):
            reader, writer = await _connected(bind, context)
    except ssl.SSLCertVerificationError as error:
        reason = f"The SMSC cannot be called: {error.verify_message}."
        raise BlockedError(reason, code="certificate") from error
    except TimeoutError as error:
        reason = f"The SMSC did not answer within {context.connect_timeout:g} seconds."
        raise RetryableError(reason, code="unreachable") from error
    except OSError as error:
        reason = f"The SMSC could not be reached: {error.strerror or error}."
        raise RetryableError(reason, code="unreachable") from error
    connection = Connection(reader, writer, context.send_timeout, on_message)
    try:
        await _introduce(connection, bind, context)
    except BaseException:
        connection.cut()
        raise
    return connection


async def _connected(
    bind: Bind, context: DriverContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a socket to the first address that answers; raises BlockedError for a private one."""
    if context.proxy:
        reason = "SMPP is not HTTP, so it cannot go through OUTGOING_PROXY."
        raise BlockedError(reason, code="proxy")
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(bind.host, bind.port, type=socket.SOCK_STREAM)
    addresses = [str(each[4][0]) for each in found]
    if not context.private_addresses:
        for address in addresses:
            if not is_public(address):
                raise forbidden(address)
    tls = ssl.create_default_context(cafile=certifi.where()) if bind.tls else None
    name = bind.host if bind.tls else None
    for address in addresses[:-1]:
        try:
            return await asyncio.open_connection(address, bind.port, ssl=tls, server_hostname=name)
        except ssl.SSLCertVerificationError:
            raise
        except OSError:
            continue
    return await asyncio.open_connection(addresses[-1], bind.port, ssl=tls, server_hostname=name)


async def _introduce(connection: Connection, bind: Bind, context: DriverContext) -> None:
    """Bind as a transceiver; raises BlockedError and RetryableError."""
    try:
        async with asyncio.timeout(context.connect_timeout):
            response = await connection.ask(
                "bind_transceiver",
                system_id=bind.system_id,
                password=bind.password,
                system_type=bind.system_type,
            )
    except (UncertainError, TimeoutError) as error:
        raise RetryableError("The SMSC did not answer the bind.", code="unreachable") from error
    if response.status != errors.OK:
        raise errors.refused(response.status)
