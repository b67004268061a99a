"""The upgrade: the tables go on to a version that the running service does not know, and back."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config

from benchmarks.workspace import ROOT
from service.config import Settings
from service.database import Database

_VERSIONS = ROOT / "migrations" / "versions"
_OURS = Path(__file__).resolve().parent / "revisions"


class Upgrade:
    """The migration in `revisions`, carried out the way the project's own are."""

    def __init__(self, data: Path, url: str) -> None:
        """Take the service's folder and the URL of its database."""
        self._settings = Settings(data_dir=data, database_url=url)
        self._config = Config(ROOT / "alembic.ini")
        folders = os.pathsep.join(map(str, (_VERSIONS, _OURS)))
        self._config.set_main_option("version_locations", folders.replace("%", "%%"))

    def go_on(self) -> None:
        """Migrate to the next version; raises what the database raises."""
        self._run(command.upgrade, "chaos_add_notes")

    def go_back(self) -> None:
        """Migrate to the version of this code again, as `go_on`."""
        newest = max(path.stem for path in _VERSIONS.glob("[0-9]*.py"))
        self._run(command.downgrade, newest)

    def _run(self, migrate: Callable[[Config, str], None], revision: str) -> None:
        """Do what `flask migrate` does (service/cli/migrations.py)."""
        database = Database(self._settings)
        try:
            with database.writer.connect() as connection:
                self._config.attributes["connection"] = connection
                migrate(self._config, revision)
        finally:
            database.dispose()
