"""What this process knows of a thread and of its message rows, so that it can save without reading them first.

Such a save is one compare-and-set. Its first statement names what is known of the thread's own row, and nothing is
saved if any of that is otherwise by now. What is known of the message rows follows from it: each save that adds rows
moves `next_seq`, and what deletes rows makes a new generation. Only a claim leaves no trace, so a save that claims a
row names what is known of the row as well.

With every doubt the state is dropped, and the next save reads it again: when a save is refused or cut off, and when the
database may have been replaced by another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, Final, NamedTuple

from holdfast.checkpoints.core.placement import Candidate, Placement, SameDigest, is_said
from holdfast.checkpoints.encryption import places
from holdfast.checkpoints.langgraph_internals import RESERVED, START
from holdfast.checkpoints.serde.encryption import Sealer

MOST_THREADS: Final = 1024
MOST_ROWS: Final = 65_536  # of all threads together, at about 400 bytes each
MOST_ROWS_OF_THREAD: Final = 32_768


class ThreadRow(NamedTuple):
    """A thread's own row, as the statement `lock_thread` returns it."""

    generation: int
    next_seq: int
    deleted: bool
    user_id: str | None
    title: str | None
    metadata: str | None
    head: str | None
    """The newest root checkpoint; `None` if the thread is not in the index."""
    live_from: int
    """The first message row that later messages may match; the rows before it are from before a restart."""
    prompt: bytes | None
    """The digest of the current system prompt."""
    key_no: int | None = None
    """The number of its data key; `None` if it is not encrypted."""
    is_sealed_only: bool = False
    """Whether all threads of the database are encrypted."""

    @classmethod
    def of(cls, row: Sequence[Any], sealer: Sealer, thread_id: str) -> ThreadRow:
        """Make one of a row of the statement `lock_thread`, decrypted."""
        found = cls(*row)
        if found.key_no is None:
            return found
        title, metadata, prompt = found.title, found.metadata, found.prompt
        return found._replace(
            title=None if title is None else sealer.open_text(thread_id, places.TITLE, title),
            metadata=None if metadata is None else sealer.open_text(thread_id, places.METADATA, metadata),
            prompt=None if prompt is None else sealer.open_bytes(thread_id, places.PROMPT, bytes(prompt)),
        )


class ThreadState:
    """The rows of a thread as they are after its last save."""

    __slots__ = ("by_seq", "moved_at", "row", "rows")

    def __init__(self, row: ThreadRow, rows: dict[bytes, SameDigest], moved_at: float = 0.0) -> None:
        """
        Args:
            row: the thread's own row.
            rows: all message rows that a later message may match, by digest.
            moved_at: when the thread moved in the list of threads last, on the clock `time.monotonic`; 0: long ago.
        """
        self.row = row
        self.rows = rows
        self.by_seq = {row.seq: row for found in rows.values() for row in found}
        self.moved_at = moved_at

    def said(self, seqs: set[int]) -> set[int] | None:
        """Return which of some rows are part of the conversation; `None` if one of them is not known."""
        found = set()
        for seq in seqs:
            if (row := self.by_seq.get(seq)) is None:
                return None
            if is_said(row.ns, row.channel, committed=row.committed):
                found.add(seq)
        return found

    def apply(self, row: ThreadRow, placement: Placement, moved_at: float) -> None:
        """Take over what a save has changed. `place` has changed the rows of its new messages already."""
        self.row, self.moved_at = row, moved_at
        for added in placement.added:
            self.by_seq[added.seq] = added
        for params in placement.claimed_rows:
            _claim(self.by_seq[params["seq"]], params)


def _claim(row: Candidate, params: Mapping[str, Any]) -> None:
    """Change a row as the statement `claim_row` does with these parameters."""
    is_of_root = row.committed and row.ns == ""
    channel: str = params["channel"]
    is_input = row.channel == START and channel.startswith(RESERVED)
    if not (is_of_root and (params["ns"] != "" or not row.channel.startswith(RESERVED) or is_input)):
        row.channel = channel
    if not is_of_root:
        row.ns = params["ns"]
    row.message_id = row.message_id or params["message_id"]
    row.committed = row.committed or params["checkpoint_id"] is not None


class ThreadStates:
    """The states of the threads used last, with limits for threads and rows. Thread-safe.

    A state itself is used only by the save that is first in the queue of its thread.
    """

    def __init__(self) -> None:
        self._threads: OrderedDict[str, tuple[ThreadState, int]] = OrderedDict()
        self._rows = 0
        self._lock = Lock()
        self._avoided: OrderedDict[str, None] = OrderedDict()
        self.moved_last: str | None = None
        """The thread that a save of this process has moved last in the list of threads."""

    def get(self, thread_id: str) -> ThreadState | None:
        """Return what is known of a thread; `None` if nothing is."""
        found = self._threads.get(thread_id)
        return None if found is None else found[0]

    def put(self, thread_id: str, state: ThreadState, *, moved: bool) -> None:
        """Keep a state that is new or was changed.

        Args:
            thread_id: the thread.
            state: the state.
            moved: whether the thread has moved in the list of threads.
        """
        number = len(state.by_seq)
        self._avoided.pop(thread_id, None)
        if moved:
            self.moved_last = thread_id
        with self._lock:
            self._take(thread_id)
            if number > MOST_ROWS_OF_THREAD:
                return
            self._threads[thread_id] = state, number
            self._rows += number
            while len(self._threads) > MOST_THREADS or self._rows > MOST_ROWS:
                self._take(next(iter(self._threads)))

    def avoid(self, thread_id: str) -> None:
        """Note that saves of a thread do not go at once, so that its rows are not read for them."""
        with self._lock:
            self._avoided[thread_id] = None
            if len(self._avoided) > MOST_THREADS:
                self._avoided.popitem(last=False)

    def is_avoided(self, thread_id: str) -> bool:
        """Return whether the last checkpoint of a thread did not go at once."""
        return thread_id in self._avoided

    def forget(self, thread_id: str) -> None:
        """Drop what is known of a thread."""
        with self._lock:
            self._take(thread_id)

    def forget_all(self) -> None:
        """Drop everything, because the database may have been replaced by another."""
        with self._lock:
            self._threads.clear()
            self._rows = 0
            self.moved_last = None

    def _take(self, thread_id: str) -> None:
        found = self._threads.pop(thread_id, None)
        if found is not None:
            self._rows -= found[1]
