"""What a LangGraph config names."""

from __future__ import annotations

from typing import Any, Final

from langchain_core.runnables import RunnableConfig

from checkpoints.errors import InvalidThread
from checkpoints.jsonb import storable

# A key of three parts must stay below the 2,704 bytes that PostgreSQL can index.
_LONGEST_THREAD_ID: Final = 1024


def thread_of(config: RunnableConfig) -> str:
    """The `thread_id` as it stands in the config: it may say what was loaded."""
    thread_id = config.get("configurable", {}).get("thread_id")
    if thread_id is None:
        raise InvalidThread(
            'The config names no thread. Needed: {"configurable": {"thread_id": "…"}}, with one id per conversation.'
        )
    thread = thread_id if isinstance(thread_id, str) else str(thread_id)
    try:
        usable = 0 < len(thread.encode()) <= _LONGEST_THREAD_ID and "\0" not in thread
    except UnicodeEncodeError:  # a lone surrogate: an argument of a command that was not UTF-8
        usable = False
    if not usable:
        shown = thread if len(thread) <= 40 else thread[:40] + "…"
        raise InvalidThread(
            f"The thread_id {shown!r} cannot be used. Needed: 1 to {_LONGEST_THREAD_ID} bytes of text without NUL."
        )
    return thread


def ns_of(config: RunnableConfig) -> str:
    """The namespace: `""` for the graph itself."""
    ns: str = config["configurable"].get("checkpoint_ns") or ""
    return ns


def run_of(config: RunnableConfig) -> Any:
    """The run in whose name something is saved, as the metadata of its checkpoints say it."""
    metadata = config.get("metadata") or {}
    return storable(metadata.get("run_id", config["configurable"].get("run_id")))
