"""What a LangGraph config names."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from langchain_core.runnables import RunnableConfig

from checkpoints.errors import InvalidThread
from checkpoints.jsonb import storable
from checkpoints.messages import sql_text

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


def user_text(user_id: Any) -> str | None:
    """Who talks, as a text that every database can hold; `None` if nobody is named."""
    return None if user_id is None or user_id == "" else sql_text(str(user_id))


def run_of(config: RunnableConfig) -> str | None:
    """The run in whose name something is saved, as a text; `None` if none is named."""
    metadata = config.get("metadata") or {}
    return run_text(metadata.get("run_id", config["configurable"].get("run_id")))


def run_text(run_id: Any) -> str | None:
    """A run's id as a text, which may be another type: as PostgreSQL has it for one that lies in JSON. `None` for what
    is no id."""
    match storable(run_id):
        case str() as text:
            return text
        case bool() as flag:
            return "true" if flag else "false"
        case int() | UUID() as id_:
            return str(id_)
        case float() as number:
            return format(Decimal(repr(number)), "f")
    return None


def run_value(run_id: str) -> str | float:
    """What in JSON may have this text, for SQLite, which compares it with its type."""
    try:
        value = json.loads(run_id)
    except ValueError:
        return run_id
    if not isinstance(value, (int, float)):
        return run_id
    return value if abs(value) < 2**63 else float(value)
