"""Two writers on one thread never lose a message.

A run that loaded the newest checkpoint of a thread, the *head*, may only write on that head. Which run did is told by
the `thread_id` itself: LangGraph carries the one that `get_tuple` returned through every `put` of the run, so it is a
`str` that also says what was loaded. A run that addressed an older checkpoint on purpose gets a plain `str`, and is
free.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

from langgraph.checkpoint.base import id as lg_id

from holdfast.checkpoints.backends.base import BASE, Row
from holdfast.checkpoints.errors import ClockSkew, ThreadConflict, UnknownCheckpoint
from holdfast.checkpoints.langgraph_internals import last_uuid6_timestamp, set_last_uuid6_timestamp

# 1970 in units of 100 ns since the beginning of the Gregorian calendar, from which ids count:
# https://www.rfc-editor.org/rfc/rfc9562#section-5.1
_EPOCH: Final = 0x01B21DD213814000

FIRST: Final = 1000
"""A thread's first generation can be divided by it. Before, it was 1."""


class LoadedThread(str):
    """A `thread_id` that remembers what was loaded: the head (or that there was none) and the thread's generation.

    It compares, hashes, pickles and serialises as the plain string.
    """

    head: str | None
    generation: int | None
    """`None`: the thread had no row, and when it gets one it must be its first."""
    asked: bool
    """Whether something waited for a person, or had."""

    def __new__(cls, thread_id: str, head: str | None, generation: int | None, *, asked: bool = False) -> LoadedThread:
        self = super().__new__(cls, thread_id)
        self.asked = asked
        self.head = head
        self.generation = generation
        return self

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return str, (str(self),)

    def __copy__(self) -> LoadedThread:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> LoadedThread:
        return self


def is_first(generation: int) -> bool:
    """Whether nothing was deleted in a thread since it was begun: see the statement `add_thread`."""
    return generation % FIRST == 0 or generation == 1


def is_same(before: int, now: int) -> bool:
    """Whether nothing was deleted in a thread between two attempts of a save. The first may have begun the thread, and
    was then rolled back, so that the second began it again."""
    return before == now or (is_first(before) and is_first(now))


def check_generation(thread_id: str, generation: int) -> None:
    """A run that began before the thread was deleted, or before a run in it was taken back, may not write to it any
    more, even if the id is in use again.

    Args:
        thread_id: as it stands in the run's config.
        generation: the thread's present one.

    Raises:
        ThreadConflict: the thread was deleted, or a run taken back, since it was loaded.
    """
    if not isinstance(thread_id, LoadedThread):
        return
    loaded = thread_id.generation
    if generation != loaded and not (loaded is None and is_first(generation)):
        raise ThreadConflict(str(thread_id), "the thread, or a run in it, was deleted meanwhile")


def check_head(
    thread_id: str, parent: str | None, new: str, head: str | None, *, has_parent: bool, beside: bool = False
) -> None:
    """Whether a checkpoint of the root namespace may be saved.

    Args:
        thread_id: as it stands in the run's config.
        parent: the checkpoint that the new one follows.
        new: the new checkpoint's id.
        head: the thread's newest checkpoint now.
        has_parent: whether the thread has the checkpoint `parent`.
        beside: whether the new one is to take the head's place without following it.

    Raises:
        ThreadConflict: another run has saved a checkpoint since.
        ClockSkew: the new checkpoint would not become the newest.
        UnknownCheckpoint: the run was sent to a checkpoint that is not there.
    """
    if new == head:
        return
    if not isinstance(thread_id, LoadedThread):
        if parent is not None and head is not None and not has_parent:
            raise UnknownCheckpoint(thread_id, parent)
        return
    # A run that had a head always names it: without a parent this is a new root, made on purpose (`update_state` can).
    loaded = thread_id.head if beside or parent is None else parent
    if loaded != head:
        raise ThreadConflict(
            str(thread_id), f"it was at checkpoint {loaded or '(none)'} and is now at {head or '(none)'}"
        )
    if head is not None and new <= head:
        raise ClockSkew(str(thread_id), _seconds_between(new, head))


def check_parent(
    thread_id: str, parent_id: str | None, found: Sequence[Row], *, leans: bool, beside: bool = False
) -> None:
    """Whether the checkpoint that a new one follows is still there, if the new one is nothing without it.

    Args:
        thread_id: as it stands in the run's config.
        parent_id: the checkpoint that the new one follows.
        found: its metadata in a row, if it is there.
        leans: whether some of the new one's values are stored with it.
        beside: whether the new one says again what another one said that follows the same: that may be a base.

    Raises:
        ThreadConflict: it was pruned or deleted.
    """
    is_base = not beside and any(json.loads(metadata or "{}") == BASE for (metadata,) in found)
    if is_base or (leans and not found):
        raise ThreadConflict(str(thread_id), f"checkpoint {parent_id}, which this one follows, was deleted")


def move_clock_past(checkpoint_id: str) -> None:
    """Let the next checkpoint id that this process makes be above `checkpoint_id`, wherever that was made.

    Ids are times of the host that made them, and the greatest id is the head: without this, what a host with a slow
    clock saves is not seen. https://www.rfc-editor.org/rfc/rfc9562#section-6.2 asks the same of a generator that knows
    of a later id.
    """
    time = _time_of(checkpoint_id)
    last = last_uuid6_timestamp()
    if time is not None and (last is None or time > last):
        set_last_uuid6_timestamp(time)


def _time_of(checkpoint_id: str) -> int | None:
    """The time in a version 6 id in units of 100 ns, or None for any other id."""
    try:
        uuid = UUID(checkpoint_id)
    except ValueError:
        return None
    return lg_id.UUID(hex=uuid.hex).time if uuid.version == 6 else None


def moment_of(checkpoint_id: str) -> float | None:
    """When a checkpoint was made, in epoch seconds, or None for an id that does not say so."""
    time = _time_of(checkpoint_id)
    return None if time is None else (time - _EPOCH) / 1e7


def _seconds_between(earlier: str, later: str) -> float:
    first, second = _time_of(earlier), _time_of(later)
    return 0.0 if first is None or second is None else (second - first) / 1e7
