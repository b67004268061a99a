"""How gunicorn's workers end."""

from __future__ import annotations

import os
import runpy
import signal
import threading
from contextlib import closing

from gunicorn.config import Config
from gunicorn.glogging import Logger

from tests.serving import ROOT


def test_ctrl_c_ends_a_worker_that_is_handing_a_request_to_its_threads() -> None:
    config = Config()
    worker_class = runpy.run_path(str(ROOT / "gunicorn.conf.py"))["Worker"]
    worker = worker_class(1, os.getppid(), [], None, 30, config, Logger(config))
    worker.tpool = worker.get_thread_pool()
    worker.method_queue.init()
    interrupted = worker.tpool._shutdown_lock  # noqa: SLF001 - the main thread may hold it
    handler = threading.Thread(target=worker.handle_quit, args=(signal.SIGINT, None), daemon=True)
    with closing(worker.tmp), closing(worker.method_queue), interrupted:
        handler.start()
        handler.join(60)
    assert not worker.alive
    assert not handler.is_alive()
