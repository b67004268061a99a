"""Installing by docs/operating.md to the letter, on a machine within the machine."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests import isolated
from tests.conftest import ROOT
from tests.isolated import IsolatedMachine, needs_isolation
from tests.waiting import until

PAGE = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
STEPS = PAGE.partition("### On a machine")[2].partition("```\n")[2].partition("```")[0]

# In the place of the step that downloads packages: no test has the internet.
MAKE = f"""#!/bin/sh
[ "$*" = 'PYTHON=/usr/bin/python3 .venv/.requirements' ] || exec /usr/bin/make "$@"
{sys.base_prefix}/bin/python3 -m venv --without-pip .venv
echo /opt/packages > .venv/lib/python3.{sys.version_info.minor}/site-packages/all.pth
for name in flask gunicorn; do
    module=flask.cli call=main
    [ $name = flask ] || module=gunicorn.app.wsgiapp call=run
    printf '#!/opt/crier/.venv/bin/python\\nimport sys\\nfrom %s import %s\\nsys.exit(%s())\\n' \
        $module $call $call > .venv/bin/$name
    chmod +x .venv/bin/$name
done
"""

pytestmark = needs_isolation


class Installed:
    """A machine after the steps of the page, and the token that the last of them printed."""

    def __init__(self, host: IsolatedMachine, token: str) -> None:
        self.host = host
        self.token = token

    def curl(self, path: str, *options: str) -> str:
        header = f"Authorization: Bearer {self.token}"
        words = ["curl", "-sS", "-H", f"'{header}'", *options, f"http://127.0.0.1{path}"]
        return self.host.run(" ".join(words)).stdout

    def ask(self, path: str, *options: str) -> Any:
        with suppress(ValueError):
            return json.loads(self.curl(path, *options))
        return None


@pytest.fixture(scope="module")
def machine() -> Iterator[Installed]:
    with isolated.new() as host:
        host.run(f"cat > /opt/stubs/make <<'END'\n{MAKE}\nEND\nchmod +x /opt/stubs/*")
        # Debian's own site, which a package without it, such as nginx of nginx.org, does not bring.
        host.run("[ -e /etc/nginx/sites-enabled/default ]")
        token = host.run(STEPS).stdout.split()[-1]
        installed = Installed(host, token)
        until(lambda: (installed.ask("/readyz") or {}).get("status"))
        yield installed


def test_the_site_is_crier_and_no_longer_debians(machine: Installed) -> None:
    assert machine.ask("/healthz")["message"] == "This process is alive."
    assert machine.ask("/nowhere")["status"] is False


def test_a_broadcast_with_a_picture_goes_out_and_nginx_serves_the_picture(
    machine: Installed,
) -> None:
    picture = "/opt/crier/service/static/demo/evening.jpeg"
    attachment = machine.ask("/attachment", "-F", f"file=@{picture}")["data"]
    message = {"text": "Hello", "attachments": [attachment["_id"]]}
    order = {"send_type": "individual", "to": "12025550110", "message": message}
    made = machine.ask("/broadcast", "--data", f"'{json.dumps(order)}'")["data"]
    path = f"/broadcast/{made['_id']}"
    until(lambda: machine.ask(path)["data"]["status"] == "completed")
    served = machine.host.run(
        f"curl -sS http://127.0.0.1{attachment['path'].removeprefix('.')} | cmp - {picture}"
    )
    assert served.returncode == 0


def test_the_service_runs_as_its_own_user_and_owns_what_it_keeps(machine: Installed) -> None:
    users = machine.host.run("ps -eo user:20,args | grep '[g]unicorn' | cut -d' ' -f1").stdout
    assert {*users.split()} == {"crier"}
    foreign = machine.host.run("find /var/lib/crier ! -user crier").stdout
    assert foreign == ""


@pytest.mark.parametrize("user", ["www-data", "nobody"])
@pytest.mark.parametrize(
    "path",
    ["/etc/crier.env", "/var/lib/crier/crier.db", "/var/lib/crier/secret.key"],
)
def test_nobody_else_reads_settings_databases_and_keys(
    machine: Installed, user: str, path: str
) -> None:
    settings = {"base_url": "https://waha.example", "api_key": "made-up"}
    order = {"name": f"{user} {path}", "channel": "waha", "settings": settings}
    # The first secret makes the key.
    assert machine.ask("/session", "--data", f"'{json.dumps(order)}'")["status"] is True
    machine.host.run(f"head -c 1 {path}", user="crier")
    refused = machine.host.run(f"head -c 1 {path}", user=user, check=False)
    assert "Permission denied" in refused.stderr


def test_root_is_sent_to_the_services_user_and_makes_no_second_database(
    machine: Installed,
) -> None:
    refused = machine.host.run(".venv/bin/flask client list", check=False)
    assert refused.returncode != 0
    assert "runuser -u crier --" in refused.stderr
    assert machine.host.run("find /opt/crier -name '*.db'").stdout == ""
    listed = machine.host.run("runuser -u crier -- .venv/bin/flask client list").stdout
    assert "acme" in listed


def test_without_settings_a_command_makes_no_second_database(machine: Installed) -> None:
    refused = machine.host.run(
        "cd /mnt && /opt/crier/.venv/bin/flask --app /opt/crier/wsgi client list", check=False
    )
    assert "There is no database /mnt/var/crier.db" in refused.stderr


def test_a_dispatcher_of_its_own_takes_over(machine: Installed) -> None:
    machine.host.run(
        "sed -i s/^DISPATCH=.*/DISPATCH=off/ /etc/crier.env\n"
        "systemctl enable --now crier-dispatch\nsystemctl restart crier-web"
    )
    until(lambda: "flask dispatch" in machine.curl("/readyz"))
    order = {"send_type": "individual", "to": "12025550110", "message": {"text": "Hello"}}
    made = machine.ask("/broadcast", "--data", f"'{json.dumps(order)}'")["data"]
    until(lambda: machine.ask(f"/broadcast/{made['_id']}")["data"]["status"] == "completed")


def test_a_python_of_root_alone_is_told_when_the_environment_is_made(machine: Installed) -> None:
    said = machine.host.run(
        "mkdir -p /root/bin /opt/other && cp Makefile /opt/other && cd /opt/other\n"
        "printf '#!/bin/sh\\n[ $1 != -m ] || { mkdir -p $3/bin && ln -s $0 $3/bin/python; }\\n'"
        " > /root/bin/python\nchmod +x /root/bin/python\n"
        "/usr/bin/make PYTHON=/root/bin/python .venv/bin/python"
    ).stdout
    assert "Only root can run" in said
    assert "PYTHON=/usr/bin/python3" in said


def test_the_steps_are_those_of_a_machine_with_debians_own_site() -> None:
    assert "rm /etc/nginx/sites-enabled/default" in STEPS
    assert re.search("^systemctl restart nginx$", STEPS, re.MULTILINE)
