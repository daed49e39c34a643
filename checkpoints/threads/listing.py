"""Lists of threads: their entries, conditions and cursors. No I/O."""

from __future__ import annotations

import json
import logging
import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final, Literal, get_args

from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.encryption import places
from holdfast.checkpoints.errors import DamagedThread, EncryptedDatabase, InvalidCursor, row_explained
from holdfast.checkpoints.moments import utc_datetime
from holdfast.checkpoints.serde.encryption import Sealer
from holdfast.checkpoints.serde.messages import is_sql_text
from holdfast.checkpoints.sql import Statement, Statements

_log = logging.getLogger(__name__)

Status = Literal["running", "paused", "failed", "unfinished", "idle"]
"""`running`: a caller holds the thread's lease, or a turn was accepted and has not ended. `paused`: an approval waits
for a person. `failed`: the last run ended in an error, or its processes died so often that it is not begun again.
`unfinished`: tasks remain, and no run works on them. `idle`: the last turn has ended."""

STATUSES: Final[tuple[Status, ...]] = get_args(Status)

LONGEST_PAGE: Final = 1000
"""The maximum number of threads on a page."""

_THREADS: Final = "holdfast_threads AS t"

_SHARED_THREADS: Final = (
    "holdfast_members AS shared "
    "JOIN holdfast_threads AS t ON t.thread_id = shared.thread_id AND t.user_id = shared.owner_id"
)

_CONDITIONS: Final[Mapping[str, str]] = {
    "text": "strpos(lower(t.title), :text) > 0",
    "since": "t.updated_at >= :since",
    "until": "t.updated_at < :until",
}

# Few threads can be in these states, and the others need not be read.
_CANDIDATES: Final[Mapping[str, str]] = {
    "paused": "t.thread_id IN ("
    "SELECT thread_id FROM holdfast_interrupts WHERE answered_at IS NULL AND closed_at IS NULL)",
    "running": "(t.thread_id IN (SELECT thread_id FROM holdfast_leases)"
    " OR t.thread_id IN (SELECT thread_id FROM holdfast_runs WHERE state IN ('accepted', 'running')))",
}


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread's entry in the index. Times are in UTC."""

    thread_id: str
    user_id: str | None
    title: str | None
    """The title that a user gave, or the first words that a person said."""
    status: Status
    created_at: datetime
    updated_at: datetime
    """When the thread was written last. While it goes on it may be up to a second early."""
    messages: int
    """The number of messages in the transcript, including those that were trimmed from the state."""
    bytes: int
    """The size of its message rows."""
    pending: int
    """The number of tool calls that wait for a person."""
    metadata: dict[str, Any]
    """The other metadata of its runs; for each key the latest value."""
    checkpoint_id: str
    """The newest checkpoint."""
    origin_thread_id: str | None
    """For a copy or a fork, the thread that it was made from."""
    origin_checkpoint_id: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list of threads."""

    threads: list[Thread]
    cursor: str | None
    """The position at which the next page begins; `None` on the last page."""


def thread_of_row(sealer: Sealer, row: Row) -> Thread:
    """Make a thread's entry from a row of the statement `threads`.

    Raises:
        DamagedThread: the row cannot be read, or not be decrypted.
    """
    with row_explained(row.thread_id, "its entry in the index of threads"):
        title = None if row.title is None else sealer.open_text(row.thread_id, places.TITLE, row.title)
        metadata = None if row.metadata is None else sealer.open_text(row.thread_id, places.METADATA, row.metadata)
        return Thread(
            thread_id=row.thread_id,
            user_id=row.user_id,
            title=title,
            status=row.status,
            created_at=utc_datetime(row.created_at),
            updated_at=utc_datetime(row.updated_at),
            messages=int(row.messages),
            bytes=int(row.bytes),
            pending=int(row.pending),
            metadata=json.loads(metadata) if metadata else {},
            checkpoint_id=row.head,
            origin_thread_id=row.origin_thread_id,
            origin_checkpoint_id=row.origin_checkpoint_id,
        )


def threads_of_rows(sealer: Sealer, rows: Iterable[Row]) -> Iterator[Thread]:
    """Yield the entries of rows. One that cannot be read is left out, and logged."""
    for row in rows:
        try:
            yield thread_of_row(sealer, row)
        except DamagedThread as error:
            _log.warning("A thread was left out of a list: %s", error)


def check_filters(sealer: Sealer, filters: Mapping[str, Any]) -> None:
    """Check that a list can be filtered in this way.

    Raises:
        EncryptedDatabase: it is to be filtered by what is encrypted.
    """
    named = {"text": "titles", "metadata": "metadata"}
    hidden = [what for name, what in named.items() if filters[name] is not None] if sealer.encrypts else []
    if hidden:
        raise EncryptedDatabase(
            f"Threads cannot be filtered by their {' and '.join(hidden)}: these are encrypted. Needed: the user, the "
            "status or the times. Filter the threads after they are listed."
        )


def conditions(filters: Mapping[str, Any], status: Status | None) -> list[str]:
    """Return the SQL conditions of a list.

    Args:
        filters: the values of the parameters `text`, `since` and `until`; `None` for no condition.
        status: the status that the list is restricted to.
    """
    found = [condition for name, condition in _CONDITIONS.items() if filters[name] is not None]
    if status is not None and status in _CANDIDATES:
        found.append(_CANDIDATES[status])
    return found


def threads_statement(sql: Statements, conditions: Sequence[str], user_id: str | None) -> Statement:
    """Return the statement `threads` for all threads, or for those of a user and those that are shared with this user.

    Each of the two parts is read in its order, by an index of its own, up to the length of the page.
    """
    listed = sql["listed_threads"]
    if user_id is None:
        return sql["threads"].among(listed.among(_THREADS).where(*conditions).text)
    own = listed.among(_THREADS).where("t.user_id = :user_id", *conditions)
    shared = listed.among(_SHARED_THREADS).where("shared.user_id = :user_id", *conditions)
    both = f"SELECT * FROM ({own.text}) AS owned UNION ALL SELECT * FROM ({shared.text}) AS joined"  # noqa: S608 - our own text
    return sql["threads"].among(both)


def encode_cursor(last: Row, arguments: Sequence[Any]) -> str:
    """Return the cursor of the page after a row of the statement `threads`.

    It is valid only for a list with the same arguments.
    """
    return urlsafe_b64encode(json.dumps([last.updated_at, last.thread_id, _mark(arguments)]).encode()).decode()


def decode_cursor(cursor: str, arguments: Sequence[Any]) -> tuple[float, str]:
    """Return the time and the id of the last thread before a cursor.

    Raises:
        InvalidCursor: it is not a cursor of a list of threads, or belongs to a list with other arguments.
    """
    match _decoded(cursor):
        case [float() as at, str() as thread_id, str() as mark] if math.isfinite(at) and is_sql_text(thread_id):
            if mark != _mark(arguments):
                raise InvalidCursor(
                    "This cursor belongs to another list. Needed: the same filters as for the page that it came with."
                )
            return at, thread_id
        case _:
            raise InvalidCursor("This is no cursor of a list of threads. Needed: the cursor that came with a page.")


def _decoded(cursor: str) -> Any:
    try:
        return json.loads(urlsafe_b64decode(cursor.encode()))
    except (ValueError, RecursionError):
        return None


def _mark(arguments: Sequence[Any]) -> str:
    return blake2b(repr(arguments).encode("utf-8", "replace"), digest_size=6).hexdigest()
