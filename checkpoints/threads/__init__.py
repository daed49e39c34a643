"""Threads as people manage them: list, rename, restart, undo, fork, copy, delete.

Every method takes a `user_id`: then a thread of somebody else is as unknown as one that does not exist.
"""

from __future__ import annotations

import builtins
import json
import math
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple, Protocol, get_args

from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.config import asked_user, thread_of, user_of, user_text
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.errors import InvalidCursor, UnknownThread
from holdfast.checkpoints.moments import Moment, epoch_seconds_if_given
from holdfast.checkpoints.serde.messages import is_sql_text, sql_text
from holdfast.checkpoints.threads import copy as copying
from holdfast.checkpoints.threads import reindex, reset
from holdfast.checkpoints.threads.index import first_title, given_title

Status = Literal["running", "paused", "failed", "unfinished", "idle"]
"""`running`: somebody holds its lease. `paused`: something waits for a person. `failed`: the last run ended in an
error. `unfinished`: it has tasks to do, and nobody does them. `idle`: the last turn has ended."""

STATUSES: Final[tuple[Status, ...]] = get_args(Status)

MOST: Final = 1000
"""Threads of one page."""

_ALL: Final = 2**63 - 1

# Few threads may be in these, and others need not be looked at.
_MAY_BE: Final[Mapping[str, str]] = {
    "paused": "t.thread_id IN ("
    "SELECT thread_id FROM holdfast_interrupts WHERE answered_at IS NULL AND closed_at IS NULL)",
    "running": "t.thread_id IN (SELECT thread_id FROM holdfast_leases)",
}


_CONDITIONS: Final[Mapping[str, str]] = {
    "user_id": "t.user_id = :user_id",
    "text": "strpos(lower(t.title), :text) > 0",
    "since": "t.updated_at >= :since",
    "until": "t.updated_at < :until",
}


class Thread(NamedTuple):
    """A thread, as the index has it."""

    thread_id: str
    user_id: str | None
    title: str | None
    """Given, or the first words that a person said."""
    status: Status
    created_at: float
    """Epoch seconds, as all times."""
    updated_at: float
    messages: int
    """How many were said in it, whatever was trimmed since."""
    bytes: int
    """Of its message rows."""
    pending: int
    """How many calls wait for a person."""
    metadata: dict[str, Any]
    """What its runs were given besides, the last of each key."""
    checkpoint_id: str
    """Its newest."""
    origin_thread_id: str | None
    """Of a copy or a fork."""
    origin_checkpoint_id: str | None


class Page(NamedTuple):
    """Some threads of a list."""

    threads: list[Thread]
    cursor: str | None
    """Where the list goes on; `None` at its end."""


class ManagedSaver(reset.ResettableSaver, Protocol):
    """What threads are changed through; see `HoldfastSaver`."""

    def lease(self, thread_id: str, *, purpose: str) -> AbstractContextManager[object]: ...

    def delete_thread(self, thread_id: str) -> None: ...


