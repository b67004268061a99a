"""Checks whether clients' URLs lead to public addresses.

It checks the address of the connection, never a name: a name may resolve differently the second
time (https://owasp.org/www-community/attacks/DNS_Rebinding).
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from service.channels.errors import BlockedError

_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""The range that IANA allocates for the internet. All other IPv6 ranges are special."""

_NAT64 = IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are an IPv4 address that the network translates to."""

_TUNNELS_AND_EXAMPLES = (
    IPv6Network("2001::/23"),  # Teredo, ORCHID and other protocol assignments (RFC 2928)
    IPv6Network("2002::/16"),  # 6to4: an IPv4 address, private ones too, in bits 16 to 48
    IPv6Network("3fff::/20"),  # documentation (RFC 9637), unknown to Python 3.11's tables
)

_RELAYS = IPv4Network("192.88.99.0/24")
"""6to4's anycast relays (RFC 7526): global to `ipaddress`, and the way into 2002::/16."""


def is_public(address: str) -> bool:
    """Return whether an IP address is an ordinary public one.

    `ipaddress.is_global` is not enough: it is true for multicast, for 64:ff9b::a9fe:a9fe (the
    cloud metadata service behind NAT64) and for 2002:7f00:1:: (this machine behind 6to4).
    """
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        inner = _embedded(ip)
        return _is_public4(inner) if inner else _is_public6(ip)
    return _is_public4(ip)


def forbidden(address: str) -> BlockedError:
    """Return the error for a call to a private address."""
    reason = (
        f"{address} is a private address. Crier calls private addresses only with"
        " PRIVATE_ADDRESSES=true."
    )
    return BlockedError(reason, code="address")


def private_address(host: str) -> str:
    """Return a private address of a host, empty if it has none.

    It waits for the resolver. It is only used with a proxy, which connects by itself and may know
    names that this machine does not.
    """
    try:
        known = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ""
    return next((str(each[4][0]) for each in known if not is_public(str(each[4][0]))), "")


def _embedded(ip: IPv6Address) -> IPv4Address | None:
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped


def _is_public4(ip: IPv4Address) -> bool:
    return ip.is_global and not ip.is_multicast and ip not in _RELAYS


def _is_public6(ip: IPv6Address) -> bool:
    if ip not in _GLOBAL_UNICAST or not ip.is_global:
        return False
    return not any(ip in network for network in _TUNNELS_AND_EXAMPLES)
