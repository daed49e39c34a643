"""Logs as JSON, one object a line."""

from __future__ import annotations

import hashlib
import json
import logging
from datetime import UTC, datetime
from typing import Any, Final

from holdfast.checkpoints.errors.logged import places_in
from holdfast.checkpoints.langgraph_internals import running_step
from holdfast.worker.turns import RUN

FIELDS: Final = (
    "request", "user", "method", "route", "thread", "run", "step", "node", "status", "duration_ms", "first_text_ms",
    "trace",
)  # fmt: skip
"""What a record may tell beside its message, given as `extra={"holdfast": {…}}`.

What is logged within a step of a graph tells its thread, its run, the number of the step and the node.
"""

_OURS: Final = ("holdfast", "uvicorn")
_OTHERS: Final = "A message of another library is not logged: it may hold a text."


class JsonFormatter(logging.Formatter):
    """Writes a record as JSON in one line.

    Of an exception it tells the type and the places in the code, and not the message, which may hold what a user said.
    Of a record of another library it tells not the message either, for the same reason.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        found: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage() if record.name.partition(".")[0] in _OURS else _OTHERS,
        }
        given = {**_where(), **getattr(record, "holdfast", {})}
        found |= {name: given[name] for name in FIELDS if given.get(name) is not None}
        if record.exc_info and record.exc_info[0] is not None:
            kind, _, trace = record.exc_info
            found["error"] = kind.__name__
            found["at"] = places_in(trace)
        return json.dumps(found, ensure_ascii=False, default=str)


def _where() -> dict[str, Any]:
    """Return what the code that logs is part of: a run that was accepted, and a step of a graph."""
    run = RUN.get()
    found = {} if run is None else {"thread": run.thread_id, "run": run.run_id}
    return found | {name: value for name, value in running_step().items() if value is not None}


def configure_logs() -> None:
    """Let all logs of this process be JSON lines, and those of Holdfast tell of each request."""
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.StreamHandler())
    for handler in (*root.handlers, *logging.getLogger("uvicorn").handlers):
        handler.setFormatter(JsonFormatter())
    logging.getLogger("holdfast").setLevel(logging.INFO)


def pseudonym(user_id: str) -> str:
    """Return what stands for a user in logs: the same for the same user. Who guesses the id can check the guess."""
    return hashlib.blake2b(user_id.encode("utf-8", "surrogatepass"), digest_size=8, person=b"holdfast").hexdigest()
