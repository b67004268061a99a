"""The stub provider: nginx, which answers as the Cloud API does, at once or after a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.ground import Ground, answers, free_port, on_path, until

HOW_TO_INSTALL = "apt-get install nginx-light libnginx-mod-http-echo"

_ECHO = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")
_TAKEN = (
    '{"messaging_product":"whatsapp",'
    '"contacts":[{"input":"12025550110","wa_id":"12025550110"}],'
    '"messages":[{"id":"wamid.$request_id"}]}'
)
_CONFIGURATION = """
{modules}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
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
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ return 200 '{taken}'; }}
        {slow}
    }}
}}
"""
_SLOW = "location /{ms}ms/ {{ echo_sleep {seconds}; echo '{taken}'; }}"
DELAYS = (50, 250)


class Provider:
    """Where the stub answers; `is_slow_able` tells whether it can also take its time."""

    def __init__(self, port: int, *, is_slow_able: bool) -> None:
        self.port = port
        self.is_slow_able = is_slow_able

    def url(self, delay: int = 0) -> str:
        """Return the address to use as the Cloud API's base, for a delay in milliseconds."""
        base = f"http://127.0.0.1:{self.port}"
        return f"{base}/{delay}ms" if delay else base


@contextmanager
def serving(ground: Ground) -> Iterator[Provider | None]:
    """Run the stub; None: there is no nginx."""
    program = on_path("nginx")
    if program is None:
        yield None
        return
    folder, port = ground.new_folder(), free_port()
    path = folder / "nginx.conf"
    path.write_text(_configuration(folder, port))
    with ground.process("nginx", [program, "-e", "stderr", "-p", folder, "-c", path]):
        until(lambda: answers(port), "nginx")
        yield Provider(port, is_slow_able=_ECHO.exists())


def _configuration(folder: Path, port: int) -> str:
    delays = DELAYS if _ECHO.exists() else ()
    slow = (_SLOW.format(ms=ms, seconds=ms / 1000, taken=_TAKEN) for ms in delays)
    return _CONFIGURATION.format(
        modules=f"load_module {_ECHO};" if delays else "",
        folder=folder,
        port=port,
        taken=_TAKEN,
        slow="\n        ".join(slow),
    )
