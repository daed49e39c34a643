"""The index of threads: what each save changes of a thread's own row, in the transaction that saves.

Whose a thread is, what it is called, how much was said in it and whether its last run has ended can then be listed
without opening a checkpoint.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from holdfast.checkpoints.backends.base import Call, Row
from holdfast.checkpoints.config import user_text
from holdfast.checkpoints.core.cache import Known
from holdfast.checkpoints.core.placement import Placement, RowOwner
from holdfast.checkpoints.langgraph_internals import BRANCH_TO, OF_THE_RUN, START, TASKS
from holdfast.checkpoints.serde.messages import sql_text
from holdfast.checkpoints.serde.values import MessageList
from holdfast.checkpoints.sql import Statements

LONGEST_TITLE: Final = 80
LONGEST_GIVEN_TITLE: Final = 200

# What a terminal would obey. Others that cannot be seen stay: they join emoji.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_PROMPT_PERSON: Final = b"holdfast-prompt"


class ThreadRow(NamedTuple):
    """A thread's own row, as the statement `lock_thread` gives it."""

    generation: int
    next_seq: int
    deleted: bool
    user_id: str | None
    title: str | None
    metadata: str | None
    head: str | None
    """Its newest root checkpoint; `None` if the thread is not in the index."""
    live_from: int
    """Rows before this one are not said again."""
    prompt: bytes | None
    """Digest of the system prompt in force."""


class IndexFields(NamedTuple):
    """What a root checkpoint says of its thread."""

    user_id: str | None
    """In whose run it was made."""
    metadata: Mapping[str, Any]
    """What the run was given besides."""
    unfinished: bool
    """Whether it has tasks that are to be done."""


def index_fields(metadata: Mapping[str, Any], values: Mapping[str, Any]) -> IndexFields:
    """
    Args:
        metadata: of the checkpoint, as they are stored.
        values: of its channels.
    """
    own = {name: value for name, value in metadata.items() if name not in OF_THE_RUN and name != "user_id"}
    return IndexFields(user_text(metadata.get("user_id")), own, is_unfinished(values))


def is_unfinished(values: Mapping[str, Any]) -> bool:
    """Whether a checkpoint with these values has tasks that are to be done: LangGraph marks them in channels."""
    return bool(values.get(TASKS)) or any(channel == START or channel.startswith(BRANCH_TO) for channel in values)


def title_of(text: str) -> str | None:
    """The first words of a text, in one line; `None` if it has none."""
    words = _in_a_line(text[: 8 * LONGEST_TITLE])
    if len(words) <= LONGEST_TITLE:
        return words or None
    cut = words[: LONGEST_TITLE - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut[LONGEST_TITLE // 2 :] else cut) + "…"


def given_title(title: str) -> str:
    """A title as somebody gave it, in one line.

    Raises:
        ValueError: it is empty, or longer than 200 characters.
    """
    found = sql_text(_in_a_line(title))
    if not 0 < len(found) <= LONGEST_GIVEN_TITLE:
        raise ValueError(f"A title has 1 to {LONGEST_GIVEN_TITLE} characters; found {len(found)}.")
    return found


def first_title(words: Iterable[Row]) -> str | None:
    """The title that the first of some texts gives which has words in it, from rows of the statement `first_words`."""
    return next((title for (text,) in words if (title := title_of(text))), None)


def _in_a_line(text: str) -> str:
    return " ".join(_CONTROL.sub(" ", text).split())


def prompt_digest(prompt: str) -> bytes:
    """What a system prompt is known again by."""
    return blake2b(prompt.encode("utf-8", "replace"), digest_size=16, person=_PROMPT_PERSON).digest()


def update_thread_row(
    sql: Statements,
    home: RowOwner,
    locked: ThreadRow,
    found: IndexFields | None,
    placement: Placement,
    lists: Iterable[MessageList],
    words: Iterable[Row] = (),
    *,
    enters: bool,
) -> list[Call]:
    """The call that brings a thread's own row up to date with a save, if it changes.

    Args:
        sql: the statements.
        home: what is saved, and where.
        locked: the row as it is.
        found: what the checkpoint says of the thread; `None` unless it is one of the root.
        placement: which rows are new.
        lists: the messages that are saved.
        words: what people said besides that becomes part of the conversation, as rows of one text.
        enters: whether the thread comes into the index from before: then whose it is and what was said in it first is
            not in this save.
    """
    counts = {"thread_id": home.thread_id, "next_seq": placement.next_seq, "bytes": placement.bytes}
    if found is None:
        # Nothing by which threads are listed changes, so no index does.
        return [(sql["count_rows"], counts)] if placement.new_rows or locked.deleted else []
    title = _first_words(lists) or first_title(words) if locked.title is None and not enters else None
    params = {
        **counts,
        "head": home.checkpoint_id,
        "unfinished": int(found.unfinished),
        "said": len(placement.said),
        "user_id": found.user_id if locked.user_id is None and not enters else None,
        "title": title,
        "metadata": _merged(locked.metadata, found.metadata),
    }
    return [(sql["touch_thread"], params)]


def record_prompt(sql: Statements, thread_id: str, locked: ThreadRow, prompt: str | None) -> list[Call]:
    """The calls that put the system prompt in force on record, if it is another one than before."""
    if prompt is None or (digest := prompt_digest(prompt)) == locked.prompt:
        return []
    return [
        add_event(sql, thread_id, "prompt", {"text": prompt}),
        (sql["set_prompt"], {"thread_id": thread_id, "prompt": digest}),
    ]


def add_event(sql: Statements, thread_id: str, kind: str, data: Mapping[str, Any], actor: str | None = None) -> Call:
    """The call that puts on record what happened in a thread besides what was said."""
    params = {"thread_id": thread_id, "kind": kind, "actor": actor, "data": json.dumps(data)}
    return sql["add_event"], params


def _merged(before: str | None, now: Mapping[str, Any]) -> str | None:
    """The metadata of a thread with those of a run; `None` if they stay as they are."""
    old = json.loads(before) if before else {}
    new = {**old, **now}
    return json.dumps(new) if new != old else None


def _first_words(lists: Iterable[MessageList]) -> str | None:
    """What a person said first in some messages."""
    for _, messages in lists:
        for message in messages:
            if isinstance(message, Known):
                if message.message.type == "human" and (title := title_of(message.message.text)):
                    return title
            elif message.row.role == "human" and (title := title_of(message.row.content or "")):
                return title
    return None
