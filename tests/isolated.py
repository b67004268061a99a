"""A machine within the machine: namespaces in which root may install what it likes.

Its `/etc`, `/opt`, `/root`, `/run`, `/var/lib` and `/var/log` are its own and in memory. Its
network is a loopback. All that runs there ends with it. Programs are those of the real machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.waiting import until

_PROGRAMS = ("ip", "mount", "nginx", "nsenter", "runuser", "unshare", "useradd", "usermod")
_PATH = "/opt/stubs:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PARTS = ("service", "migrations", "deploy")
_FILES = ("wsgi.py", "gunicorn.conf.py", "alembic.ini", "Makefile")

_PREPARE = """
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/etc /mnt/python /mnt/packages /mnt/crier /mnt/nginx
cp -a /etc/. /mnt/etc
cp -a /var/lib/nginx/. /mnt/nginx
cp -r --preserve=timestamps {parts} /mnt/crier
{python}/bin/python3 -m compileall -q /mnt/crier/service /mnt/crier/migrations
mount --bind {python} /mnt/python
mount --bind {packages} /mnt/packages
cp {systemctl} /mnt/systemctl
for folder in /opt /run /var/lib /var/log; do mount -t tmpfs -o mode=755 tmpfs $folder; done
mount --bind /mnt/etc /etc
mkdir -p /opt/stubs /opt/packages /var/log/nginx /var/lib/nginx
cp -a /mnt/nginx/. /var/lib/nginx
mv /mnt/crier /opt/crier
printf '#!/bin/sh\nexec {python}/bin/python3 /mnt/systemctl "$@"\n' > /opt/stubs/systemctl
chmod +x /opt/stubs/systemctl
mount --bind /mnt/packages /opt/packages
# The Python of the tests may lie where root alone can go: here everybody can.
mount -t tmpfs -o mode=755 tmpfs /root
mkdir -p {python}
mountpoint -q {python} || [ -e {python}/bin ] || mount --bind /mnt/python {python}
ip link set lo up
"""


def why_not() -> str:
    """Return what keeps the tests from making one; empty: nothing does."""
    if not sys.platform.startswith("linux") or os.geteuid():
        return "root is needed to make a namespace"
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    missing = [name for name in _PROGRAMS if not shutil.which(name, path=path)]
    if missing:
        return f"not installed: {', '.join(missing)} (apt-get install nginx-light iproute2)"
    command = ["unshare", "--mount", "--net", "--pid", "--fork", "true"]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        return "this machine does not let root make namespaces"
    return ""


_WHY_NOT = why_not()
needs_isolation = pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT)


class IsolatedMachine:
    """Namespaces that a process holds open."""

    def __init__(self, holder: int) -> None:
        self._enter = ["nsenter", f"--target={holder}", "--mount", "--net", "--pid"]

    def run(
        self, script: str, *, user: str = "root", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a script of bash in `/opt/crier`; with `check` it must succeed."""
        as_user = [] if user == "root" else ["runuser", "-u", user, "--"]
        done = subprocess.run(
            [*self._enter, *as_user, "bash", "-euc", f"cd /opt/crier\n{script}"],
            env={"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8"},
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0 or not check, f"{done.stdout}\n{done.stderr}"
        return done

    def prepare(self) -> None:
        """Make the folders, and put the project and the tests' Python there."""
        enter = [*self._enter, "bash", "-euc"]
        script = _PREPARE.format(
            parts=" ".join(str(ROOT / each) for each in _PARTS + _FILES),
            python=sys.base_prefix,
            packages=sysconfig.get_path("purelib"),
            systemctl=ROOT / "tests/systemctl.py",
        )
        done = subprocess.run(
            [*enter, script], env={"PATH": _PATH}, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


@contextmanager
def new() -> Iterator[IsolatedMachine]:
    """Give an isolated_machine until the end of the block."""
    options = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    process = subprocess.Popen(["/usr/bin/env", "unshare", *options, "sleep", "infinity"])
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        until(lambda: children.read_text().split())
        isolated_machine = IsolatedMachine(int(children.read_text().split()[0]))
        isolated_machine.prepare()
        yield isolated_machine
    finally:
        process.kill()
        process.wait()
