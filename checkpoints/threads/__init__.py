"""Management of threads: list, rename, restart, undo, fork, copy, delete.

Every method accepts a `user_id`. A thread that is neither this user's nor shared with this user is then treated as
unknown.
"""

from __future__ import annotations

import builtins
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Final, Protocol

from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.config import asked_user, thread_of
from holdfast.checkpoints.core.arguments import check_metadata, checks_arguments
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.twins import async_twin
from holdfast.checkpoints.errors import InvalidArgument, UnknownCheckpoint, UnknownThread
from holdfast.checkpoints.moments import Moment, epoch_seconds_if_given
from holdfast.checkpoints.serde.jsonb import storable
from holdfast.checkpoints.serde.messages import is_sql_text, sql_text
from holdfast.checkpoints.threads import copy as copying
from holdfast.checkpoints.threads import listing, reindex, reset, salvage
from holdfast.checkpoints.threads.access import Sharing, waits_to_begin
from holdfast.checkpoints.threads.histories import Adding
from holdfast.checkpoints.threads.histories.begun import Beginning, Begun
from holdfast.checkpoints.threads.index import event_data, first_title, given_title, sealed_fields
from holdfast.checkpoints.threads.listing import LONGEST_PAGE, STATUSES, Page, Status, Thread
from holdfast.checkpoints.threads.salvage import Damage, Salvaged

__all__ = ["Begun", "Damage", "ManagedSaver", "Page", "Salvaged", "Status", "Thread", "Threads"]

_ALL: Final = 2**63 - 1


class ManagedSaver(Protocol):
    """The methods of `HoldfastSaver` through which threads are changed."""

    def lease(self, thread_id: str, *, purpose: str) -> AbstractContextManager[object]: ...

    def delete_thread(self, thread_id: str) -> None: ...


