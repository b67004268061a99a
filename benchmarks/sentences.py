"""The sentences of docs/numbers.md, and the figures in each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks import endurance, intake, latency, neighbours, pickup, pressure, reading, throughput
from benchmarks.task_queues import CELERY, DRAMATIQ

Name = tuple[str, str]
"""A figure's group, and its name in it."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table in docs/numbers.md; `sentence` names the figures as in `figures`."""

    what: str
    sentence: str
    figures: dict[str, Name]

    def pick(self, values: Mapping[Name, float | None]) -> dict[str, float]:
        """Return the values that the sentence wants; all of them are there."""
        return {key: values[name] or 0.0 for key, name in self.figures.items()}


def _rate(name: str) -> Name:
    return throughput.GROUP, name


def _against(name: str) -> Name:
    return throughput.AGAINST, name


_POST, _POST_LITE = intake.group("Postgres"), intake.group("SQLite")
_MILLION = endurance.GROUP.format(1_000_000)

ROWS = (
    Row(
        "deliveries a second, one process, a provider without latency",
        "Postgres {postgres:,.0f}; SQLite {sqlite:,.0f}; two processes {two:,.0f} and"
        " {two_lite:,.0f}",
        {
            "postgres": _rate(throughput.SERVICE),
            "sqlite": _rate("Crier, SQLite, 1 process"),
            "two": _rate("Crier, Postgres, 2 processes"),
            "two_lite": _rate("Crier, SQLite, 2 processes"),
        },
    ),
    Row(
        "the same by a loop written by hand on curl's multi handle, which retries nothing and"
        " promises nothing after a crash",
        "{rate:,.0f}; Crier reaches {share:.2f} of it",
        {"rate": _rate(throughput.LIMIT), "share": _against(throughput.LIMIT)},
    ),
    Row(
        "the same by a task per recipient, Redis and Postgres",
        "Celery {celery:,.0f}: Crier is {than_celery:.0f} times as fast; Dramatiq {dramatiq:,.0f}:"
        " {than_dramatiq:.0f} times",
        {
            "celery": _rate(CELERY),
            "than_celery": _against(CELERY),
            "dramatiq": _rate(DRAMATIQ),
            "than_dramatiq": _against(DRAMATIQ),
        },
    ),
    Row(
        "a provider that takes 200 ms, all defaults",
        "{rate:,.0f} a second, {share:.0%} of what is possible; a delivery takes {cost:.2f} times"
        " the processor time of one without latency (hand-written loop: {by_hand:.2f} times); the"
        " dispatcher has {threads:.0f} threads",
        {
            "rate": (latency.GROUP, latency.DEFAULTS),
            "share": (latency.GROUP, latency.OF_DEFAULTS),
            "cost": (latency.GROUP, latency.PROCESSOR),
            "by_hand": (latency.GROUP, latency.PROCESSOR_BY_HAND),
            "threads": (latency.GROUP, latency.THREADS),
        },
    ),
    Row(
        "a provider that takes 1 s, `IN_FLIGHT=4096`",
        "{rate:,.0f} a second, {share:.0%} of what is possible; {memory:.0f} KB for each message"
        " under way",
        {
            "rate": (latency.GROUP, latency.MANY),
            "share": (latency.GROUP, latency.OF_MANY),
            "memory": (latency.GROUP, latency.MEMORY),
        },
    ),
    Row(
        "a session beside one that never answers",
        "sends {cloud:.0%} of what it sends alone on the Cloud API, {two:.0%} with two parts each,"
        " {waha:.0%} on WAHA",
        {
            "cloud": (neighbours.BESIDE, neighbours.SLOW),
            "two": (neighbours.BESIDE, neighbours.TWO_PARTS),
            "waha": (neighbours.BESIDE, neighbours.WAHA),
        },
    ),
    Row(
        "a session of 40 messages a second beside one of 300 ms that takes all there is",
        "uses {slots:.0%} of its slots",
        {"slots": (neighbours.PACED, neighbours.SLOTS)},
    ),
    Row(
        "a client's 1,000 messages at 20 ms beside a client with 3,000 broadcasts of 20",
        "are sent at {share:.2f} of the speed without it on Postgres, {lite:.2f} on SQLite; the"
        " first one after {first:.1f} s and {lite_first:.1f} s",
        {
            "share": (neighbours.CROWD, neighbours.SHARE.format("Postgres")),
            "lite": (neighbours.CROWD, neighbours.SHARE.format("SQLite")),
            "first": (neighbours.CROWD, neighbours.FIRST.format("Postgres")),
            "lite_first": (neighbours.CROWD, neighbours.FIRST.format("SQLite")),
        },
    ),
    Row(
        "sending beside a web worker that takes 50 `POST` a second of 100 recipients, Postgres",
        "{rate:,.0f} deliveries a second, {share:.2f} of a dispatcher of its own",
        {
            "rate": (pressure.BESIDE, pressure.WORKER),
            "share": (pressure.BESIDE, pressure.SHARE),
        },
    ),
    Row(
        "the API beside a dispatcher at full speed, p99 against p99 of the idle service",
        "`POST` {post:.1f} times, `GET` {get:.1f} times",
        {
            "post": (pressure.GROUP, f"{pressure.OWN}: POST p99, against idle"),
            "get": (pressure.GROUP, f"{pressure.OWN}: GET p99, against idle"),
        },
    ),
    Row(
        "`POST /broadcast` of 100,000 recipients",
        "answered in {answer:.2f} s, all rows {rows:.1f} s later on Postgres; {lite:.2f} s and"
        " {lite_rows:.1f} s on SQLite",
        {
            "answer": (_POST, "100,000 recipients: answer"),
            "rows": (_POST, "100,000 recipients: all rows, after the answer"),
            "lite": (_POST_LITE, "100,000 recipients: answer"),
            "lite_rows": (_POST_LITE, "100,000 recipients: all rows, after the answer"),
        },
    ),
    Row(
        "`POST /broadcast` of 1,000,000 recipients",
        "answered in {answer:.1f} s with {memory:.0f} MB over idle; all rows {rows:.0f} s later on"
        " Postgres, {lite_rows:.1f} s on SQLite",
        {
            "answer": (_POST, "1,000,000 recipients: answer"),
            "memory": (_POST, "1,000,000 recipients: memory over idle, at most"),
            "rows": (_POST, "1,000,000 recipients: all rows, after the answer"),
            "lite_rows": (_POST_LITE, "1,000,000 recipients: all rows, after the answer"),
        },
    ),
    Row(
        "1,000,000 deliveries in one go, Postgres",
        "{rate:,.0f} a second; the dispatcher takes {memory:.0f} MB over idle; a claim takes"
        " {claim:.1f} times as long at the end as at the beginning",
        {
            "rate": (_MILLION, endurance.ALL),
            "memory": (_MILLION, endurance.MEMORY),
            "claim": (_MILLION, endurance.CLAIM),
        },
    ),
    Row(
        "`GET /broadcast/{id}` of 1,000,000 deliveries against one of 1,000",
        "{broadcast:.2f} times as long; a page of its deliveries {page:.2f} times",
        {
            "broadcast": (reading.GROUP, "GET /broadcast/{id}"),
            "page": (reading.GROUP, "GET /broadcast/{id}/delivery, first page"),
        },
    ),
    Row(
        "an idle service, from the start of a `POST` to the provider's first call",
        "{postgres:.0f} ms on Postgres, {lite:.0f} ms on SQLite (medians)",
        {
            "postgres": (pickup.GROUP, "Postgres, beside the web worker: p50"),
            "lite": (pickup.GROUP, "SQLite, beside the web worker: p50"),
        },
    ),
)
