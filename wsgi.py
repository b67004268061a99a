"""The entry point for WSGI servers: `gunicorn wsgi:app`."""

import sys

from service.app import create_app
from service.config import SettingError

try:
    app = create_app()
except SettingError as error:
    sys.exit(f"Crier cannot start: {error}. README.md lists the settings.")
