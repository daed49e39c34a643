"""The thread, namespace, user and run that a LangGraph config names."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointMetadata, get_serializable_checkpoint_metadata

from holdfast.checkpoints.errors import InvalidThread
from holdfast.checkpoints.serde.jsonb import storable
from holdfast.checkpoints.serde.messages import is_sql_text

# PostgreSQL can index 2,704 bytes. A checkpoint's key has three parts, and a user is in an index as well.
_LONGEST_THREAD_ID: Final = 1024
_LONGEST_USER_ID: Final = 1024


def thread_of(config: RunnableConfig) -> str:
    """Return the `thread_id` of a config as text.

    Raises:
        InvalidThread: it is missing, or cannot be a key.
    """
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
    """Return the checkpoint namespace of a config: `""` for the root graph."""
    ns: str = config["configurable"].get("checkpoint_ns") or ""
    return ns


def user_of(user_id: Any) -> str | None:
    """Return the id of a user as text; `None` if no user is named.

    Raises:
        InvalidThread: the id cannot be stored and looked up in every database. It is refused and not changed, because
            the changed id could be that of another user.
    """
    text = "" if user_id is None else str(user_id)
    if text and not _is_user(text):
        shown = text if len(text) <= 40 else text[:40] + "…"
        raise InvalidThread(
            f"The user_id {shown!r} cannot be used. Needed: 1 to {_LONGEST_USER_ID:,} bytes of text without NUL."
        )
    return text or None


def user_text(user_id: Any) -> str | None:
    """Return a stored user id as text; `None` if it is empty or cannot be used."""
    text = "" if user_id is None else str(user_id)
    return text if text and _is_user(text) else None


def asked_user(user_id: Any) -> str | None:
    """Return the user id that a query compares stored ones with.

    `None` means any user. An id that cannot be used becomes `""`, which no thread has.
    """
    return None if user_id is None else user_text(user_id) or ""


def _is_user(text: str) -> bool:
    return is_sql_text(text) and len(text.encode()) <= _LONGEST_USER_ID


def run_of(config: RunnableConfig) -> str | None:
    """Return the id of the run that a config names, as text; `None` if it names none."""
    metadata = config.get("metadata") or {}
    return run_text(metadata.get("run_id", config["configurable"].get("run_id")))


def metadata_of(config: RunnableConfig, metadata: CheckpointMetadata) -> dict[str, Any]:
    """Return the metadata of a checkpoint in their stored form, with the id of the run if one is named."""
    found: dict[str, Any] = storable(get_serializable_checkpoint_metadata(config, metadata))
    if found.get("run_id") is None and (run_id := run_of(config)) is not None:
        found["run_id"] = run_id  # it was a UUID, for which JSON has no form
    return found


def run_text(run_id: Any) -> str | None:
    """Return the id of a run, which may be of another type, as text: as PostgreSQL's `->>` returns it from JSON.

    `None` if the value cannot be an id.
    """
    if run_id is None:
        return None
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
    """Return the JSON value whose text is `run_id`. SQLite compares such values with their types."""
    try:
        value = json.loads(run_id)
    except ValueError:
        return run_id
    if not isinstance(value, (int, float)):
        return run_id
    return value if abs(value) < 2**63 else float(value)
