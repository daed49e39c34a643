"""What a LangGraph config names."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from langchain_core.runnables import RunnableConfig

from holdfast.checkpoints.errors import InvalidThread
from holdfast.checkpoints.serde.jsonb import storable
from holdfast.checkpoints.serde.messages import is_sql_text

# A key of three parts must stay below the 2,704 bytes that PostgreSQL can index.
_LONGEST_THREAD_ID: Final = 1024
_LONGEST_USER_ID: Final = 1024  # it is in an index, of which PostgreSQL can hold 2,704 bytes


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


def user_of(user_id: Any) -> str | None:
    """Who talks, as a text; `None` if nobody is named.

    Raises:
        InvalidThread: it is none that every database can hold and look up. Another one in its place could be somebody.
    """
    text = _text_of(user_id)
    if text and not _is_user(text):
        shown = text if len(text) <= 40 else text[:40] + "…"
        raise InvalidThread(
            f"The user_id {shown!r} cannot be used. Needed: 1 to {_LONGEST_USER_ID:,} bytes of text without NUL."
        )
    return text or None


def user_text(user_id: Any) -> str | None:
    """`user_of`, of what is stored already: `None` for what cannot be used."""
    text = _text_of(user_id)
    return text if text and _is_user(text) else None


def asked_user(user_id: Any) -> str | None:
    """Whose something must be, as it is stored; `None` for anybody's. Of `""` nothing is."""
    return None if user_id is None else user_text(user_id) or ""


def _text_of(user_id: Any) -> str:
    return "" if user_id is None else str(user_id)


def _is_user(text: str) -> bool:
    return is_sql_text(text) and len(text.encode()) <= _LONGEST_USER_ID


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