@checks_arguments
class Threads(Adding, Beginning, Sharing):
    """The threads of a database, as `HoldfastSaver.threads`.

    Raises, from every method about one thread:
        UnknownThread: the thread does not exist, or is neither the `user_id`'s nor shared with this user.
        NotPermitted: the thread is shared with the `user_id`, and only its own user may do this.
        ThreadBusy: another caller held the thread's lease during the whole wait.
        ThreadConflict: a writer without a lease changed or deleted the thread meanwhile. Nothing was changed.
        DamagedThread: the thread is not in the index yet, and its newest checkpoint cannot be read.
    """

    def __init__(self, database: Database, saver: ManagedSaver, save_checkpoint: reset.SaveCheckpoint) -> None:
        self._database = database
        self._saver = saver
        self._save_checkpoint = save_checkpoint

    # --- reading

    def list(
        self,
        *,
        user_id: str | None = None,
        status: Status | None = None,
        text: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        metadata: Mapping[str, Any] | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> Page:
        """Return a page of threads, the most recently written one first.

        A thread that is written between two pages moves to the front of the list. No other thread is skipped or
        repeated.

        Args:
            user_id: return only threads of this user, and those that are shared with this user.
            status: return only threads with this status.
            text: return only threads whose title contains this text, regardless of case. On PostgreSQL that holds for
                the letters that the database's locale knows.
            since: return only threads written at or after this time: a datetime with an offset, a date (its midnight in
                UTC), either of them as ISO 8601 text, or epoch seconds.
            until: return only threads written before this time.
            metadata: return only threads that have these metadata.
            limit: the maximum number of threads, up to 1,000.
            cursor: the cursor of the previous page. The other arguments must be the same as for that page.

        Raises:
            InvalidCursor: the cursor is not one of this list.
            InvalidArgument: the status does not exist, `limit` is out of range, or `since` or `until` is not a time.
            EncryptedDatabase: there is a `text` or `metadata`, and the database is encrypted.
        """
        if status is not None and status not in STATUSES:
            raise InvalidArgument(f"There is no status {status!r}. Needed: one of {', '.join(STATUSES)}.")
        if not 1 <= limit <= LONGEST_PAGE:
            raise InvalidArgument(f"limit is {limit}. Needed: a number of threads from 1 to {LONGEST_PAGE:,}.")
        check_metadata(metadata or {})
        filters: dict[str, Any] = {
            "user_id": asked_user(user_id),
            "text": None if text is None else sql_text(text).lower(),
            "since": epoch_seconds_if_given(since, "since"),
            "until": epoch_seconds_if_given(until, "until"),
            "metadata": None if metadata is None else json.dumps(storable(metadata), sort_keys=True),
        }
        listing.check_filters(self._database.sealer, filters)
        arguments = [*filters.values(), status]
        # One thread more than requested tells whether there is another page.
        params = {**filters, "status": status, "limit": limit + 1}
        conditions = listing.conditions(filters, status)
        if cursor is not None:
            params["after_at"], params["after_id"] = listing.decode_cursor(cursor, arguments)
            conditions.append("(t.updated_at, t.thread_id) < (:after_at, :after_id)")
        rows = self._find(conditions, params)
        next_page = listing.encode_cursor(rows[limit - 1], arguments) if len(rows) > limit else None
        return Page(list(listing.threads_of_rows(self._database.sealer, rows[:limit])), next_page)

    def all(self, *, user_id: str | None = None) -> Iterator[Thread]:
        """Yield every thread, or those of one user, as `list` does, page by page."""
        cursor: str | None = None
        while True:
            page = self.list(user_id=user_id, limit=LONGEST_PAGE, cursor=cursor)
            yield from page.threads
            if (cursor := page.cursor) is None:
                return

    def get(self, thread_id: str, *, user_id: str | None = None) -> Thread:
        """Return one thread."""
        params = {"thread_id": str(thread_id), "user_id": asked_user(user_id), "status": None, "limit": 1}
        conditions = ["t.thread_id = :thread_id"]
        found = self._find(conditions, params) if is_sql_text(str(thread_id)) else []
        if not found and self._is_unindexed(str(thread_id)):
            self.index(str(thread_id))
            found = self._find(conditions, params)
        if not found:
            raise UnknownThread(thread_id, user_id)
        return self._entry(found[0])

    def salvage(
        self, thread_id: str, *, checkpoint_id: str | None = None, ns: str = "", user_id: str | None = None
    ) -> Salvaged:
        """Load what can be read of a damaged checkpoint, and name the rest. Nothing is changed.

        Loading such a checkpoint in any other way is a `DamagedThread`, so that no run goes on from a part of a state.
        To go on, give what is left to a new thread: `graph.update_state(config, values)`, with
        `salvaged.values`. What was said is in the transcript of the thread.

        Args:
            thread_id: the thread.
            checkpoint_id: the checkpoint; the newest by default.
            ns: the namespace of the checkpoint, if it is that of a subgraph.
            user_id: the user whose thread it must be.

        Raises:
            UnknownThread: the thread has no checkpoint.
            UnknownCheckpoint: the thread has no such checkpoint.
        """
        if user_id is not None:
            self.check_user(thread_id, user_id)
        place = thread_of({"configurable": {"thread_id": thread_id}})
        found = salvage.salvage(self._database, place, ns, checkpoint_id)
        if found is None and checkpoint_id is not None:
            raise UnknownCheckpoint(place, checkpoint_id)
        if found is None:
            raise UnknownThread(thread_id, user_id)
        return found

    def prompt(self, thread_id: str) -> str | None:
        """Return the system prompt that an agent noted last in a thread, or in its origin; `None` if none did."""
        [rows] = self._database.read((self._database.backend.sql["prompt_of"], {"thread_id": str(thread_id)}))
        texts = (event_data(self._database, row.thread_id, "prompt", row.data) for row in rows)
        return next((json.loads(text)["text"] for text in texts if text), None)

    def _is_unindexed(self, thread_id: str) -> bool:
        """Return whether a thread was saved by an older version, or by a saver of LangGraph, and is not indexed yet."""
        if not is_sql_text(thread_id):
            return False
        [rows] = self._database.read((self._database.backend.sql["is_unindexed"], {"thread_id": thread_id}))
        return bool(rows)

    def _find(self, conditions: Sequence[str], params: Mapping[str, Any]) -> builtins.list[Row]:
        # The status is derived after the rows are read, so a list by status may have to read any number of them.
        looked_at = {"looked_at": params["limit"] if params["status"] is None else _ALL}
        statement = listing.threads_statement(self._database.backend.sql, conditions, params["user_id"])
        [rows] = self._database.read((statement, {"metadata": None, **params, **looked_at}))
        self._database.sealer.prefetch(row.thread_id for row in rows)
        return rows

    def _entry(self, row: Row) -> Thread:
        return listing.thread_of_row(self._database.sealer, row)

    # --- changing a thread

    def rename(self, thread_id: str, title: str | None, *, user_id: str | None = None) -> Thread:
        """Set a thread's title. `None` resets it to the first words that were said in the thread.

        Raises:
            InvalidArgument: the title is empty, or longer than 200 characters.
        """
        self.get(thread_id, user_id=user_id)
        sql, params = self._database.backend.sql, {"thread_id": thread_id}
        if title is None:
            [texts] = self._database.read((sql["first_words"], params))
            new_title = first_title(self._database.sealer, thread_id, texts)
        else:
            new_title = self._database.stored_text(given_title(title))
        # The statement checks the user again: another user's thread may have taken the id since.
        self._database.sealer.key_no(thread_id)
        stored = sealed_fields(self._database.sealer, thread_id, {"title": new_title})
        renamed = {**params, **stored, "user_id": asked_user(user_id)}
        if not self._database.write((sql["rename_thread"], renamed))[0]:
            raise UnknownThread(thread_id, user_id)
        return self.get(thread_id)

    def restart(self, thread_id: str, *, user_id: str | None = None, by: str | None = None) -> Thread:
        """Restart a thread with an empty state.

        The messages stay in its transcript, and the old checkpoints in its history. Pending approvals are closed.

        Args:
            thread_id: the thread.
            user_id: the user whose thread it must be.
            by: the person who restarts it, for the record; by default the `user_id`.
        """
        with self._locked(thread_id, user_id, "restart"):
            reset.restart_thread(self._database, self._save_checkpoint, thread_id, by or user_id)
        return self.get(thread_id)

    def undo(self, thread_id: str, *, user_id: str | None = None, by: str | None = None) -> Thread:
        """Undo the last turn: the last message of a person and everything that followed from it.

        The turn stays in the transcript. What its tools have done in the world is not undone.

        Args:
            thread_id: the thread.
            user_id: the user whose thread it must be.
            by: the person who undoes it, for the record; by default the `user_id`.

        Raises:
            NothingToUndo: no turn is left, or the checkpoint before it was pruned.
        """
        with self._locked(thread_id, user_id, "undo"):
            reset.undo_turn(self._database, self._save_checkpoint, thread_id, by or user_id)
        return self.get(thread_id)

    def delete(self, thread_id: str, *, user_id: str | None = None) -> None:
        """Delete everything of a thread, also before it has begun: with it goes what was accepted for it.

        A run in progress can no longer write to it; its id can be used again.
        """
        if not waits_to_begin(self._database, thread_id, user_id):
            self._owned(thread_id, user_id, "delete it")
        self._saver.delete_thread(thread_id)

    # --- making a new thread

    def copy(self, thread_id: str, target: str | None = None, *, user_id: str | None = None) -> Thread:
        """Copy a whole thread into a new one.

        Args:
            thread_id: the thread.
            target: the id of the new thread; a random one by default.
            user_id: the user whose thread it must be.

        Raises:
            ThreadNotEmpty: the target exists already.
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
        """Fork a new thread from one checkpoint of a thread.

        The new thread has the messages up to that checkpoint. Approvals that were pending there are pending again.

        Args:
            thread_id: the thread.
            target: the id of the new thread; a random one by default.
            checkpoint_id: the checkpoint to fork from; the newest by default.
            message_id: alternatively, fork from the checkpoint at which this message had just been said.
            user_id: the user whose thread it must be.
            by: the person who forks it, for the record; by default the `user_id`.

        Raises:
            UnknownCheckpoint, UnknownMessage: the thread has no such checkpoint or message, or it was pruned.
            ThreadNotEmpty: the target exists already.
            InvalidArgument: both a checkpoint and a message are given.
        """
        if checkpoint_id is not None and message_id is not None:
            raise InvalidArgument(
                "Both checkpoint_id and message_id were given. Name one of them as the start of the fork."
            )
        fork = partial(copying.fork_thread, checkpoint_id=checkpoint_id, message_id=message_id, actor=by or user_id)
        return self._branch(fork, thread_id, target, user_id)

    # --- the same for event loops

    alist = async_twin(list)
    aget = async_twin(get)
    asalvage = async_twin(salvage)
    arename = async_twin(rename)
    arestart = async_twin(restart)
    aundo = async_twin(undo)
    adelete = async_twin(delete)
    acopy = async_twin(copy)
    afork = async_twin(fork)

    # --- inside

    def _branch(
        self,
        branch: Callable[[Database, str, str], bool | None],
        thread_id: str,
        target: str | None,
        user_id: str | None,
    ) -> Thread:
        self.get(thread_id, user_id=user_id)
        new_id = str(uuid.uuid4()) if target is None else thread_of({"configurable": {"thread_id": target}})
        # Not repeatable: a second attempt could not tell its own copy in the target from another writer's thread.
        copied = persist(self._database.backend, partial(branch, self._database, thread_id, new_id), repeatable=False)
        if copied is False:
            raise UnknownThread(thread_id, user_id)  # deleted since `get` found it
        return self.get(new_id)

    @contextmanager
    def _locked(self, thread_id: str, user_id: str | None, purpose: str) -> Iterator[None]:
        """Hold the lease of a thread of the user."""
        self.get(thread_id, user_id=user_id)  # a lease on an unknown id would make the thread
        with self._saver.lease(thread_id, purpose=purpose):
            self.get(thread_id, user_id=user_id)  # the wait for the lease may have been long
            yield

    # --- the index

    def unindexed(self) -> Iterator[str]:
        """Yield the ids of threads that an older version, or a saver of LangGraph, saved without an index entry."""
        return reindex.unindexed_threads(self._database)

    def index(self, thread_id: str) -> None:
        """Add an unindexed thread to the index. The thread's next save does the same.

        Raises:
            DamagedThread: its newest checkpoint cannot be read.
        """
        persist(self._database.backend, partial(reindex.index_thread, self._database, thread_id))
