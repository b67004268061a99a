"""Clients that others' programs generate from the description, without a warning."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.config import Settings
from service.core import tokens
from service.core.tokens import Scope
from service.database import Database
from tests.conftest import on_sqlite
from tests.node import PROGRAMS, needs_node, run
from tests.serving import Server, running
from tests.world import World

pytestmark = [needs_node, on_sqlite]

STRICT = ("--strict", "--target", "es2022", "--lib", "es2022,dom,dom.iterable", "--skipLibCheck")

USES_TYPES = """
import type { operations } from "./types";

type Answer = operations["createBroadcast"]["responses"][201]["content"]["application/json"];
export const id = (answer: Answer): string => answer.data._id;
export const sent = (answer: Answer): string[] => answer.data.sent;
"""


@pytest.fixture
def world(settings: Settings, database: Database) -> World:
    return World(settings, database)


@pytest.fixture
def server(world: World) -> Iterator[Server]:
    server = Server(world.settings)
    world.session()
    with running(server):
        yield server


@pytest.fixture
def description(server: Server, tmp_path: Path) -> Path:
    status, description = server.ask("GET", "/openapi.json")
    assert status == 200
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(description))
    return file


def is_quiet(said: str) -> bool:
    return not any(word in said.lower() for word in ("warn", "error", "⚠"))


def test_a_client_of_hey_api_is_generated_compiled_and_used(
    world: World, server: Server, description: Path, tmp_path: Path
) -> None:
    said = run(PROGRAMS / "openapi-ts", "-i", description, "-o", "ts", folder=tmp_path)
    assert is_quiet(said), said
    commonjs = ("--module", "commonjs", "--moduleResolution", "node10", "--outDir", "js")
    run(PROGRAMS / "tsc", *STRICT, *commonjs, "ts/index.ts", folder=tmp_path)
    with world.database.writing() as db:
        _, token = tokens.create(db, world.client_id, "test", [Scope.SEND])
    done: dict[str, Any] = json.loads(
        run("node", "use.cjs", tmp_path / "js", server.address, token)
    )
    assert done["listed"] == [done["contact"]]
    assert done["shown"] == {"text": "Hello"}
    assert (done["status"], "no contact" in done["reason"]) == (404, True)


def test_the_types_of_openapi_typescript_name_every_operation(
    description: Path, tmp_path: Path
) -> None:
    said = run(PROGRAMS / "openapi-typescript", description, "-o", "types.ts", folder=tmp_path)
    assert is_quiet(said), said
    (tmp_path / "uses.ts").write_text(USES_TYPES)
    run(PROGRAMS / "tsc", *STRICT, "--noEmit", "uses.ts", folder=tmp_path)
