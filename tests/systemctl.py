"""What stands for systemctl where no systemd runs: it starts our units as they say."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

UNITS = Path("/etc/systemd/system")
LIMIT = 60.0


class Unit:
    """A unit's file, by its keys; a key may come several times."""

    def __init__(self, name: str) -> None:
        self.name = name.removesuffix(".service")
        lines = (UNITS / f"{self.name}.service").read_text().splitlines()
        self._pairs = [line.split("=", 1) for line in lines if "=" in line and line[0] != "#"]

    def all(self, key: str) -> list[str]:
        return [value for name, value in self._pairs if name == key]

    def one(self, key: str, usual: str = "") -> str:
        return (self.all(key) or [usual])[-1]

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables; a file has the last word, and must be there."""
        pairs = [pair for value in self.all("Environment") for pair in value.split()]
        for file in self.all("EnvironmentFile"):
            lines = Path(file).read_text().splitlines()
            pairs += [line for line in lines if "=" in line and line[0] != "#"]
        given = dict(pair.split("=", 1) for pair in pairs)
        return {"PATH": os.defpath, "LANG": "C.UTF-8", **given}

    def make_folders(self) -> None:
        for kind, top in (("State", "/var/lib"), ("Runtime", "/run")):
            for name in self.all(f"{kind}Directory"):
                folder = Path(top, name)
                folder.mkdir(exist_ok=True)
                shutil.chown(folder, self.one("User"), self.one("Group"))
                folder.chmod(int(self.one(f"{kind}DirectoryMode", "0755"), 8))

    def begin(self) -> subprocess.Popen[bytes]:
        self.make_folders()
        user = [f"--reuid={self.one('User')}", f"--regid={self.one('Group')}", "--init-groups"]
        with Path(f"/var/log/{self.name}.log").open("ab") as log:
            return subprocess.Popen(
                ["/usr/bin/env", "setpriv", *user, *shlex.split(self.one("ExecStart"))],
                cwd=self.one("WorkingDirectory"),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                umask=int(self.one("UMask", "0022"), 8),
                start_new_session=True,
            )

    def start(self) -> None:
        process = self.begin()
        if self.one("Type") == "oneshot":
            sys.exit(1) if process.wait(LIMIT) else None
        Path(f"/run/{self.name}.pid").write_text(str(process.pid))

    def stop(self) -> None:
        with suppress(FileNotFoundError, ProcessLookupError):
            pid = int(Path(f"/run/{self.name}.pid").read_text())
            os.kill(pid, signal.SIGTERM)
            end = time.monotonic() + LIMIT
            while time.monotonic() < end and Path(f"/proc/{pid}/cmdline").read_bytes():
                time.sleep(0.05)


def start(name: str) -> None:
    unit = Unit(name)
    if "crier-migrate.service" in unit.one("Wants"):
        Unit("crier-migrate").start()
    unit.start()


def restart_nginx() -> None:
    with suppress(FileNotFoundError, ProcessLookupError, ValueError):
        os.kill(int(Path("/run/nginx.pid").read_text()), signal.SIGQUIT)
    subprocess.run(["/usr/sbin/nginx", "-t"], check=True)
    subprocess.run(["/usr/sbin/nginx"], check=True)


def main(command: str, *words: str) -> None:
    """Understand what docs/operating.md types."""
    names = [word for word in words if not word.startswith("-")]
    match command, names:
        case "daemon-reload", []:
            pass
        case "restart", ["nginx"]:
            restart_nginx()
        case "enable", [*units] if "--now" in words:
            for name in units:
                start(name)
        case "restart", [*units]:
            for name in units:
                Unit(name).stop()
                start(name)
        case _:
            sys.exit(f"systemctl: not known here: {command} {words}")


if __name__ == "__main__":
    main(*sys.argv[1:])
