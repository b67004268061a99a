"""The entry point for WSGI servers: `gunicorn wsgi:app`."""

import os
import sys

from service.app import create_app
from service.config import SettingError

# What the service keeps, telephone numbers among it, is nobody else's on this machine.
os.umask(0o027)

try:
    app = create_app()
except (SettingError, OSError) as error:
    sys.exit(f"Crier cannot start: {error}. README.md lists the settings.")
