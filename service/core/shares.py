"""Even shares of a total, by client and then by session."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def even(wanted: Mapping[str, int], room: int) -> dict[str, int]:
    """Divide room evenly, up to what each wants; what one leaves goes to the others."""
    shares: dict[str, int] = {}
    # Those that want the least go first: the others share what they leave.
    for place, name in enumerate(sorted(wanted, key=wanted.__getitem__)):
        shares[name] = min(wanted[name], -(-room // (len(wanted) - place)))
        room -= shares[name]
    return shares


def among_sessions(owners: Iterable[tuple[str, str]], room: int) -> dict[str, int]:
    """Divide room evenly among clients, then among their sessions, given as pairs of both ids."""
    clients: dict[str, dict[str, int]] = {}
    for client_id, session_id in owners:
        clients.setdefault(client_id, {})[session_id] = room
    parts = even(dict.fromkeys(clients, room), room)
    return {
        session_id: share
        for client_id, part in parts.items()
        for session_id, share in even(clients[client_id], part).items()
    }
