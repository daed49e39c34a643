"""The records of the thread that a conversation becomes. No I/O.

The thread looks as if an update had just given an agent all of its messages: one checkpoint, in which nothing is left
to do. The rows of the messages have the times at which they were said.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from langgraph.checkpoint.base import empty_checkpoint

from holdfast.checkpoints.backends.canonical import canonical_value
from holdfast.checkpoints.core.conflicts import checkpoint_id_at
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.moments import utc_datetime
from holdfast.checkpoints.serde.messages import MessageRow
from holdfast.checkpoints.serde.values import Attachable, Detacher
from holdfast.checkpoints.threads.histories.conversation import Conversation, Said, is_prompt
from holdfast.checkpoints.threads.index import prompt_digest, title_of
from holdfast.checkpoints.transfer.records import CHECKPOINT, EVENT, MESSAGE, THREAD, ThreadRecord, canonical_json

MESSAGES: Final = "messages"
"""The channel of the messages, as LangChain's and LangGraph's own agents name it."""


class _Row(NamedTuple):
    seq: int
    said: Said
    at: float
    row: MessageRow


def conversation_records(conversation: Conversation, database: Database, now: float) -> Iterator[ThreadRecord]:
    """Yield the records of the thread.

    Args:
        conversation: the conversation.
        database: the database, whose types the messages may hold.
        now: the time of what has no time, in epoch seconds. No checkpoint is of a later time.

    Raises:
        NotStorable: a message holds a value that cannot be stored.
    """
    times = [now if said.at is None else said.at for said in conversation.said]
    spoken = [(said, at) for said, at in zip(conversation.said, times, strict=True) if not is_prompt(said)]
    detacher = Detacher(database.types, {}, storage_filter=database.storage_filter)
    if database.storage_filter is not None:
        title = None if conversation.title is None else database.stored_text(conversation.title)
        metadata = database.storage_filter.metadata(dict(conversation.metadata))
        conversation = replace(conversation, title=title, metadata=metadata)
    value = detacher.detach(MESSAGES, [said.message for said, _ in spoken])
    for seq, draft in enumerate(detacher.drafts.values(), 1):
        draft.ref = seq
    rows = [
        _Row(seq, said, at, draft.row)
        for seq, ((said, at), draft) in enumerate(zip(spoken, detacher.drafts.values(), strict=True), 1)
    ]
    checkpoint_id = checkpoint_id_at(made_at := min(max(times), now))
    events = [*_prompts(conversation.said, times, database.stored_text), _import_event(len(rows), now)]
    yield _thread(conversation, rows, events, checkpoint_id, times)
    for row in rows:
        yield _message(row, checkpoint_id)
    for no, event in enumerate(events, 1):
        yield ThreadRecord(EVENT, {"no": no, "actor": None, **event})
    yield _checkpoint(conversation, checkpoint_id, made_at, Attachable(MESSAGES, *value.finish()))


def _prompts(said: Sequence[Said], times: Sequence[float], stored: Callable[[str], str]) -> list[dict[str, Any]]:
    """Return the system prompts as events, each after the message that it follows."""
    found, after = [], 0
    for one, at in zip(said, times, strict=True):
        if is_prompt(one):
            data = json.dumps({"text": stored(one.message.text)})
            found.append({"after_seq": after, "kind": "prompt", "data": data, "at": at})
        else:
            after += 1
    return found


def _import_event(count: int, now: float) -> dict[str, Any]:
    return {"after_seq": count, "kind": "import", "data": json.dumps({"messages": count}), "at": now}


def _thread(
    conversation: Conversation,
    rows: Sequence[_Row],
    events: Sequence[dict[str, Any]],
    checkpoint_id: str,
    times: Sequence[float],
) -> ThreadRecord:
    prompts = [json.loads(event["data"])["text"] for event in events if event["kind"] == "prompt"]
    words = (title_of(row.row.content or "") for row in rows if row.row.role == "human")
    fields = {
        "next_seq": len(rows) + 1,
        "user_id": conversation.user_id,
        "title": conversation.title or next((title for title in words if title), None),
        "metadata": json.dumps(conversation.metadata) if conversation.metadata else None,
        "head": checkpoint_id,
        "unfinished": 0,
        "messages": len(rows),
        "bytes": sum(len((row.row.content or "").encode()) + len(row.row.body) for row in rows),
        "prompt": prompt_digest(prompts[-1]) if prompts else None,
        "live_from": 1,
        "origin_thread_id": None,
        "origin_checkpoint_id": None,
        "lineage": None,
        "created_at": min(times),
        "updated_at": max(times),
    }
    return ThreadRecord(THREAD, fields)


def _message(row: _Row, checkpoint_id: str) -> ThreadRecord:
    fields = {
        "seq": row.seq,
        **row.row._asdict(),
        "ns": "",
        "channel": MESSAGES,
        "checkpoint_id": checkpoint_id,
        "run_id": None,
        "step": 0,
        "user_id": row.said.user_id,
        "origin_thread_id": None,
        "origin_seq": None,
        "created_at": row.at,
        "redacted_at": None,
    }
    return ThreadRecord(MESSAGE, fields)


def _checkpoint(conversation: Conversation, checkpoint_id: str, made_at: float, value: Attachable) -> ThreadRecord:
    branch = blake2b(conversation.thread_id.encode(), digest_size=6).hexdigest()
    document = {
        **{name: part for name, part in empty_checkpoint().items() if name != "channel_values"},
        "id": checkpoint_id,
        "ts": utc_datetime(made_at).isoformat(),
        "channel_versions": {MESSAGES: f"{1:032}.{branch}"},
        "updated_channels": [MESSAGES],
    }
    user = {} if conversation.user_id is None else {"user_id": conversation.user_id}
    metadata = {**conversation.metadata, **user, "source": "update", "step": 0, "parents": {}}
    fields = {
        "ns": "",
        "checkpoint_id": checkpoint_id,
        "parent_id": None,
        "document": canonical_json(document),
        "metadata": canonical_json(metadata),
        "values": {MESSAGES: canonical_value(value)},
    }
    return ThreadRecord(CHECKPOINT, fields)
