"""Who may use a thread: its user, and the members that it is shared with. The check that a caller is one of these.

This is not the whole of access control. Lists of threads, transcripts, searches and requests filter by `user_id` in
their own statements, by the condition `{of_user}`: see `threads.listing` and `sql/threads.sql`, `transcript.header`,
`search.service`, and `sql/interrupts.sql`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from holdfast.checkpoints.backends.base import Backend, Call
from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.config import asked_user, user_of, user_text
from holdfast.checkpoints.core.arguments import checks_arguments
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.twins import async_twin
from holdfast.checkpoints.errors import InvalidArgument, NotPermitted, UnknownThread
from holdfast.checkpoints.serde.messages import is_sql_text
from holdfast.checkpoints.threads.index import add_event
from holdfast.checkpoints.threads.listing import Thread


@dataclass(frozen=True, slots=True)
class Standing:
    """How a user stands to a thread."""

    exists: bool
    owner: str | None
    """The thread's user."""
    is_member: bool
    """Whether the thread is shared with the user who asks."""
    is_shared: bool
    """Whether the thread is shared with any user."""


_NEW: Final = Standing(exists=False, owner=None, is_member=False, is_shared=False)


def read_standing(database: Database, thread_id: str, user_id: str | None = None) -> Standing:
    """Return whether a thread exists, its user, and how another one stands to it."""
    if not is_sql_text(str(thread_id)):
        return _NEW
    [rows] = database.read(owner_call(database.backend, str(thread_id), user_id))
    return standing_of(rows)


def owner_call(backend: Backend, thread_id: str, user_id: str | None) -> Call:
    """Return the call that finds how a user stands to a thread, for `standing_of`."""
    return backend.sql["owner"], {"thread_id": thread_id, "user_id": asked_user(user_id)}


def standing_of(rows: Sequence[Row]) -> Standing:
    """Return what the rows of `owner_call` say."""
    if not rows:
        return _NEW
    [row] = rows
    owner = next((user_text(user) for user in (row.user_id, row.begun_by) if user is not None), None)
    return Standing(True, owner, bool(row.is_member), bool(row.is_shared))


def check_user(database: Database, thread_id: str, user_id: str) -> Standing:
    """Refuse a thread that is neither the user's nor shared with this user.

    A thread that does not exist yet passes, since the user may begin it.

    Raises:
        UnknownThread: the thread exists and is of other users or of none, or `user_id` is empty.
        InvalidThread: the `user_id` cannot be stored, so no thread can be this user's.
    """
    return refuse_others(read_standing(database, thread_id, user_of(user_id)), thread_id, user_id)


def refuse_others(standing: Standing, thread_id: str, user_id: str | None) -> Standing:
    """Return how a user stands to a thread.

    Raises:
        UnknownThread, InvalidThread: see `check_user`.
    """
    user = user_of(user_id)
    if user is None or (standing.exists and standing.owner != user and not standing.is_member):
        raise UnknownThread(thread_id, user_id)
    return standing


def waits_to_begin(database: Database, thread_id: str, user_id: str | None) -> bool:
    """Return whether something is on record of a thread that has not begun, such as an accepted run.

    Args:
        database: the database.
        thread_id: the thread.
        user_id: the user whose it must be; `None` for any.

    Raises:
        UnknownThread: it is on record for another user.
    """
    if not is_sql_text(str(thread_id)):
        return False
    [rows] = database.read(not_begun_call(database.backend, thread_id))
    return refuse_strangers(rows, thread_id, user_id)


def not_begun_call(backend: Backend, thread_id: str) -> Call:
    """Return the call that finds what is on record of a thread that has not begun, for `refuse_strangers`."""
    return backend.sql["not_begun"], {"thread_id": str(thread_id)}


def refuse_strangers(rows: Sequence[Row], thread_id: str, user_id: str | None) -> bool:
    """Return whether something is on record of a thread that has not begun.

    Raises:
        UnknownThread: it is on record for another user.
    """
    if rows and user_id is not None and rows[0].user_id != asked_user(user_id):
        raise UnknownThread(thread_id, user_id)
    return bool(rows)


