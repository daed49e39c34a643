"""Detection of conflicts between writers of one thread, so that no message is lost.

The *head* is the newest checkpoint of a thread. A run that loaded the head may only write on that head; `loads` finds
out what the run of a save has loaded. A run that was sent to an older checkpoint on purpose is not checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from random import getrandbits
from typing import Final, NamedTuple
from uuid import UUID

from langgraph.checkpoint.base import Checkpoint

from holdfast.checkpoints.backends.base import Call
from holdfast.checkpoints.backends.records import BASE, CheckpointKey, Row
from holdfast.checkpoints.errors import ClockSkew, ThreadConflict, UnknownCheckpoint
from holdfast.checkpoints.langgraph_internals import last_uuid6_timestamp, set_last_uuid6_timestamp
from holdfast.checkpoints.sql import Statements

# 1970 in units of 100 ns since the start of the Gregorian calendar, from which the times in ids count:
# https://www.rfc-editor.org/rfc/rfc9562#section-5.1
_EPOCH: Final = 0x01B21DD213814000

# A minute: a clock that is not synchronised may be as far behind, and a save may wait as long for its database.
_VERSION_6: Final = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-6([0-9a-f]{3})-[89ab][0-9a-f]{3}-[0-9a-f]{12}").fullmatch
"""Finds the parts of the time in an id of version 6: https://www.rfc-editor.org/rfc/rfc9562#section-5.6."""

_SET_BACK: Final = 60 * 10_000_000

FIRST: Final = 1000
"""The first generation of a thread is a multiple of this. Older versions of the code used 1."""


class Merged(NamedTuple):
    """What the checkpoints of a run are merged with. The run itself goes on without it."""

    base: Checkpoint | None
    """The checkpoint of the run that the update followed, as the run has it."""
    update: Checkpoint
    last: Checkpoint
    """The last checkpoint of the run, as the run has it."""
    update_first: bool
    """See `merge`."""


class LoadedThread(str):
    """A `thread_id` that remembers the head and the generation of the thread when it was loaded.

    It never leaves the checkpointer: the configs that callers see hold plain strings.
    """

    head: str | None
    """`None`: the thread had no checkpoint."""
    generation: int | None
    """`None`: the thread had no row, so its row must be in its first generation when it is added."""
    had_interrupt: bool
    """Whether the head had an interrupt, answered or not."""
    within: str | None
    """The checkpoint of the same thread at which the run is whose task has loaded this."""
    merged: Merged | None
    """What the last checkpoint of the run was merged with."""

    def __new__(
        cls,
        thread_id: str,
        head: str | None,
        generation: int | None,
        *,
        had_interrupt: bool = False,
        within: str | None = None,
    ) -> LoadedThread:
        self = super().__new__(cls, thread_id)
        self.had_interrupt = had_interrupt
        self.within = within
        self.merged = None
        self.head = head
        self.generation = generation
        return self


def is_first(generation: int) -> bool:
    """Return whether nothing was deleted in a thread since its row was added; see the statement `add_thread`."""
    return generation % FIRST == 0 or generation == 1


def is_same(before: int, now: int) -> bool:
    """Return whether nothing was deleted in a thread between two attempts of a save.

    If the first attempt added the thread's row and was rolled back, the second adds it again with another generation.
    """
    return before == now or (is_first(before) and is_first(now))


def check_generation(thread_id: str, generation: int) -> None:
    """Refuse a run that loaded a thread before the thread, or a run in it, was deleted; the id may be in use again.

    Args:
        thread_id: the `thread_id` in the config of the run.
        generation: the present generation of the thread.

    Raises:
        ThreadConflict: the thread, or a run in it, was deleted after it was loaded.
    """
    if not is_loaded_generation(thread_id, generation):
        raise ThreadConflict(str(thread_id), "the thread, or a run in it, was deleted or redacted meanwhile")


def is_loaded_generation(thread_id: str, generation: int) -> bool:
    """Return whether a thread is still of the generation that a run has loaded; true if that is not known."""
    if not isinstance(thread_id, LoadedThread):
        return True
    loaded = thread_id.generation
    return generation == loaded or (loaded is None and is_first(generation))


