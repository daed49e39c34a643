"""For code inside a run: its checkpointer, its id, and an executor for what blocks."""

from __future__ import annotations

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.config import get_config

from holdfast.checkpoints.backends.executor import run_in_own_executor
from holdfast.checkpoints.config import run_of
from holdfast.checkpoints.langgraph_internals import CONFIG_KEY_CHECKPOINTER, NS_SEP, inner_saver
from holdfast.checkpoints.saver import HoldfastSaver

__all__ = ["note_prompt", "run_in_own_executor", "run_of", "running_saver", "unwrap_saver"]


def running_saver(config: RunnableConfig | None = None) -> Any:
    """Return the checkpointer that a run saves to, or `None` if it has none. Subgraphs inherit it.

    Args:
        config: the config of the run; by default that of the current run, for code inside a node.
    """
    if config is None:
        try:
            config = get_config()
        except RuntimeError:  # not inside a run
            return None
    return unwrap_saver(config.get("configurable", {}).get(CONFIG_KEY_CHECKPOINTER))


def note_prompt(config: RunnableConfig, prompt: str) -> None:
    """Note the system prompt that an agent gives its model; see `HoldfastSaver.note_prompt`.

    The prompt of an agent that is part of another graph is not the prompt of the thread.
    """
    saver = running_saver(config)
    if isinstance(saver, HoldfastSaver) and NS_SEP not in config["configurable"].get("checkpoint_ns", ""):
        saver.note_prompt(config, prompt)


def unwrap_saver(saver: Any) -> Any:
    """Return the checkpointer inside the adapter of LangGraph's server; return any other object unchanged."""
    inner = inner_saver(saver)
    return inner if isinstance(inner, BaseCheckpointSaver) else saver
