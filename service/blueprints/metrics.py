"""Prometheus metrics: of all processes on this machine, and of the queue in the database."""

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
from service.core import backlog, token_uses
from service.database import now_ms
from service.errors import ServiceError, UnauthorisedError
from service.metrics import meters
from service.models import Dispatcher, SessionStatus

blueprint = flask.Blueprint("metrics", __name__)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})


class RemoteCallerError(ServiceError):
    """Without METRICS_TOKEN, only callers on this machine may read the metrics."""

    status = 403


class Collector:
    """Collects the metrics for a scrape."""

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the processes, then those of the database if it answers."""
        yield from meters.collect()
        try:
            with crier().database.reading() as db:
                families = [*_backlog(db), _dispatchers(db), _tokens(db)]
        except SQLAlchemyError:
            families = []
        yield from families
        up = "Whether the database answered; without it there are no queue metrics"
        yield GaugeMetricFamily("crier_database_up", up, value=1.0 if families else 0.0)


def _encoder(accepted: str) -> tuple[Callable[[Any], bytes], str]:
    """Choose the format: as the client accepts it, plain text if that header is not valid."""
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
    """Fetch the metrics in the accepted format."""
    _admit()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector())
    encode, kind = _encoder(request.headers.get("Accept", ""))
    response = Response(encode(registry), content_type=kind)
    response.headers["Cache-Control"] = "no-store"
    return response


def _admit() -> None:
    """Require METRICS_TOKEN, or a caller on this machine if it is not set."""
    token = crier().settings.metrics_token
    if not token:
        if not _is_from_here():
            raise RemoteCallerError
        return
    scheme, _, given = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer":
        raise UnauthorisedError("Send METRICS_TOKEN as a bearer token.")
    # WSGI decodes headers as Latin-1 (PEP 3333).
    if not secrets.compare_digest(given.strip().encode("latin-1"), token.encode()):
        raise UnauthorisedError("The token is not METRICS_TOKEN.", problem="invalid_token")


def _is_from_here() -> bool:
    """Return whether the caller is on this machine.

    A request that passed more proxies than TRUSTED_PROXIES may come from anywhere.
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
        "Deliveries that are not final, by the status of their broadcast",
        labels=["channel", "broadcast"],
    )
    found = {(each.channel, each.status): each.deliveries for each in backlog.depths(db)}
    # Always export this metric: an alert on a missing series never fires.
    for labels, deliveries in ({(name, "sending"): 0 for name in DRIVERS} | found).items():
        depth.add_metric(labels, deliveries)
    yield depth
    age = GaugeMetricFamily(
        "crier_queue_oldest_seconds",
        "How long the oldest due delivery has been due, by the status of its session",
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
    about = "Sending processes on all machines, including dead ones not detected yet"
    return GaugeMetricFamily("crier_dispatchers", about, value=number)


def _tokens(db: Session) -> Metric:
    about = "Valid tokens that expire within 30 days and that no other has replaced"
    number = token_uses.expiring(db, now=now_ms())
    return GaugeMetricFamily("crier_tokens_expiring", about, value=number)


def _count(response: Response) -> Response:
    """Count an answer by its URL rule: counting by path would create endless series."""
    rule = request.url_rule.rule if request.url_rule else "none"
    method = request.method if request.method in _METHODS else "other"
    meters.answered(method, rule, response.status_code, time.perf_counter() - g.began)
    return response
