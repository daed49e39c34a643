"""The time of an import: many conversations of another system, out of one file."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.peers import Peer
from bench.rounds import Meter, Spent
from holdfast.histories import import_histories, read_file

SESSIONS = 1000
EACH = 100
"""The number of messages of a session."""

_WORDS = "What a customer wants to know of an order, and what the shop says to it. " * 3


def importing(peer: Peer, meter: Meter, sessions: int = SESSIONS) -> dict[str, Any]:
    """Measure an import of `sessions` conversations of 100 messages each, with times."""
    spent: list[Spent] = []
    with TemporaryDirectory() as folder, peer.opened() as (saver, _):
        file = Path(folder) / "sessions.json"
        file.write_text(json.dumps({f"session-{number}": _messages(number) for number in range(sessions)}), "utf-8")
        with meter.timing(spent):
            added = sum(one.messages for one in import_histories(saver, read_file(file)))
    if added != sessions * EACH:
        raise AssertionError(f"{added} messages of {sessions * EACH} were imported")
    [(wall, cpu, all_cpu)] = spent
    return {"messages": added, "sessions": sessions, "wall_s": wall, "cpu_s": cpu, "all_cpu_s": all_cpu}


def _messages(session: int) -> list[dict[str, Any]]:
    begin = 1.6e9 + session * 86_400
    return [
        {"role": ("user", "assistant")[no % 2], "content": f"{session} {no} {_WORDS}", "timestamp": begin + no}
        for no in range(EACH)
    ]
