"""The image and the compose file: what no container engine is needed to see."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import Any

import psycopg
import pytest
import yaml
from alembic import command
from alembic.config import Config
from sqlalchemy import inspect, text

from service.config import Settings
from service.database import Database
from tests.conftest import ROOT, on_postgres

DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
IGNORED = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("migrate", "web", "dispatch", "worker")
EXTRAS = {f"requirements-{extra}.txt" for extra in ("apprise", "procrastinate", "smpp")}
OF_GUNICORN = {"BIND", "PORT", "WEB_CONCURRENCY", "WEB_THREADS", "GRACEFUL_TIMEOUT"}
GROUP = "10001"
HADOLINT, DOCKER_COMPOSE = shutil.which("hadolint"), shutil.which("docker-compose")


def volumes(service: str) -> dict[str, str]:
    """Return what a service mounts, by the path at which it does."""
    mounts = (mount.split(":") for mount in SERVICES[service]["volumes"])
    return {path: source for source, path, *_ in mounts}


def pinned(name: str) -> set[str]:
    """Return the packages that a file pins, with their versions."""
    return set(re.findall(r"^([\w.-]+==[^\s;]+)", (ROOT / name).read_text(), re.MULTILINE))


def test_the_image_holds_the_pinned_packages_and_runs_as_nobody_special() -> None:
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["python:3.11-slim"] * 2
    assert "--require-hashes" in DOCKERFILE
    assert re.findall(r"^USER (.+)", DOCKERFILE, re.MULTILINE)[-1] == f"{GROUP}:{GROUP}"
    assert "\nHEALTHCHECK " in DOCKERFILE


def test_what_the_image_needs_is_not_left_out_and_all_else_is() -> None:
    assert IGNORED[1] == "*"
    kept = [line.removeprefix("!") for line in IGNORED if line.startswith("!")]
    assert all((ROOT / name).exists() for name in kept)
    assert {"service", "migrations", "wsgi.py", "gunicorn.conf.py", "alembic.ini"} <= {*kept}
    [copied] = re.findall(r"^COPY (.*) /tmp/$", DOCKERFILE, re.MULTILINE)
    assert {*copied.split()} == {"constraints.txt", "requirements.txt"} | EXTRAS
    assert {*copied.split()} <= {*kept}


def test_an_extra_is_installed_by_the_name_of_its_pins() -> None:
    [default] = re.findall(r"^ARG REQUIREMENTS=(.*)", DOCKERFILE, re.MULTILINE)
    assert '--require-hashes --requirement "/tmp/$REQUIREMENTS"' in DOCKERFILE
    assert default == "requirements.txt"
    args = SERVICES["worker"]["build"]["args"]
    assert args == {"REQUIREMENTS": f"${{REQUIREMENTS:-{default}}}"}
    base = pinned("requirements.txt")
    assert all(base <= pinned(extra) for extra in EXTRAS)


@pytest.mark.parametrize("dispatch", ["off", "procrastinate"])
def test_the_queue_is_made_with_the_tables_where_there_is_to_be_one(
    tmp_path: Path, dispatch: str
) -> None:
    flask = tmp_path / "flask"
    flask.write_text('#!/bin/sh\necho "$@"\n')
    flask.chmod(0o755)
    command = [word.replace("$$", "$") for word in SERVICES["migrate"]["command"]]
    environment = {"PATH": f"{tmp_path}:{os.defpath}", "DISPATCH": dispatch}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    wanted = ["migrate"] if dispatch == "off" else ["migrate", "engine setup"]
    assert done.stdout.splitlines() == wanted


def test_workers_come_with_their_engine_alone() -> None:
    assert SERVICES["worker"]["profiles"] == ["procrastinate"]
    assert SERVICES["dispatch"]["scale"] == "${DISPATCHERS:-1}"
    assert not [name for name, one in SERVICES.items() if name != "worker" and "profiles" in one]


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_the_image_passes_its_linter() -> None:
    subprocess.run([str(HADOLINT), str(DEPLOY / "Dockerfile")], check=True)


@pytest.mark.skipif(DOCKER_COMPOSE is None, reason="docker-compose is not installed")
def test_compose_understands_the_file(tmp_path: Path) -> None:
    # The first generation of the program does not know the name of a project.
    known = {name: value for name, value in COMPOSE.items() if name != "name"}
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump(known))
    folders = ["--project-directory", str(DEPLOY), "--file", str(tmp_path / "compose.yaml")]
    command = [str(DOCKER_COMPOSE), *folders, "config", "--quiet"]
    environment = {"PATH": os.environ["PATH"], "POSTGRES_PASSWORD": "secret"}
    subprocess.run(command, env=environment, check=True)


@pytest.mark.parametrize("service", OURS)
def test_every_variable_of_the_services_is_a_setting(service: str) -> None:
    settings = {setting.name.upper() for setting in fields(Settings)}
    assert set(SERVICES[service]["environment"]) <= settings | OF_GUNICORN
    assert all(isinstance(value, str) for value in SERVICES[service]["environment"].values())


@pytest.mark.parametrize("service", ["web", "dispatch", "worker"])
def test_nothing_starts_before_the_migration_is_through(service: str) -> None:
    awaited = SERVICES[service]["depends_on"]["migrate"]["condition"]
    assert awaited == "service_completed_successfully"
    before = SERVICES["migrate"]["depends_on"]["postgres"]["condition"]
    assert before == "service_healthy"
    assert SERVICES["migrate"]["restart"] == "no"


def test_nginx_reads_the_files_and_the_socket_where_the_service_puts_them() -> None:
    site = (DEPLOY / "nginx/crier.conf").read_text()
    environment = SERVICES["web"]["environment"]
    [socket] = re.findall(r"server unix:(\S+)", site)
    assert f"unix:{socket}" in environment["BIND"].split(",")
    assert f"location {environment['ACCEL_PREFIX']}/ {{" in site
    [files] = re.findall(r"alias (\S+)/;", site)
    assert files == f"{environment['DATA_DIR']}/attachments"
    for path in (str(PurePosixPath(socket).parent), environment["DATA_DIR"]):
        assert volumes("nginx")[path] == volumes("web")[path]
    assert SERVICES["nginx"]["group_add"] == [GROUP]
    assert environment["TRUSTED_PROXIES"] == "1"


def test_the_secret_key_and_the_files_are_the_same_for_all_of_the_service() -> None:
    data = {service: volumes(service)["/var/lib/crier"] for service in OURS}
    assert set(data.values()) == {"data"}
    assert {"data", "socket", "postgres"} == set(COMPOSE["volumes"])


@pytest.mark.parametrize("service", ["web", "dispatch", "worker"])
def test_a_container_has_more_time_to_stop_than_the_service_takes(service: str) -> None:
    graceful = runpy.run_path(str(ROOT / "gunicorn.conf.py"))["graceful_timeout"]
    stop = float(SERVICES[service]["stop_grace_period"].removesuffix("s"))
    assert stop > max(graceful, Settings().grace)


def test_only_nginx_is_reached_from_outside() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["nginx"]


def test_the_service_is_no_superuser_of_postgres(tmp_path: Path, postgres_server: str) -> None:
    """The script runs with a `psql` that hands its statements to the server of the tests."""
    psql, said = tmp_path / "psql", tmp_path / "said"
    psql.write_text(f'#!/bin/sh\necho "$@" > {said}.options\ncat > {said}.sql\n')
    psql.chmod(0o755)
    script = DEPLOY / "postgres/create-crier.sh"
    environment = {"PATH": f"{tmp_path}:{os.defpath}", "POSTGRES_PASSWORD": "it's secret"}
    subprocess.run([str(script)], env=environment, check=True)
    assert "password=it's secret" in Path(f"{said}.options").read_text()
    create, *_, reset = Path(f"{said}.sql").read_text().splitlines()
    assert reset == "ALTER ROLE postgres PASSWORD NULL;"
    role = f"crier_{os.getpid()}"
    with psycopg.connect(postgres_server.replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute(create.replace(":'password'", "'secret'").replace("crier", role).encode())
        try:
            query = "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = %s"
            assert admin.execute(query, [role]).fetchone() == (False, False, False)
        finally:
            admin.execute(f"DROP ROLE {role}".encode())


def test_postgres_makes_the_user_that_the_service_logs_in_as() -> None:
    script = "./postgres/create-crier.sh:/docker-entrypoint-initdb.d/create-crier.sh:ro"
    assert script in SERVICES["postgres"]["volumes"]
    assert "POSTGRES_USER" not in SERVICES["postgres"]["environment"]
    assert "://crier:" in SERVICES["web"]["environment"]["DATABASE_URL"]


@on_postgres
def test_whoever_owns_the_database_can_migrate_it_without_being_superuser(
    database: Database,
) -> None:
    role = f"owner_{os.getpid()}"
    with database.writer.connect() as connection:
        connection.execute(text(f"CREATE ROLE {role} NOSUPERUSER"))
        name = connection.scalar(text("SELECT current_database()"))
        connection.execute(text(f'ALTER DATABASE "{name}" OWNER TO {role}'))
        connection.execute(text(f"ALTER SCHEMA public OWNER TO {role}"))
        for table in inspect(connection).get_table_names():
            connection.execute(text(f"ALTER TABLE {table} OWNER TO {role}"))
        connection.execute(text(f"SET LOCAL ROLE {role}"))
        config = Config(ROOT / "alembic.ini")
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        command.upgrade(config, "head")
        assert connection.scalar(text("SELECT current_user")) == role
        connection.rollback()
