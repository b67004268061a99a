"""How gunicorn runs the service: it is read from the folder in which gunicorn starts.

Each worker that sends has a process beside it in which its dispatcher works. Neither stays without
the other.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dotenv import load_dotenv
from gunicorn.arbiter import Arbiter

from service.gunicorn_worker import Worker

if TYPE_CHECKING:
    from service.parts import Crier


def _number(name: str, default: int) -> int:
    given = os.environ.get(name) or str(default)
    if not (given.isdecimal() and int(given) > 0):
        sys.exit(f"Crier cannot start: {name} must be a whole number of 1 or more, not {given!r}.")
    return int(given)


def _port() -> int:
    given = os.environ.get("PORT") or "8000"
    if not (given.isdecimal() and int(given) < 1 << 16):
        sys.exit(f"Crier cannot start: PORT must be a number of 0 to 65535, not {given!r}.")
    return int(given)


# As the settings of the service, see service.config.load.
load_dotenv(Path(".env").resolve())

bind = (os.environ.get("BIND") or f"127.0.0.1:{_port()}").split(",")
workers = _number("WEB_CONCURRENCY", 1)
threads = _number("WEB_THREADS", 8)
timeout = 60
graceful_timeout = _number("GRACEFUL_TIMEOUT", 30)
keepalive = 5
# As nginx takes them by default.
limit_request_line = 8190
# The heartbeat files of workers belong in memory: on a slow disk a worker could seem dead.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: PTH112, S108
# No control socket in the home folder of whoever starts the service.
control_socket_disable = True
# Who is believed about the caller is for TRUSTED_PROXIES alone to say: gunicorn would also believe
# whatever comes from this machine or by a socket.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""
# The service logs each request itself, with what its operators ask for.
accesslog = None


worker_class = Worker


def _crier(worker: Worker) -> Crier:
    return worker.app.wsgi().extensions["crier"]  # type: ignore[no-any-return]


def post_worker_init(worker: Worker) -> None:
    """Start counting in a fresh worker, and dispatching beside it."""
    worker.crier = crier = _crier(worker)
    crier.database.dispose(close=False)
    # Not above: what is imported before the application is not read anew when workers reload.
    from service import parts  # noqa: PLC0415
    from service.dispatch import memory  # noqa: PLC0415
    from service.metrics import meters  # noqa: PLC0415

    memory.settle()
    may_send = _may_send(worker, crier)
    if crier.settings.dispatch == "threads" and may_send:
        crier.database.dispose()
        worker.start_dispatcher(crier, partial(parts.make_dispatcher, crier))
    elif crier.settings.dispatch == "procrastinate":
        _insist_on_a_queue(worker, crier)
    meters.share(crier.settings.metrics_dir)
    crier.places.limit_to(worker.cfg.threads)


def worker_exit(_server: Any, worker: Worker) -> None:
    """Finish what is under way before a worker goes."""
    if crier := worker.crier:
        if worker.has_lost_dispatcher:
            worker.log.error("The dispatcher has ended: this worker ends, too, and another begins.")
        crier.dispatcher.stop(crier.settings.grace)
        crier.database.dispose()


def _may_send(worker: Worker, crier: Crier) -> bool:
    """Log what /readyz will complain of; return False if this process has another service's key.

    Tables may be made later. Such a key cannot be mended without a restart.
    """
    from service import parts  # noqa: PLC0415 - as above
    from service.database import OUT_OF_REACH  # noqa: PLC0415 - as above

    with suppress(*OUT_OF_REACH):
        if problem := parts.migration_problem(crier.database.engine):
            worker.log.error(problem)
        elif closed := parts.unopened(crier):
            worker.log.error(closed.sentence())
            return not closed.is_foreign
    return True


def _insist_on_a_queue(worker: Worker, crier: Crier) -> None:
    """End gunicorn, and say why, where no job can be left; if the database is away, that passes."""
    from service.core import jobs  # noqa: PLC0415 - as above
    from service.database import OUT_OF_REACH  # noqa: PLC0415 - as above

    with suppress(*OUT_OF_REACH), crier.database.reading() as db:
        if problem := jobs.problem(db):
            worker.log.error(problem)
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
