"""The metrics, for Prometheus: those of all processes on this machine, and the backlog."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

import flask
from flask import Flask, Response, g
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import count

from service.blueprints.context import crier
from service.blueprints.requests import request
from service.channels.registry import DRIVERS
from service.core import backlog
from service.database import now_ms
from service.errors import ServiceError, UnauthorisedError
from service.metrics import meters
from service.models import Dispatcher, SessionStatus

blueprint = flask.Blueprint("metrics", __name__)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})


class FromAfarError(ServiceError):
    """The metrics are for callers on this machine, as long as METRICS_TOKEN is not set."""

    status = 403


class Collector:
    """What is read when Prometheus asks."""

    def collect(self) -> Iterator[Metric]:
        """Yield the processes' own metrics, then the database's as far as it can be reached."""
        yield from meters.collect()
        try:
            with crier().database.reading() as db:
                families = [*_backlog(db), _dispatchers(db)]
        except SQLAlchemyError:
            families = []
        yield from families
        up = "Whether the database answered: without it there is no word of the queue"
        yield GaugeMetricFamily("crier_database_up", up, value=1.0 if families else 0.0)


def _encoder(accepted: str) -> tuple[Callable[[Any], bytes], str]:
    """Return how the metrics are written: as asked for, or plainly where that cannot be read."""
    try:
        return choose_encoder(accepted)
    except (TypeError, ValueError):
        return choose_encoder("")


def register(app: Flask) -> None:
    """Count every answer, and publish the metrics."""
    app.after_request(_count)
    app.register_blueprint(blueprint)


@blueprint.get("/metrics")
def metrics() -> Response:
    """Fetch the metrics in the format that is asked for."""
    _admit()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector())
    encode, kind = _encoder(request.headers.get("Accept", ""))
    response = Response(encode(registry), content_type=kind)
    response.headers["Cache-Control"] = "no-store"
    return response


def _admit() -> None:
    """Let in who has the token, or without one, who asks from this machine."""
    token = crier().settings.metrics_token
    if not token:
        if not _is_from_here():
            raise FromAfarError
        return
    scheme, _, given = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer":
        raise UnauthorisedError("The metrics need METRICS_TOKEN as a bearer token.")
    # A header's bytes reach us as Latin-1 (PEP 3333), whatever they were meant to be.
    if not secrets.compare_digest(given.strip().encode("latin-1"), token.encode()):
        raise UnauthorisedError("This is not METRICS_TOKEN.", problem="invalid_token")


def _is_from_here() -> bool:
    """Tell whether the caller is on this machine.

    A request that was forwarded more often than we trust its word may come from anywhere, though
    the last proxy is here.
    """
    hops = crier().settings.trusted_proxies
    forwarded = [each for each in request.headers.getlist("X-Forwarded-For") if each]
    if forwarded and not 0 < hops <= len(",".join(forwarded).split(",")):
        return False
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _backlog(db: Session) -> Iterator[Metric]:
    depth = GaugeMetricFamily(
        "crier_queue_deliveries",
        "Deliveries accepted and not final, by the state of their broadcast",
        labels=["channel", "broadcast"],
    )
    found = {(each.channel, each.status): each.deliveries for each in backlog.depths(db)}
    # What is watched is there from the start: a rule on nothing never fires.
    for labels, deliveries in ({(name, "sending"): 0 for name in DRIVERS} | found).items():
        depth.add_metric(labels, deliveries)
    yield depth
    age = GaugeMetricFamily(
        "crier_queue_oldest_seconds",
        "How long the oldest due delivery has been due, by the state of its session",
        labels=["channel", "session"],
    )
    now = now_ms()
    ages = {(name, str(SessionStatus.READY)): 0.0 for name in DRIVERS}
    for channel, session, due_at in backlog.oldest(db, now=now):
        ages[channel, session] = 0.0 if due_at is None else (now - due_at) / 1000
    for labels, seconds in ages.items():
        age.add_metric(labels, seconds)
    yield age


def _dispatchers(db: Session) -> Metric:
    number = db.scalar(select(count()).select_from(Dispatcher)) or 0
    about = "Processes on all machines that send, or have died and are not yet missed"
    return GaugeMetricFamily("crier_dispatchers", about, value=number)


def _count(response: Response) -> Response:
    """Count an answer under its rule: each other word of the client could be a new series."""
    rule = request.url_rule.rule if request.url_rule else "none"
    method = request.method if request.method in _METHODS else "other"
    meters.answered(method, rule, response.status_code, time.perf_counter() - g.began)
    return response
