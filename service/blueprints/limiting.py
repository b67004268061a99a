"""Limiting: how many requests a client may make, and how many wrong tokens an address may send."""

from __future__ import annotations

from functools import partial
from ipaddress import IPv6Address, ip_address, ip_network

from flask import Response, g

from service.blueprints.context import crier, when_sent
from service.blueprints.requests import request
from service.core import limits, refusals
from service.core.allowances import Allowance
from service.core.callers import Caller
from service.core.limits import Limit
from service.core.rates import SECOND
from service.core.usages import LimitState
from service.errors import RateLimitError, TooManyRequestsError, rate_limit_fields

_FAILURES = "sign_in_failures"
_NETWORK_BITS = 64
"""One subscriber has a whole network of IPv6 addresses, usually of this size."""


def admit(caller: Caller, *, place: str = "api") -> None:
    """Count a request of a client, once; raises RateLimitError if it has made too many.

    A request counts even if no place is free for it: the rate bounds token look-ups, and its token
    has been looked up. A request beyond the rate does not count. The API and the console count
    apart, so that a program does not lock out those who can stop it.
    """
    if "allowance" in g:
        return
    rate = limits.request_rate(crier().settings, caller.limits)
    allowance = crier().requests.take(f"{place} {caller.client_id}", rate)
    g.allowance = rate, allowance
    if not allowance.is_granted:
        raise refusals.of_rate(
            Limit.REQUESTS,
            rate,
            allowance.wait,
            f"The limit is {rate.burst:,} requests at once and {SECOND / rate.interval:,.0f} a"
            " second. Wait as `Retry-After` says, or ask the operator for a higher limit.",
        )
    _enter(f"{place} {caller.client_id}")


def _enter(whose: str) -> None:
    """Take a place until the answer is sent; raises TooManyRequestsError."""
    places = crier().places
    if not places.enter(whose):
        raise TooManyRequestsError
    when_sent(partial(places.leave, whose))


def states(caller: Caller) -> dict[Limit, LimitState]:
    """Return the limits on a client's requests, and how much of each is used now."""
    settings = crier().settings
    rate = limits.request_rate(settings, caller.limits)
    left = crier().requests.look(f"api {caller.client_id}", rate).left
    per_second = limits.one(settings, caller.limits, Limit.REQUESTS)
    used = rate.burst - left
    return {
        Limit.REQUESTS: LimitState(per_second, min(used, per_second)),
        Limit.BURST: LimitState(rate.burst, used),
    }


def show_allowance(response: Response) -> None:
    """Add how many requests the client has left to an answer."""
    rate, allowance = g.get("allowance", (None, None))
    if allowance and allowance.is_granted:
        window = -(-rate.window // SECOND)
        fields = rate_limit_fields(
            Limit.REQUESTS, quota=rate.burst, window=window, left=allowance.left
        )
        response.headers.extend(fields)


def check_address() -> None:
    """Raise RateLimitError if the caller's address has sent too many wrong tokens."""
    rate = limits.failure_rate(crier().settings)
    _refuse(crier().failures.look(_address(), rate))


def note_failure() -> None:
    """Count a wrong token of the caller's address; raises RateLimitError if there were too many."""
    rate = limits.failure_rate(crier().settings)
    _refuse(crier().failures.take(_address(), rate))


def _refuse(allowance: Allowance) -> None:
    if not allowance.is_granted:
        raise _too_many_failures(allowance.wait)


def _too_many_failures(wait: int) -> RateLimitError:
    rate = limits.failure_rate(crier().settings)
    sentence = (
        f"This address has sent more than {rate.burst:,} wrong tokens in a minute. Wait as"
        " `Retry-After` says, and check the token."
    )
    return refusals.of_rate(_FAILURES, rate, wait, sentence)


def _address() -> str:
    """Return the caller's IPv4 address, or the network of its IPv6 address."""
    given = request.remote_addr or ""
    try:
        address = ip_address(given)
    except ValueError:
        return given
    if not isinstance(address, IPv6Address):
        return given
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ip_network((address.packed, _NETWORK_BITS), strict=False))
