"""Values that this program could not rebuild, as they are stored, so that the next save loses no more of them. No I/O.

A value whose type is gone is loaded as what it consists of. A run saves its whole state again at each step, and would
save the parts without the name of the type. As long as a channel has the version that was loaded, it is saved as it was
stored.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock
from typing import Any, Final, cast

from langgraph.checkpoint.base import Checkpoint

from holdfast.checkpoints.serde.types.parts import Kept

# Values of more channels than this that could not be rebuilt lose their types at the next save.
_MOST: Final = 256

_Place = tuple[str, str, Any]
"""A thread, a channel and its version."""


class KeptValues:
    """The stored values of channels that have lost a type when they were loaded. Safe for threads."""

    def __init__(self) -> None:
        self._values: OrderedDict[_Place, Any] = OrderedDict()
        self._lock = Lock()

    def note(self, thread_id: str, stored: Checkpoint) -> None:
        """Note a checkpoint of which a part could not be rebuilt, as `Types.keeping` has loaded it."""
        found = {
            place: value
            for channel, value in stored["channel_values"].items()
            if (place := _place(thread_id, channel, stored["channel_versions"])) is not None and _holds_kept(value)
        }
        with self._lock:
            for place, value in found.items():
                self._values.pop(place, None)
                self._values[place] = value
            while len(self._values) > _MOST:
                self._values.popitem(last=False)

    def restored(self, thread_id: str, checkpoint: Checkpoint) -> Checkpoint:
        """Return a checkpoint to save, in which the channels that are as they were loaded are as they were stored."""
        if not self._values:
            return checkpoint
        versions, values = checkpoint["channel_versions"], checkpoint["channel_values"]
        with self._lock:
            stored = {
                channel: self._values[place]
                for channel in values
                if (place := _place(thread_id, channel, versions)) is not None and place in self._values
            }
        if not stored:
            return checkpoint
        return cast("Checkpoint", {**checkpoint, "channel_values": {**values, **stored}})


def _place(thread_id: str, channel: str, versions: Mapping[str, Any]) -> _Place | None:
    """Return the place of a channel's value; `None` if the version may be that of another value on another branch."""
    version = versions.get(channel)
    return None if version is None or isinstance(version, int) else (thread_id, channel, version)


def _holds_kept(value: Any) -> bool:
    """Return whether something in a value has a type. Messages have rows of their own, which stay."""
    if isinstance(value, dict):
        return any(map(_holds_kept, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_holds_kept, value))
    return type(value) is Kept
