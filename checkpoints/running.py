"""The checkpointer of the run that is going on."""

from __future__ import annotations

from typing import Any

from langgraph.config import get_config

from checkpoints.saver import HoldfastSaver


def running_saver() -> Any:
    """The checkpointer that the present run saves to, for code inside of a node; `None` if there is none.

    Subgraphs inherit it. LangGraph's server puts an adapter around it, which is taken off if a `HoldfastSaver` is in
    it.
    """
    try:
        saver = get_config().get("configurable", {}).get("__pregel_checkpointer")
    except RuntimeError:  # not inside a run
        return None
    # The server's adapter keeps the saver that it adapts under this name; a test asks the real server.
    inner = getattr(saver, "__dict__", {}).get("_inner")
    return inner if isinstance(inner, HoldfastSaver) else saver
