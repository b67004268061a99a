"""The dashboard and the alerts in deploy/: they ask for metrics that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
import yaml

from service.app import Application
from tests.conftest import ROOT, on_sqlite

FOLDER = ROOT / "deploy" / "prometheus"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "crier.json").read_text(encoding="utf-8"))
RULES = yaml.safe_load((FOLDER / "crier.rules.yml").read_text(encoding="utf-8"))
NAME = re.compile(r"crier_[a-z_]+")
PROMTOOL = shutil.which("promtool")


def asked() -> set[str]:
    """Return the metrics that the alerts and the dashboard ask for."""
    alerts = [rule["expr"] for group in RULES["groups"] for rule in group["rules"]]
    charts = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    names = {name for expression in [*alerts, *charts] for name in NAME.findall(expression)}
    return {name.removesuffix("_bucket").removesuffix("_total") for name in names}


@on_sqlite
def test_each_metric_that_is_asked_for_is_published(app: Application) -> None:
    published = app.test_client().get("/metrics").text
    described = set(re.findall(r"^# TYPE (\w+) ", published, re.MULTILINE))
    assert asked() - {name.removesuffix("_total") for name in described} == set()


@pytest.mark.skipif(PROMTOOL is None, reason="needs the program promtool")
def test_prometheus_understands_the_alerts_and_raises_them() -> None:
    assert PROMTOOL is not None
    for command in (["check", "rules", "crier.rules.yml"], ["test", "rules", "crier.tests.yml"]):
        done = subprocess.run(
            [PROMTOOL, *command], cwd=FOLDER, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
