"""The stub provider: nginx, which answers as the Cloud API and WAHA do, at once or after a while.

Where nginx or its echo module is missing, a slower stub of our own answers after a while.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import limits
from benchmarks.stub import MessageLog
from benchmarks.workspace import PYTHON, Workspace, answers, on_path, running, until
from tests.serving import free_port

PACKAGES = {"nginx": "nginx-light", "echo": "libnginx-mod-http-echo"}

_ECHO = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")
_PACES = {"20ms": 0.02, "200ms": 0.2, "300ms": 0.3, "1000ms": 1.0, "never": 86_400.0}
"""Paths, and the seconds after which an answer comes."""

_CLOUD = (
    '{"messaging_product":"whatsapp",'
    '"contacts":[{"input":"12025550110","wa_id":"12025550110"}],'
    '"messages":[{"id":"wamid.$request_id"}]}'
)
_WAHA = '{"id":"true_12025550110@c.us_$request_id","status":"WORKING"}'
_CONFIGURATION = """
{modules}
daemon off;
worker_processes 1;
worker_rlimit_nofile {descriptors};
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections {descriptors}; }}
http {{
    access_log off;
    default_type application/json;
    keepalive_requests 1000000000;
    keepalive_timeout 300s;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=8192;
        location / {{ return 200 '{cloud}'; }}
        location /api/ {{ return 200 '{waha}'; }}
        {slow}
    }}
}}
"""
_SLOW = """
        location /{path}/ {{ echo_sleep {seconds}; echo_exec /; }}
        location /{path}/api/ {{ echo_sleep {seconds}; echo_exec /api/; }}
"""


class Provider:
    """Where the stub answers; `is_fast`: it is nginx, which no service keeps busy."""

    def __init__(self, at_once: str, slow: str, *, is_fast: bool) -> None:
        self._at_once = at_once
        self._slow = slow
        self.is_fast = is_fast

    def url(self, pace: str = "") -> str:
        """Return the address to use as base for a pace: `200ms`, say, or `never`; empty: at once.

        It is the base of a Cloud API and of a WAHA.
        """
        return f"{self._slow}/{pace}" if pace else self._at_once


def missing() -> list[str]:
    """Return the Debian packages that the stub lacks."""
    has = {"nginx": on_path("nginx") is not None, "echo": _ECHO.exists()}
    return [package for name, package in PACKAGES.items() if not has[name]]


@contextmanager
def serving(workspace: Workspace) -> Iterator[Provider]:
    """Run the stub."""
    lacks = missing()
    with ExitStack() as stack:
        has_nginx = PACKAGES["nginx"] not in lacks
        ours = stack.enter_context(noting(workspace.new_folder()))[0] if lacks else ""
        nginx = stack.enter_context(_nginx(workspace)) if has_nginx else ""
        yield Provider(nginx or ours, ours or nginx, is_fast=has_nginx)


@contextmanager
def noting(folder: Path) -> Iterator[tuple[str, MessageLog]]:
    """Run the stub that writes down what it takes; give its address and its message_log."""
    port, path = free_port(), folder / "message_log"
    path.touch()
    command = [PYTHON, "-m", "benchmarks.stub", str(port), str(path)]
    with running(command, folder / "stub.log"):
        until(lambda: answers(port), "the stub")
        yield f"http://127.0.0.1:{port}", MessageLog(path)


@contextmanager
def _nginx(workspace: Workspace) -> Iterator[str]:
    program, folder, port = on_path("nginx") or "nginx", workspace.new_folder(), free_port()
    path = folder / "nginx.conf"
    path.write_text(_configuration(folder, port))
    with workspace.process("nginx", [program, "-e", "stderr", "-p", folder, "-c", path]):
        until(lambda: answers(port), "nginx")
        yield f"http://127.0.0.1:{port}"


def _configuration(folder: Path, port: int) -> str:
    paces = _PACES if _ECHO.exists() else {}
    slow = (
        _SLOW.format(path=path, seconds=seconds, cloud=_CLOUD, waha=_WAHA)
        for path, seconds in paces.items()
    )
    return _CONFIGURATION.format(
        modules=f"load_module {_ECHO};" if paces else "",
        # More than its hard limit nginx may not set, and would then stay at its soft one.
        descriptors=limits.most(),
        folder=folder,
        port=port,
        cloud=_CLOUD,
        waha=_WAHA,
        slow="".join(slow),
    )
