"""A file `.env` counts the same for whatever of the service is started."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

PROBE = """
import json, runpy
from service.config import load
served = runpy.run_path({conf!r})
print(json.dumps([str(load().data_dir), load().log_format, served["bind"]]))
"""


def test_what_is_served_and_what_is_migrated_read_the_same_file(tmp_path: Path) -> None:
    lines = f"DATA_DIR={tmp_path / 'kept'}\nLOG_FORMAT=console\nPORT=8399\n"
    (tmp_path / ".env").write_text(lines, encoding="utf-8")
    probe = PROBE.format(conf=str(ROOT / "gunicorn.conf.py"))
    environment = {"PYTHONPATH": str(ROOT), "LOG_FORMAT": "json"}
    command = [sys.executable, "-c", probe]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert json.loads(done.stdout) == [str(tmp_path / "kept"), "json", ["127.0.0.1:8399"]]
