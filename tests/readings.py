"""Readings: what metrics say, as Prometheus would understand them."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from service.metrics import Meters, meters

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(content: str) -> Samples:
    """Return the samples of a text by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(content)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0.0)


def own() -> Samples:
    """Return what this process has counted."""
    return parsed(generate_latest(meters.registry).decode())


def sums(folder: Path) -> Samples:
    """Return what all processes that share a folder have counted."""
    reader, registry = Meters(), CollectorRegistry()
    reader.folder = folder
    registry.register(reader)
    return parsed(generate_latest(registry).decode())
