"""The index of threads: the columns of a thread's own row that each save updates in its transaction.

They hold a thread's user, title, size and whether its last run has ended, so that threads are listed without loading a
checkpoint.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from holdfast.checkpoints.backends.base import Call
from holdfast.checkpoints.backends.records import NOTES, Row
from holdfast.checkpoints.config import user_text
from holdfast.checkpoints.core.cache.thread_state import ThreadRow
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.placement import Placement, RowOwner
from holdfast.checkpoints.encryption import places
from holdfast.checkpoints.errors import InvalidArgument
from holdfast.checkpoints.langgraph_internals import BRANCH_TO, OF_THE_RUN, START, TASKS
from holdfast.checkpoints.serde.encryption import Sealer
from holdfast.checkpoints.serde.known import Known
from holdfast.checkpoints.serde.messages import MessageRow, source_in, source_of, sql_text
from holdfast.checkpoints.serde.values import Draft, MessageList

LONGEST_TITLE: Final = 80
LONGEST_GIVEN_TITLE: Final = 200

# Characters that control a terminal. Other invisible characters stay, since they join emoji.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_PROMPT_PERSON: Final = b"holdfast-prompt"


_NOT_OWN: Final = OF_THE_RUN | NOTES | {"user_id"}
"""The names of metadata that are not of the thread as a whole."""


class IndexFields(NamedTuple):
    """The part of the index that a root checkpoint determines."""

    user_id: str | None
    """The user of the run that made the checkpoint."""
    metadata: Mapping[str, Any]
    """The metadata that the caller gave the run."""
    unfinished: bool
    """Whether the checkpoint has tasks left to run."""


def index_fields(metadata: Mapping[str, Any], values: Mapping[str, Any]) -> IndexFields:
    """Return the index fields of a root checkpoint.

    Args:
        metadata: the checkpoint's metadata, as they are stored.
        values: the values of its channels.
    """
    own = {name: value for name, value in metadata.items() if name not in _NOT_OWN}
    return IndexFields(user_text(metadata.get("user_id")), own, is_unfinished(values))


def is_unfinished(values: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint with these channel values has tasks left to run; LangGraph marks them in channels."""
    return bool(values.get(TASKS)) or any(channel == START or channel.startswith(BRANCH_TO) for channel in values)