class Threads:
    """The threads of a database: `HoldfastSaver.threads`.

    Raises, from every method that is about one thread:
        UnknownThread: there is no such thread, or it is not the `user_id`'s.
        ThreadBusy: somebody else was writing to it all the time.
        ThreadConflict: somebody wrote to it, or deleted it, who does not stand in line. Nothing was changed.
        DamagedThread: it is from before the index, and its newest checkpoint cannot be read.
    """

    def __init__(self, database: Database, saver: ManagedSaver) -> None:
        self._database = database
        self._saver = saver

    # --- looking

    def list(
        self,
        *,
        user_id: str | None = None,
        status: Status | None = None,
        text: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> Page:
        """Threads, the one that was written last first.

        A thread that is written while somebody pages through the list moves to its front; no other is left out or
        comes twice.

        Args:
            user_id: only those of one user.
            status: only those in one status.
            text: only those whose title has this in it, in small letters or capitals; on PostgreSQL, in those that the
                locale of the database knows.
            since: only those that were written at this time or later: a datetime with an offset, a date (its midnight
                in UTC), either as ISO 8601 text, or epoch seconds.
            until: only those that were written before this time.
            limit: how many at the most, up to 1,000.
            cursor: of the page before this one; the other arguments must be the same.

        Raises:
            InvalidCursor: it is not the cursor of such a list.
            ValueError: there is no such status, `limit` is out of range, or `since` or `until` is no time.
        """
        if status is not None and status not in STATUSES:
            raise ValueError(f"There is no status {status!r}. Needed: one of {', '.join(STATUSES)}.")
        if not 1 <= limit <= MOST:
            raise ValueError(f"limit is how many threads there may be, 1 to {MOST:,}; found {limit}.")
        wanted: dict[str, Any] = {
            "user_id": asked_user(user_id),
            "text": None if text is None else sql_text(text).lower(),
            "since": epoch_seconds_if_given(since, "since"),
            "until": epoch_seconds_if_given(until, "until"),
        }
        asked = [*wanted.values(), status]
        conditions = [_CONDITIONS[name] for name, value in wanted.items() if value is not None]
        if status is not None and status in _MAY_BE:
            conditions.append(_MAY_BE[status])
        if cursor is not None:
            wanted["after_at"], wanted["after_id"] = _opened(cursor, asked)
            conditions.append("(t.updated_at, t.thread_id) < (:after_at, :after_id)")
        # One more than asked for tells whether the list goes on.
        found = self._find(conditions, {**wanted, "status": status, "limit": limit + 1})
        return Page(found[:limit], _cursor(found[limit - 1], asked) if len(found) > limit else None)

    def all(self, *, user_id: str | None = None) -> Iterator[Thread]:
        """Every thread, or those of one user, in pages, the one that was written last first."""
        cursor: str | None = None
        while True:
            threads, cursor = self.list(user_id=user_id, limit=MOST, cursor=cursor)
            yield from threads
            if cursor is None:
                return

    def get(self, thread_id: str, *, user_id: str | None = None) -> Thread:
        """One thread."""
        params = {"thread_id": str(thread_id), "user_id": asked_user(user_id), "status": None, "limit": 1}
        of_user = [] if user_id is None else [_CONDITIONS["user_id"]]
        conditions = ["t.thread_id = :thread_id", *of_user]
        found = self._find(conditions, params) if is_sql_text(str(thread_id)) else []
        if not found and self._is_unindexed(str(thread_id)):
            self.index(str(thread_id))
            found = self._find(conditions, params)
        if not found:
            raise UnknownThread(thread_id, user_id)
        return found[0]

    def owner(self, thread_id: str) -> str | None:
        """Name the user whose thread it is, as it was begun; `None` if it names no user, or does not exist yet."""
        return self._owner(thread_id)[1]

    def check_owner(self, thread_id: str, user_id: str) -> None:
        """Refuse a thread that is another user's, or that names no user. A thread that does not exist yet passes: the
        user may begin it. Only reads.

        Raises:
            UnknownThread: the thread exists and is not the user's, or `user_id` is empty.
            InvalidThread: the `user_id` cannot be stored, so no thread can be this user's.
        """
        user = user_of(user_id)
        exists, owner = self._owner(thread_id)
        if user is None or (exists and owner != user):
            raise UnknownThread(thread_id, user_id)

    def _owner(self, thread_id: str) -> tuple[bool, str | None]:
        """Tell whether a thread exists, and name its user."""
        if not is_sql_text(str(thread_id)):
            return False, None
        [rows] = self._database.read((self._database.backend.sql["owner"], {"thread_id": str(thread_id)}))
        return bool(rows), next((user_text(user) for row in rows for user in row if user is not None), None)

    def _is_unindexed(self, thread_id: str) -> bool:
        """Whether it is one that an older version or a saver of LangGraph's has saved: it is there all the same."""
        if not is_sql_text(thread_id):
            return False
        [rows] = self._database.read((self._database.backend.sql["is_unindexed"], {"thread_id": thread_id}))
        return bool(rows)

    def _find(self, conditions: Sequence[str], params: Mapping[str, Any]) -> builtins.list[Thread]:
        # Where a status is asked for, nobody knows how many threads must be looked at.
        looked_at = {"looked_at": params["limit"] if params["status"] is None else _ALL}
        [rows] = self._database.read(
            (self._database.backend.sql["threads"].where(*conditions), {**params, **looked_at})
        )
        return [_thread(*row) for row in rows]

    # --- changing one

    def rename(self, thread_id: str, title: str | None, *, user_id: str | None = None) -> Thread:
        """Give a thread a title; `None` is the first words that were said in it.

        Raises:
            ValueError: the title is empty, or longer than 200 characters.
        """
        self.get(thread_id, user_id=user_id)
        sql, params = self._database.backend.sql, {"thread_id": thread_id}
        if title is None:
            [words] = self._database.read((sql["first_words"], params))
            given = first_title(words)
        else:
            given = given_title(title)
        # In the statement once more: it may be another thread by now, of another user.
        renamed = {**params, "title": given, "user_id": asked_user(user_id)}
        if not self._database.write((sql["rename_thread"], renamed))[0]:
            raise UnknownThread(thread_id, user_id)
        return self.get(thread_id)

    def restart(self, thread_id: str, *, user_id: str | None = None, by: str | None = None) -> Thread:
        """Let a thread begin anew, with an empty state. What was said stays in its transcript, and its old checkpoints
        in its history; what waits for a person waits no more.

        Args:
            thread_id: the thread.
            user_id: whose it must be.
            by: who does this, for the record.
        """
        with self._held(thread_id, user_id, "restart"):
            reset.restart_thread(self._database, self._saver, thread_id, by)
        return self.get(thread_id)

    def undo(self, thread_id: str, *, user_id: str | None = None, by: str | None = None) -> Thread:
        """Take back the last turn: what a person said last, and what came of it. It stays in the transcript; what its
        tools have done in the world is not undone.

        Raises:
            NothingToUndo: no turn is left, or what was before it was pruned.
        """
        with self._held(thread_id, user_id, "undo"):
            reset.undo_turn(self._database, self._saver, thread_id, by)
        return self.get(thread_id)

    def delete(self, thread_id: str, *, user_id: str | None = None) -> None:
        """Delete everything of a thread. A run that is going on in it cannot write to it any more; the id can be used
        again."""
        self.get(thread_id, user_id=user_id)
        self._saver.delete_thread(thread_id)

    # --- making another

    def copy(self, thread_id: str, target: str | None = None, *, user_id: str | None = None) -> Thread:
        """Copy all of a thread into a new one.

        Args:
            thread_id: the thread.
            target: the new one's id; by default one is made up.
            user_id: whose the thread must be.

        Raises:
            ThreadNotEmpty: there is such a thread already.
        """
        return self._branch(copying.copy_thread, thread_id, target, user_id)

    def fork(
        self,
        thread_id: str,
        target: str | None = None,
        *,
        checkpoint_id: str | None = None,
        message_id: str | None = None,
        user_id: str | None = None,
        by: str | None = None,
    ) -> Thread:
        """Branch a new thread off an old one, as it was at one of its checkpoints: with the messages until then, and
        what was asked there asked again.

        Args:
            thread_id: the thread.
            target: the new one's id; by default one is made up.
            checkpoint_id: where to branch off; by default the newest checkpoint.
            message_id: in place of it: where this message had just been said.
            user_id: whose the thread must be.
            by: who does this, for the record.

        Raises:
            UnknownCheckpoint, UnknownMessage: the thread has no such checkpoint or message, or it was pruned.
            ThreadNotEmpty: there is such a thread already.
            ValueError: both a checkpoint and a message are named.
        """
        if checkpoint_id is not None and message_id is not None:
            raise ValueError("A fork begins at a checkpoint or at a message. Name one of them.")
        fork = partial(copying.fork_thread, checkpoint_id=checkpoint_id, message_id=message_id, actor=by)
        return self._branch(fork, thread_id, target, user_id)

    def _branch(
        self,
        branch: Callable[[Database, str, str], bool | None],
        thread_id: str,
        target: str | None,
        user_id: str | None,
    ) -> Thread:
        self.get(thread_id, user_id=user_id)
        new = str(uuid.uuid4()) if target is None else thread_of({"configurable": {"thread_id": target}})
        # Not repeatable: what is in the target the second time may be the copy, or somebody else's.
        if persist(self._database.backend, partial(branch, self._database, thread_id, new), repeatable=False) is False:
            raise UnknownThread(thread_id, user_id)  # it was deleted in this moment
        return self.get(new)

    @contextmanager
    def _held(self, thread_id: str, user_id: str | None, purpose: str) -> Iterator[None]:
        self.get(thread_id, user_id=user_id)  # before, since who asks for a lease makes a thread
        with self._saver.lease(thread_id, purpose=purpose):
            self.get(thread_id, user_id=user_id)  # in line one may wait for long
            yield

    # --- the index itself

    def unindexed(self) -> Iterator[str]:
        """The threads that are not in the index: saved by an older version, or by LangGraph's own savers."""
        return reindex.unindexed_threads(self._database)

    def index(self, thread_id: str) -> None:
        """Bring one of them into the index. Its next save does the same.

        Raises:
            DamagedThread: its newest checkpoint cannot be read.
        """
        persist(self._database.backend, partial(reindex.index_thread, self._database, thread_id))


def _thread(*row: Any) -> Thread:
    (thread_id, user_id, title, created_at, updated_at, messages, bytes_, metadata, head, *origin, _, pending, _, _,
     status) = row  # fmt: skip
    own = json.loads(metadata) if metadata else {}
    counts = (int(messages), int(bytes_), int(pending), own, head)
    return Thread(thread_id, user_id, title, status, created_at, updated_at, *counts, *origin)


def _cursor(last: Thread, asked: Sequence[Any]) -> str:
    """Where a list goes on after a thread. It fits no other list."""
    return urlsafe_b64encode(json.dumps([last.updated_at, last.thread_id, _mark(asked)]).encode()).decode()


def _opened(cursor: str, asked: Sequence[Any]) -> tuple[float, str]:
    match _decoded(cursor):
        case [float() as at, str() as thread_id, str() as mark] if math.isfinite(at) and is_sql_text(thread_id):
            if mark != _mark(asked):
                raise InvalidCursor("This cursor belongs to another list: ask for the same as when it was given.")
            return at, thread_id
        case _:
            raise InvalidCursor("This is no cursor of a list of threads. Needed: the one that came with a page.")


def _decoded(cursor: str) -> Any:
    try:
        return json.loads(urlsafe_b64decode(cursor.encode()))
    except (ValueError, RecursionError):
        return None


def _mark(asked: Sequence[Any]) -> str:
    return blake2b(repr(asked).encode("utf-8", "replace"), digest_size=6).hexdigest()