@checks_arguments
class Sharing:
    """The part of `Threads` about who may use a thread."""

    _database: Database

    def get(self, thread_id: str, *, user_id: str | None = None) -> Thread:
        """Return one thread."""
        raise NotImplementedError

    def owner(self, thread_id: str) -> str | None:
        """Return the user of a thread; `None` if it names no user, or does not exist yet."""
        return read_standing(self._database, thread_id).owner

    def check_user(self, thread_id: str, user_id: str) -> Standing:
        """Refuse a thread that is neither the user's nor shared with this user. Only reads.

        A thread that does not exist yet passes, since the user may begin it.

        Returns:
            Whether the thread exists, who owns it, and whether it is shared.

        Raises:
            UnknownThread: the thread exists and is of other users or of none, or `user_id` is empty.
            InvalidThread: the `user_id` cannot be stored, so no thread can be this user's.
        """
        return check_user(self._database, thread_id, user_id)

    def running(self, thread_id: str | None = None) -> set[str]:
        """Return the threads whose lease a process holds.

        Args:
            thread_id: look at this thread only.
        """
        conditions = [] if thread_id is None else ["l.thread_id = :thread_id"]
        params = {} if thread_id is None else {"thread_id": str(thread_id)}
        [rows] = self._database.read((self._database.backend.sql["running"].where(*conditions), params))
        return {row.thread_id for row in rows}

    def members(self, thread_id: str, *, user_id: str | None = None) -> list[str]:
        """Return the users with whom a thread is shared, oldest first. The thread's own user is not among them."""
        thread = self.get(thread_id, user_id=user_id)
        return _read_members(self._database, thread_id, thread.user_id)

    def share(
        self,
        thread_id: str,
        *new_members: str,
        user_id: str | None = None,
        by: str | None = None,
        not_begun: bool = False,
    ) -> list[str]:
        """Share a thread with other users, its members. Idempotent.

        A member finds the thread in lists, searches and the inbox, reads all of it, and writes in it. Only the thread's
        own user shares it and deletes it. A copy or a fork has the same members.

        Args:
            thread_id: the thread.
            *new_members: the ids of the users.
            user_id: the user whose thread it must be.
            by: the person who shares it, for the record; by default the `user_id`.
            not_begun: whether the thread may be one that does not exist yet, which the `user_id` is about to begin.

        Returns:
            All members now.

        Raises:
            InvalidArgument: no member is named, or the thread has no user who could share it.
            UnknownThread: it is another user's, also if that one's first message was only accepted.
        """
        names = _names_of(new_members)
        is_new = not_begun and user_id is not None and not self.check_user(thread_id, user_id).exists
        if is_new:
            waits_to_begin(self._database, thread_id, user_id)
        owner = user_of(user_id) if is_new else self._owned(thread_id, user_id, "share it").user_id
        if owner is None:
            raise InvalidArgument(f"Thread {thread_id!r} has no user, so it cannot be shared. Begin it with a user_id.")
        there = _read_members(self._database, thread_id, owner)
        if new := [name for name in names if name not in {owner, *there}]:
            record = [] if is_new else _record(self._database, thread_id, "share", new, by or user_id)
            self._database.write(*record, *_write_members(self._database, thread_id, owner, "add", new))
        return [*there, *new]

    def unshare(
        self, thread_id: str, *old_members: str, user_id: str | None = None, by: str | None = None
    ) -> list[str]:
        """Share a thread no more with some of its members. Idempotent. What they said in it stays.

        Args:
            thread_id: the thread.
            *old_members: the ids of the users.
            user_id: the user whose thread it must be; or a member, who can only remove this very member.
            by: the person who does this, for the record; by default the `user_id`.

        Returns:
            All members now.

        Raises:
            InvalidArgument: no member is named.
        """
        names = _names_of(old_members)
        is_own = user_id is not None and names == [user_of(user_id)]
        thread = self.get(thread_id, user_id=user_id) if is_own else self._owned(thread_id, user_id, "remove members")
        there = _read_members(self._database, thread_id, thread.user_id)
        if old := [name for name in there if name in names]:
            record = _record(self._database, thread_id, "unshare", old, by or user_id)
            self._database.write(*record, *_write_members(self._database, thread_id, thread.user_id, "remove", old))
        return [name for name in there if name not in names]

    aowner = async_twin(owner)
    arunning = async_twin(running)
    amembers = async_twin(members)
    ashare = async_twin(share)
    aunshare = async_twin(unshare)

    def _owned(self, thread_id: str, user_id: str | None, action: str) -> Thread:
        """Return a thread that is the user's own; see `check_owner`."""
        return check_owner(self.get(thread_id, user_id=user_id), user_id, action)


def check_owner(thread: Thread, user_id: str | None, action: str) -> Thread:
    """Return a thread that is the user's own.

    Raises:
        NotPermitted: it is shared with the user.
    """
    if user_id is not None and thread.user_id != asked_user(user_id):
        raise NotPermitted(
            f"Thread {thread.thread_id!r} is shared with user {user_id!r}, and only its own user may {action}. "
            "Nothing was changed."
        )
    return thread


def _names_of(members: Sequence[str]) -> list[str]:
    """Return the user ids of members, each once.

    Raises:
        InvalidArgument: there is none, or one is empty or cannot be stored.
        TypeError: one is no text.
    """
    for member in members:
        if not isinstance(member, str):
            raise TypeError(f"The member {member!r} is a {type(member).__name__}. Needed: the id of a user, as text.")
    names = list(dict.fromkeys(name for name in map(user_of, members) if name is not None))
    if not members or not all(members):
        raise InvalidArgument(f"There is no user in {list(members)!r}. Needed: the ids of one user or several.")
    return names


def _read_members(database: Database, thread_id: str, owner: str | None) -> list[str]:
    """Return the members of a thread of this owner, oldest first."""
    [rows] = database.read((database.backend.sql["members"], {"thread_id": str(thread_id), "owner": owner}))
    return [row.user_id for row in rows]


def _write_members(
    database: Database, thread_id: str, owner: str | None, change: Literal["add", "remove"], members: Sequence[str]
) -> list[Call]:
    """Build the calls that add members to a thread, or remove them."""
    place = {"thread_id": str(thread_id), "owner": owner}
    return [(database.backend.sql[f"{change}_member"], {**place, "member": member}) for member in members]


def _record(database: Database, thread_id: str, event: str, members: Sequence[str], by: str | None) -> list[Call]:
    """Build the calls that record who was added or removed. They lock the thread, whose events are numbered."""
    sql = database.backend.sql
    database.sealer.key_no(str(thread_id))
    lock = (sql["lock_thread"], {"thread_id": str(thread_id)})
    return [lock, add_event(database, str(thread_id), event, {"members": list(members)}, by)]