class ConflictCheck(NamedTuple):
    """The check whether a new checkpoint may follow on what is stored, while the thread is locked."""

    thread_id: str
    """The `thread_id` in the config of the run, often a `LoadedThread`."""
    key: CheckpointKey
    """The new checkpoint."""
    parent_id: str | None
    """The checkpoint that it follows."""
    leans: bool
    """Whether some of its values are stored only with the parent."""
    replaces_head: bool
    """Whether it becomes the head without following the one that was loaded."""

    def reads(self, sql: Statements) -> list[Call]:
        """Return the calls whose rows `check` needs."""
        thread_id, ns, checkpoint_id = *self.key[:2], self.parent_id
        calls: list[Call] = []
        if not ns:
            calls.append((sql["head"], {"thread_id": thread_id, "parent_id": checkpoint_id}))
        follows_head = not ns and isinstance(self.thread_id, LoadedThread) and not self.replaces_head
        if checkpoint_id and not follows_head:
            calls.append((sql["parent"], {"thread_id": thread_id, "ns": ns, "checkpoint_id": checkpoint_id}))
        return calls

    def check(self, found: Sequence[Sequence[Row]]) -> None:
        """Refuse the checkpoint if it conflicts with another writer.

        Args:
            found: the rows of each call of `reads`, in order.

        Raises:
            ThreadConflict: another run has saved a checkpoint since, or the parent was pruned or deleted.
            ClockSkew: the new checkpoint would not become the newest.
            UnknownCheckpoint: the run was sent to a checkpoint that does not exist.
        """
        if not self.key.ns:
            [[(head, has_parent)], *found] = found
            self._check_head(head, has_parent=bool(has_parent))
        for parent in found:
            self._check_parent(parent)

    def _check_head(self, head: str | None, *, has_parent: bool) -> None:
        thread_id, new = self.thread_id, self.key.checkpoint_id
        if new == head:
            return
        if not isinstance(thread_id, LoadedThread):
            if self.parent_id is not None and head is not None and not has_parent:
                raise UnknownCheckpoint(thread_id, self.parent_id)
            return
        # A run that loaded a head always names it as the parent. A checkpoint without a parent is a new root that was
        # made on purpose, as `update_state` can.
        loaded = thread_id.head if self.replaces_head or self.parent_id is None else self.parent_id
        if loaded != head:
            raise ThreadConflict(
                str(thread_id), f"it was at checkpoint {loaded or '(none)'} and is now at {head or '(none)'}", head=head
            )
        if head is not None and new <= head:
            raise ClockSkew(str(thread_id), _seconds_between(new, head), head=head)

    def _check_parent(self, parent: Sequence[Row]) -> None:
        # A checkpoint that replaces the head repeats an older one and has the same parent, which may be a base.
        is_base = not self.replaces_head and any(json.loads(metadata or "{}") == BASE for (metadata,) in parent)
        if is_base or (self.leans and not parent):
            raise ThreadConflict(
                str(self.thread_id), f"checkpoint {self.parent_id}, which this one follows, was deleted"
            )


def move_clock_past(checkpoint_id: str) -> None:
    """Make the next checkpoint id of this process greater than `checkpoint_id`, which any host may have made.

    Ids hold the time of the host that made them, and the greatest id is the head. Without this, a checkpoint of a host
    with a slow clock would not become the head. https://www.rfc-editor.org/rfc/rfc9562#section-6.2 asks the same of a
    generator that knows of a later id.
    """
    time = _time_of(checkpoint_id)
    last = last_uuid6_timestamp()
    if time is not None and (last is None or time > last):
        set_last_uuid6_timestamp(time)


def next_version(current: str | float | None) -> str | float:
    """Return the version of a channel that follows another one, in the form of LangGraph's own savers.

    These may continue a thread of Holdfast. The random part differs between two branches that reach the same number. A
    thread whose versions are numbers keeps to numbers, because a graph compares the versions of a thread.
    """
    if isinstance(current, int | float):
        return int(current) + 1 + getrandbits(24) / 2**24
    number = 0 if current is None else int(current.split(".")[0])
    return f"{number + 1:032}.{getrandbits(48):012x}"


def id_before(head: str) -> str | None:
    """Return a new id for a checkpoint that is to come directly before the head, and so never becomes the head.

    `None` if the head's id is no time.
    """
    time = _time_of(head)
    if time is None:
        return None
    return _id_at(time - 1)


def id_of_update(checkpoint_id: str, head: str | None) -> str:
    """Return the id for an update that follows the head: up to a minute before its own, but after the head's.

    A run may have made its next checkpoint and not saved it yet, on a host whose clock is behind. That checkpoint is
    merged with the update, and must become the head.
    """
    own, before = _time_of(checkpoint_id), 0 if head is None else _time_of(head)
    if own is None or before is None:
        return checkpoint_id
    time = max(own - _SET_BACK, before + 1)
    return _id_at(time) if time < own else checkpoint_id


def _id_at(time: int) -> str:
    """Return a new id of version 6 with a time: https://www.rfc-editor.org/rfc/rfc9562#section-5.6."""
    high, low = divmod(time, 1 << 12)
    return str(UUID(int=high << 80 | (0x6000 | low) << 64 | 0b10 << 62 | getrandbits(62)))


def _time_of(checkpoint_id: str) -> int | None:
    """Return the time in a version 6 id in units of 100 ns; `None` for any other id."""
    found = _VERSION_6(checkpoint_id)
    return None if found is None else int("".join(found.groups()), 16)


def checkpoint_id_at(seconds: float) -> str:
    """Return a new id of a checkpoint that was made at a time, in epoch seconds; see `moment_of`."""
    return _id_at(max(0, round(seconds * 1e7) + _EPOCH))


def moment_of(checkpoint_id: str) -> float | None:
    """Return when a checkpoint was made, in epoch seconds; `None` if its id does not say."""
    time = _time_of(checkpoint_id)
    return None if time is None else (time - _EPOCH) / 1e7


def _seconds_between(earlier: str, later: str) -> float:
    first, second = _time_of(earlier), _time_of(later)
    return 0.0 if first is None or second is None else (second - first) / 1e7