def title_of(text: str) -> str | None:
    """Return the first words of a text on one line; `None` if it has no words."""
    words = _on_one_line(text[: 8 * LONGEST_TITLE])
    if len(words) <= LONGEST_TITLE:
        return words or None
    cut = words[: LONGEST_TITLE - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut[LONGEST_TITLE // 2 :] else cut) + "…"


def given_title(title: str) -> str:
    """Return a title that a user gave, on one line.

    Raises:
        InvalidArgument: the title is empty, or longer than 200 characters.
    """
    line = sql_text(_on_one_line(title))
    if not 0 < len(line) <= LONGEST_GIVEN_TITLE:
        raise InvalidArgument(f"A title has 1 to {LONGEST_GIVEN_TITLE} characters; found {len(line)}.")
    return line


def first_title(sealer: Sealer, thread_id: str, texts: Iterable[Row]) -> str | None:
    """Return the title from the first text that has words, given the rows of the statement `first_words`."""
    rows = (_opened(sealer, thread_id, row) for row in texts)
    said = (row.content for row in rows if row.content and source_in("human", row.body) is None)
    return next((title for text in said if (title := title_of(text))), None)


def _opened(sealer: Sealer, thread_id: str, row: Row) -> Row | MessageRow:
    if row.key_no is None:
        return row
    sealed = MessageRow(None, row.digest, row.codec, "human", None, None, row.body)
    return sealer.open_row(thread_id, row.seq, row.key_no, sealed)


def _on_one_line(text: str) -> str:
    return " ".join(_CONTROL.sub(" ", text).split())


def prompt_digest(prompt: str) -> bytes:
    """Return the digest by which a change of the system prompt is detected."""
    return blake2b(prompt.encode("utf-8", "replace"), digest_size=16, person=_PROMPT_PERSON).digest()


class ThreadChange(NamedTuple):
    """How a save changes a thread's own row."""

    row: ThreadRow
    """The row after the save."""
    params: dict[str, Any]
    """The parameters of the statement that changes it."""


def change_of_checkpoint(
    sealer: Sealer,
    owner: RowOwner,
    before: ThreadRow,
    fields: IndexFields,
    placement: Placement,
    lists: Iterable[MessageList],
    texts: Iterable[Row] = (),
    *,
    enters: bool = False,
) -> ThreadChange:
    """Return how a root checkpoint changes the row of its thread.

    Args:
        sealer: encrypts what the row has of the conversation.
        owner: the checkpoint.
        before: the row before the save.
        fields: the index fields of the checkpoint.
        placement: the rows of the messages that are saved.
        lists: the messages that are saved.
        texts: texts of people in writes that the checkpoint makes part of the conversation.
        enters: whether a thread with earlier checkpoints enters the index. This save then does not determine its user
            and title.
    """
    title = (
        _first_words(lists) or first_title(sealer, owner.thread_id, texts)
        if before.title is None and not enters
        else None
    )
    user_id = fields.user_id if before.user_id is None and not enters else None
    metadata = _merged(before.metadata, fields.metadata)
    params = {
        "thread_id": owner.thread_id,
        "next_seq": placement.next_seq,
        "bytes": placement.bytes,
        "head": owner.checkpoint_id,
        "unfinished": int(fields.unfinished),
        "said": len(placement.said),
        "user_id": user_id,
        **sealed_fields(sealer, owner.thread_id, {"title": title, "metadata": metadata}),
        "key_no": before.key_no,
    }
    row = before._replace(
        next_seq=placement.next_seq,
        deleted=False,
        user_id=before.user_id or user_id,
        title=before.title if before.title is not None else title,
        metadata=before.metadata if metadata is None else metadata,
        head=owner.checkpoint_id,
    )
    return ThreadChange(row, params)


def change_of_rows(thread_id: str, before: ThreadRow, placement: Placement) -> ThreadChange | None:
    """Return how any other save changes the row of its thread; `None` if it does not."""
    if not placement.new_rows and not before.deleted:
        return None
    params = {"thread_id": thread_id, "next_seq": placement.next_seq, "bytes": placement.bytes}
    return ThreadChange(before._replace(next_seq=placement.next_seq, deleted=False), params)


def sealed_fields(sealer: Sealer, thread_id: str, fields: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return the title or the metadata of a thread as they are stored, by the names of their columns."""
    sealed_at = {"title": places.TITLE, "metadata": places.METADATA}
    return {
        name: None if text is None else sealer.seal_text(thread_id, sealed_at[name], text)
        for name, text in fields.items()
    }


def record_prompt(database: Database, thread_id: str, thread_row: ThreadRow, prompt: str | None) -> list[Call]:
    """Build the calls that record the current system prompt; none if it is the one on record."""
    if prompt is None or (digest := prompt_digest(prompt)) == thread_row.prompt:
        return []
    stored = database.sealer.seal_bytes(thread_id, places.PROMPT, digest)
    return [
        add_event(database, thread_id, "prompt", {"text": database.stored_text(prompt)}),
        (database.backend.sql["set_prompt"], {"thread_id": thread_id, "prompt": stored}),
    ]


def add_event(database: Database, thread_id: str, kind: str, data: Mapping[str, Any], actor: str | None = None) -> Call:
    """Build the call that adds an event, such as a restart, to a thread's transcript."""
    stored = database.sealer.seal_text(thread_id, places.event(kind), json.dumps(data))
    params = {"thread_id": thread_id, "kind": kind, "actor": actor, "data": stored}
    return database.backend.sql["add_event"], params


def event_data(database: Database, thread_id: str, kind: str, data: str | None) -> str | None:
    """Return the data of an event, as JSON, of the column that has them.

    Raises:
        SealBroken, KeyMissing: they cannot be decrypted.
    """
    return None if data is None else database.sealer.open_text(thread_id, places.event(kind), data)


def _merged(before: str | None, new: Mapping[str, Any]) -> str | None:
    """Merge a run's metadata into those of its thread; `None` if nothing changes."""
    if not new:
        return None
    old = json.loads(before) if before else {}
    merged = {**old, **new}
    return json.dumps(merged) if merged != old else None


def _first_words(lists: Iterable[MessageList]) -> str | None:
    """Return the title from the first message of a person that has words."""
    texts = (_words_of_a_person(message) for list_ in lists for message in list_.messages)
    return next((title for text in texts if text and (title := title_of(text))), None)


def _words_of_a_person(message: Draft | Known) -> str | None:
    if isinstance(message, Known):
        said = message.message
        return said.text if said.type == "human" and source_of(said) is None else None
    row = message.row
    return row.content if row.role == "human" and source_in(row.role, row.body) is None else None
