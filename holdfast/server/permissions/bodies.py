"""What the bodies of requests to LangGraph's server name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def named_threads(value: Any) -> Iterator[str]:
    """Yield the ids of threads that a request to prune threads, or to cancel runs, names."""
    fields: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
    several = fields.get("thread_ids")
    for thread_id in (*(several if isinstance(several, list) else ()), fields.get("thread_id")):
        if thread_id is not None:
            yield str(thread_id)


def other_thread(value: Any, thread_id: str | None) -> bool:
    """Return whether a request to start runs names another thread than its path does, in a config or a checkpoint."""
    runs = list(value) if isinstance(value, list) else [value]
    runs += [run.get("params") for run in runs if isinstance(run, Mapping)]  # of a command
    for run in (run for run in runs if isinstance(run, Mapping)):
        config = run.get("config")
        places = [run.get("checkpoint"), run.get("context")]
        places += [config.get("configurable")] if isinstance(config, Mapping) else []
        for place in places:
            if isinstance(place, Mapping) and str(place.get("thread_id", thread_id)) != str(thread_id):
                return True
    return False
