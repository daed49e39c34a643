"""The checkpointer of the run that is going on."""

from __future__ import annotations

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config

from holdfast.checkpoints.langgraph_internals import CONFIG_KEY_CHECKPOINTER, inner_saver
from holdfast.checkpoints.saver import HoldfastSaver


def running_saver() -> Any:
    """The checkpointer that the present run saves to, for code inside of a node; `None` if there is none.

    Subgraphs inherit it.
    """
    try:
        return saver_of(get_config())
    except RuntimeError:  # not inside a run
        return None


def saver_of(config: RunnableConfig) -> Any:
    """The checkpointer in the config of a run; `None` if there is none."""
    return unwrapped(config.get("configurable", {}).get(CONFIG_KEY_CHECKPOINTER))


def unwrapped(saver: Any) -> Any:
    """The `HoldfastSaver` inside of the adapter that LangGraph's server puts around it; anything else as it is."""
    inner = inner_saver(saver)
    return inner if isinstance(inner, HoldfastSaver) else saver
