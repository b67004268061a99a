"""Traffic: client programs that post every order until it is accepted, and others that look."""

from __future__ import annotations

import threading
import time
from http import HTTPStatus
from queue import Empty, SimpleQueue
from typing import Any

from chaos.api import Api
from chaos.plan import Order, Plan

_POSTERS = 4
_LOOK_EVERY = 0.1
_AGAIN_AFTER = 0.2


class Traffic:
    """Threads that use the service; `accepted` are the ids of broadcasts by order number.

    `accepted_at` says when each was answered, in seconds of Unix time.
    """

    def __init__(
        self, plan: Plan, api: Api, session_ids: dict[str, str], orders: list[Order]
    ) -> None:
        self._plan = plan
        self._api = api
        self._session_ids = session_ids
        self.orders = orders
        self._queue: SimpleQueue[Order] = SimpleQueue()
        for order in orders:
            self._queue.put(order)
        self._start = 0.0
        self._given_up = threading.Event()
        self._over = threading.Event()
        self._posters = [
            threading.Thread(target=self._post_all, name=f"poster-{number}")
            for number in range(_POSTERS)
        ]
        self._looker = threading.Thread(target=self._look, name="looker")
        self.accepted: dict[int, str] = {}
        self.accepted_at: dict[int, float] = {}
        self.refused: list[str] = []
        self.changed: list[str] = []

    def start(self) -> None:
        """Begin."""
        self._start = time.monotonic()
        for thread in (*self._posters, self._looker):
            thread.start()

    def finish(self, timeout: float) -> None:
        """Wait until every order is accepted, up to a limit."""
        deadline = time.monotonic() + timeout
        for poster in self._posters:
            poster.join(max(0.0, deadline - time.monotonic()))
        self.stop()

    def stop(self) -> None:
        """End all threads."""
        self._given_up.set()
        self._over.set()
        for thread in (*self._posters, self._looker):
            if thread.ident is not None:
                thread.join()

    def _post_all(self) -> None:
        while not self._given_up.is_set():
            try:
                order = self._queue.get_nowait()
            except Empty:
                return
            self._given_up.wait(max(0.0, self._start + order.due - time.monotonic()))
            self._post(order)

    def _post(self, order: Order) -> None:
        """Post an order, under the same key until it is answered for good."""
        body = order.body(self._session_ids[order.session])
        key = f"chaos-{self._plan.seed}-{order.number}"
        while not self._given_up.is_set():
            answer = self._api.post("/broadcast", body, key)
            if answer.status == HTTPStatus.CREATED:
                self.accepted_at[order.number] = answer.ended
                self.accepted[order.number] = answer.data["_id"]
                return
            if HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                self.refused.append(f"{answer.status}: {answer.text[:300]}")
                return
            self._given_up.wait(_AGAIN_AFTER)

    def _look(self) -> None:
        """Read the list and single broadcasts, whose counts may only go forward."""
        chance = self._plan.random("looker")
        before: dict[str, int] = {}
        while not self._over.wait(_LOOK_EVERY):
            known = list(self.accepted.values())
            if not known or chance.random() < 0.2:  # noqa: PLR2004 - one look in five
                self._api.get("/broadcast?page_size=5&sort=-createdAt")
                continue
            answer = self._api.get(f"/broadcast/{chance.choice(known)}")
            if answer.status == HTTPStatus.OK:
                self._compare(answer.data, before)

    def _compare(self, broadcast: dict[str, Any], before: dict[str, int]) -> None:
        counts = broadcast["counts"]
        final = counts["total"] - counts["pending"]
        if final < before.get(broadcast["_id"], 0) or counts["pending"] < 0:
            self.changed.append(f"{broadcast['_id']}: {counts} after {before[broadcast['_id']]}")
        before[broadcast["_id"]] = final
