"""The entry point for WSGI servers: `gunicorn wsgi:app`."""

import os
import sys
from typing import NoReturn

from service.app import create_app
from service.config import SettingError

_APP_LOAD_ERROR = 4
"""What gunicorn takes for an application that no further try will load: it ends."""


def refuse(reason: str) -> NoReturn:
    """End, and say why."""
    problem = reason.rstrip(".")
    sys.stderr.write(f"Crier cannot start: {problem}. docs/settings.md lists the settings.\n")
    sys.exit(_APP_LOAD_ERROR)


# What the service keeps, telephone numbers among it, is nobody else's on this machine.
os.umask(0o077)

try:
    app = create_app()
except SettingError as error:
    refuse(str(error))
except OSError as error:
    refuse(f"{error.filename}: {error.strerror}; DATA_DIR must be a folder that may be written to")
