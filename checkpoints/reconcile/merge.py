"""The three-way merge of two checkpoints that follow the same one, by channel. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Final, TypeAlias, cast

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.base import Checkpoint

from holdfast.checkpoints.errors import NotStorable
from holdfast.checkpoints.langgraph_internals import INTERRUPT, DeltaSnapshot, decides_next
from holdfast.checkpoints.serde.messages import encode, is_row_class, snapshot
from holdfast.checkpoints.serde.types import Types

IsSame: TypeAlias = Callable[[Any, Any], bool]

_NOTHING: Final = object()
"""The value of a channel that is empty."""


class NotMergeable(Exception):
    """Both sides have changed the same channel, or a channel cannot be merged."""


def merge(
    base: Checkpoint | None, run: Checkpoint, update: Checkpoint, is_same: IsSame, *, update_first: bool = False
) -> Checkpoint:
    """Return the checkpoint of a run with what an update has changed.

    A channel that only one side changed is taken from that side. To a list that only one side added to, its additions
    are added after what the other side has. Which tasks are next, and what each node has seen, is taken from the run:
    it goes on from its own checkpoint, and does not know the update.

    Args:
        base: the checkpoint that both follow; `None` if the thread was empty.
        run: the checkpoint of the run, whose id is kept.
        update: the other checkpoint.
        is_same: returns whether two values are the same.
        update_first: whether the update's additions to a list come before the run's: those of a run of which this one
            is a part.

    Raises:
        NotMergeable: both sides have changed a channel, or the update has changed one that starts tasks.
    """
    sides = [side for side in (base, run, update) if side is not None]
    if any(isinstance(value, DeltaSnapshot) for side in sides for value in side["channel_values"].values()):
        raise NotMergeable("a channel is stored as differences")
    starting = {
        channel
        for side in sides
        for node, seen in side["versions_seen"].items()
        if node != INTERRUPT
        for channel in seen
        if channel != INTERRUPT
    }
    values, versions = dict(run["channel_values"]), dict(run["channel_versions"])
    for channel, version in update["channel_versions"].items():
        if decides_next(channel) or version == _version(base, channel):
            continue
        before, mine, theirs = (_value(side, channel) for side in (base, run, update))
        if is_same(before, theirs):
            continue
        if channel in starting:
            raise NotMergeable(f"channel {channel!r} starts tasks")
        if versions.get(channel) == _version(base, channel) or is_same(before, mine):
            versions[channel], merged = version, theirs
        elif is_same(mine, theirs):
            continue
        else:
            merged = _joined(channel, before, mine, theirs, is_same, update_first=update_first)
            versions[channel] = _version_of_both(versions[channel], version)
        if merged is _NOTHING:
            values.pop(channel, None)
        else:
            values[channel] = merged
    return cast("Checkpoint", {**run, "channel_values": values, "channel_versions": versions})


def sameness(types: Types) -> IsSame:
    """Return the function that compares two values of channels. Messages are the same if they would share a row."""

    def digest_of(message: BaseMessage) -> bytes:
        return encode(snapshot(message), types).digest

    def is_same(one: Any, other: Any) -> bool:
        if one is other:
            return True
        if type(one) is not type(other):
            return False
        if isinstance(one, BaseMessage) and is_row_class(type(one)):
            with suppress(NotStorable):
                return one.id == other.id and digest_of(one) == digest_of(other)
            return False
        if isinstance(one, list | tuple):
            return len(one) == len(other) and all(map(is_same, one, other))
        if isinstance(one, dict):
            return one.keys() == other.keys() and all(is_same(value, other[key]) for key, value in one.items())
        try:
            return bool(one == other)
        except Exception:  # noqa: BLE001 - `==` of any type: an array has no truth
            return False

    return is_same


def _joined(channel: str, before: Any, mine: Any, theirs: Any, is_same: IsSame, *, update_first: bool) -> list[Any]:
    """Return a list that both sides have changed.

    Raises:
        NotMergeable: the changes are not additions.
    """
    before = [] if before is _NOTHING else before
    if isinstance(before, list) and isinstance(mine, list) and isinstance(theirs, list):
        my_end, their_end = _added(before, mine, is_same), _added(before, theirs, is_same)
        if update_first and my_end is not None and their_end is not None:
            return [*theirs, *_others(my_end, theirs)]
        # In this order: an answer of the run must stay next to the call that it answers.
        if their_end is not None and (my_end is not None or _are_messages(their_end)):
            return [*mine, *_others(their_end, mine)]
        if my_end is not None and _are_messages(my_end):
            return [*theirs, *_others(my_end, theirs)]
    raise NotMergeable(f"both have changed channel {channel!r}")


def _added(before: Sequence[Any], now: Sequence[Any], is_same: IsSame) -> list[Any] | None:
    """Return what was added at the end of a list; `None` if anything else has changed."""
    if len(now) < len(before) or not all(map(is_same, before, now)):
        return None
    return list(now[len(before) :])


def _are_messages(values: Sequence[Any]) -> bool:
    return all(isinstance(value, BaseMessage) and value.id is not None for value in values)


def _others(added: Sequence[Any], present: Sequence[Any]) -> list[Any]:
    """Return the values of a list without the messages that are in the other list already."""
    ids = {value.id for value in present if isinstance(value, BaseMessage) and value.id is not None}
    return [value for value in added if not (isinstance(value, BaseMessage) and value.id in ids)]


def _value(side: Checkpoint | None, channel: str) -> Any:
    return _NOTHING if side is None else side["channel_values"].get(channel, _NOTHING)


def _version(side: Checkpoint | None, channel: str) -> Any:
    return None if side is None else side["channel_versions"].get(channel)


def _version_of_both(mine: Any, theirs: Any) -> str:
    """Return the version of a merged value: always the same for the same two versions, and no other value's.

    It has the form that `HoldfastSaver.get_next_version` makes.
    """
    fraction = blake2b(f"{mine}+{theirs}".encode(), digest_size=6).hexdigest()
    number = 0
    with suppress(ValueError):
        number = max(int(str(version).split(".")[0]) for version in (mine, theirs))
    return f"{number:032}.{fraction}"
