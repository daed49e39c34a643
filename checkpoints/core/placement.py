"""The choice of a row for each message of a save, made inside the transaction while the thread is locked. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import Any, Final, NamedTuple

from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.langgraph_internals import RESERVED, START
from holdfast.checkpoints.serde.encryption import Sealer
from holdfast.checkpoints.serde.known import Known, Template
from holdfast.checkpoints.serde.messages import MessageRow
from holdfast.checkpoints.serde.values import Draft, MessageList


class RowOwner(NamedTuple):
    """The checkpoint, or the write of a task, that message rows are saved with."""

    thread_id: str
    ns: str
    checkpoint_id: str | None
    """`None` for the write of a task, which is not part of the conversation yet."""
    run_id: str | None
    step: int | None
    user_id: str | None = None
    """The user of the run; `None` if that is the thread's own user."""


class NewRow(NamedTuple):
    """A message that gets a row of its own."""

    seq: int
    channel: str
    row: MessageRow


@dataclass
class Placement:
    """The rows of the messages of a save, as `place` has chosen them."""

    next_seq: int
    new_rows: list[NewRow] = field(default_factory=list)
    bytes: int = 0
    """The size of the new rows."""
    claimed_rows: list[dict[str, Any]] = field(default_factory=list)
    """Parameters of the statement `claim_row`."""
    claimed_known: list[Known] = field(default_factory=list)
    """The cache entries of claimed rows, as they are after the save."""
    added: list[Candidate] = field(default_factory=list)
    """The new rows, as candidates for later saves."""
    said: set[int] = field(default_factory=set)
    """The rows that this save makes part of the conversation. A set, because a save may hold one row several times: in
    two channels, or both as a cached object and as a copy of it."""


def _size(text: str | None) -> int:
    return 0 if text is None else len(text) if text.isascii() else len(text.encode())


class Candidate:
    """A row with the digest of a message: a stored one, or one that this save adds."""

    __slots__ = ("channel", "committed", "message_id", "ns", "redacted", "seq")

    def __init__(
        self, seq: int, message_id: str | None, ns: str, channel: str, committed: bool, *, redacted: bool = False
    ) -> None:
        self.seq = seq
        self.message_id = message_id
        self.ns = ns
        self.channel = channel
        self.committed = committed
        self.redacted = redacted
        """Whether the row says something else by now than the message with its digest."""


class SameDigest:
    """The rows with one digest: those of one message, however often it was said."""

    __slots__ = ("_by_id", "_last", "_without_id")

    def __init__(self) -> None:
        self._by_id: dict[str, Candidate] = {}
        self._without_id: list[Candidate] = []
        self._last: Candidate | None = None

    def __iter__(self) -> Iterator[Candidate]:
        return chain(self._by_id.values(), self._without_id)

    def add(self, row: Candidate) -> None:
        """Add a row. Its `seq` is above those of the others."""
        if row.message_id is None:
            self._without_id.append(row)
        else:
            self._by_id.setdefault(row.message_id, row)
        self._last = row

    def set_id(self, row: Candidate, message_id: str) -> None:
        """Give a row its id."""
        self._without_id.remove(row)
        row.message_id = message_id
        self._by_id.setdefault(message_id, row)

    def choose(self, message_id: str | None, messages: Iterable[Draft | Known], *, committed: bool) -> Candidate | None:
        """Return the row for a message; `None` if it needs a new one. See `place`.

        Args:
            message_id: the id of the message.
            messages: those of the same list; a row that one of them has is taken.
            committed: whether the message becomes part of the conversation.
        """
        if message_id is not None and (row := self._by_id.get(message_id)) is not None:
            return row
        if self._without_id:
            taken = {abs(message.ref) for message in messages}
            for row in self._without_id:
                if row.seq not in taken:
                    return row
        return self._last if message_id is None and not committed else None


def place(
    lists: Iterable[MessageList],
    candidates: dict[bytes, SameDigest],
    next_seq: int,
    owner: RowOwner,
    said_before: Collection[int] = (),
) -> Placement:
    """Choose a row for every draft: a stored one, or a new one. New rows are numbered in list order.

    LangGraph carries one message several times: without an id in the input, and a moment later with an id. So

    - A message with an id takes the row with the same body and the same id. If there is none, it takes a row with the
      same body and no id, and that row gets this id.
    - A message without an id takes a row with the same body and no id. Within one list each such message takes a row
      of its own: "yes" said twice is two rows.
    - A message that a task wrote is not part of the conversation yet. Without an id it may take any row with the same
      body. The checkpoint that holds the message with its id is often saved first, and so no extra row is left over.

    Args:
        lists: the messages, in order.
        candidates: the stored rows by digest. They are changed as the save changes them, so a save that fails leaves
            them wrong.
        next_seq: the number of the first new row.
        owner: what the messages are saved with.
        said_before: which of the known messages are part of the conversation already.
    """
    placement = Placement(next_seq)
    claimed: set[int] = set()
    for channel, messages, unsettled in lists:
        for message in unsettled:
            if isinstance(message, Known):
                if owner.checkpoint_id is not None and message.ref not in claimed:
                    _claim_known(message, channel, owner, placement)
                    claimed.add(message.ref)
                    if is_said(owner.ns, channel, committed=True) and abs(message.ref) not in said_before:
                        placement.said.add(abs(message.ref))
            elif not message.ref:
                if (rows := candidates.get(message.row.digest)) is None:
                    rows = candidates[message.row.digest] = SameDigest()
                _place_draft(message, channel, rows, messages, owner, placement)
    return placement


def candidates_of(rows: Iterable[Row], live_from: int) -> dict[bytes, SameDigest]:
    """Return stored rows by digest, from the backend's `rows_with_digests`, without those from before a restart.

    A row that has an id stays a candidate: its message may be put again.
    """
    found: dict[bytes, SameDigest] = {}
    for digest, seq, message_id, ns, channel, committed, redacted in sorted(rows, key=itemgetter(1)):
        if message_id is not None or seq >= live_from:
            if digest not in found:
                found[digest] = SameDigest()
            found[digest].add(Candidate(seq, message_id, ns, channel, bool(committed), redacted=bool(redacted)))
    return found


def cache_entries(drafts: Iterable[Draft], placement: Placement, ns: str) -> tuple[list[Known], dict[int, Template]]:
    """Return what to cache once the save is committed: known messages, and templates by reference."""
    known = list(placement.claimed_known)
    # The true rank may be lower. Then a later save looks at the row once more than it needs to.
    templates = {entry.ref: Template(type(entry.message), entry.contents, rank(ns, "")) for entry in known}
    for draft in drafts:
        if draft.contents is None or not draft.ref:
            continue
        known.append(Known(draft.message, draft.contents, draft.ref, draft.claimed))
        if draft.claimed:
            templates[draft.ref] = Template(type(draft.message), draft.contents, rank(ns, ""))
    return known, templates


def row_params(sealer: Sealer, owner: RowOwner, new: NewRow) -> dict[str, Any]:
    """Return the parameters of the statement that adds a row."""
    key_no, row = sealer.seal_row(owner.thread_id, new.seq, new.row)
    return {
        "thread_id": owner.thread_id,
        "seq": new.seq,
        "message_id": row.message_id,
        "digest": row.digest,
        "codec": row.codec,
        "key_no": key_no,
        "role": row.role,
        "name": row.name,
        "content": row.content,
        "body": row.body,
        "ns": owner.ns,
        "channel": new.channel,
        "checkpoint_id": owner.checkpoint_id,
        "run_id": owner.run_id,
        "step": owner.step,
        "user_id": owner.user_id,
    }


def as_it_was(row: Candidate) -> dict[str, Any]:
    """Return the parameters of the statement `claim_known_row` that name what is known of a row."""
    return {
        "was_id": row.message_id or "",
        "was_ns": row.ns,
        "was_channel": row.channel,
        "was_committed": row.committed,
    }


def is_said(ns: str, channel: str, *, committed: bool) -> bool:
    """Return whether a row is part of the conversation. In SQL `{said}` stands for the same condition."""
    return committed and ns == "" and (not channel.startswith(RESERVED) or channel == START)


def is_claimed(ns: str, row_ns: str, row_channel: str, *, committed: bool) -> bool:
    """Return whether a row stays as it is when a checkpoint of namespace `ns` holds it."""
    return committed and rank(row_ns, row_channel) <= rank(ns, "")


UNCLAIMED: Final = (True, True)
"""The rank of a row that no checkpoint holds, above all others."""


def rank(ns: str, channel: str) -> tuple[bool, bool]:
    """Return the rank of a place for a row; the lowest wins.

    The root graph comes before subgraphs, and the state before LangGraph's own channels.
    """
    return ns != "", channel.startswith(RESERVED)


def _place_draft(
    draft: Draft,
    channel: str,
    candidates: SameDigest,
    messages: Iterable[Draft | Known],
    owner: RowOwner,
    placement: Placement,
) -> None:
    message_id, committed = draft.row.message_id, owner.checkpoint_id is not None
    row = candidates.choose(message_id, messages, committed=committed)
    if row is None:
        row = Candidate(placement.next_seq, message_id, owner.ns, channel, committed)
        placement.next_seq += 1
        candidates.add(row)
        placement.added.append(row)
        placement.new_rows.append(NewRow(row.seq, channel, draft.row))
        placement.bytes += _size(draft.row.content) + len(draft.row.body)
        if is_said(row.ns, row.channel, committed=row.committed):
            placement.said.add(row.seq)
    elif _changes(row, message_id, channel, owner):
        was, was_said = as_it_was(row), is_said(row.ns, row.channel, committed=row.committed)
        if _moves(row, channel, owner):
            row.ns, row.channel = owner.ns, channel
        if message_id is not None and row.message_id is None:
            candidates.set_id(row, message_id)
        row.committed = row.committed or committed
        if is_said(row.ns, row.channel, committed=row.committed) and not was_said:
            placement.said.add(row.seq)
        placement.claimed_rows.append({**_claim(owner, row.seq, row.message_id, row.ns, row.channel), **was})
    if row.redacted:
        draft.contents = None  # it is not what is loaded from the row, and must not be cached as that
    draft.ref = row.seq if message_id is not None else -row.seq
    draft.claimed = is_claimed(owner.ns, row.ns, row.channel, committed=row.committed)


def _claim_known(known: Known, channel: str, owner: RowOwner, placement: Placement) -> None:
    placement.claimed_rows.append(_claim(owner, abs(known.ref), None, owner.ns, channel))
    if is_claimed(owner.ns, owner.ns, channel, committed=True):
        placement.claimed_known.append(known._replace(claimed=True))


def _claim(owner: RowOwner, seq: int, message_id: str | None, ns: str, channel: str) -> dict[str, Any]:
    """Return the parameters of the statement `claim_row`."""
    return {
        "thread_id": owner.thread_id,
        "seq": seq,
        "message_id": message_id,
        "ns": ns,
        "channel": channel,
        "checkpoint_id": owner.checkpoint_id,
        "run_id": owner.run_id,
        "step": owner.step,
        "user_id": owner.user_id,
    }


def _changes(row: Candidate, message_id: str | None, channel: str, owner: RowOwner) -> bool:
    return (
        (message_id is not None and row.message_id is None)
        or (owner.checkpoint_id is not None and not row.committed)
        or _moves(row, channel, owner)
    )


def _moves(row: Candidate, channel: str, owner: RowOwner) -> bool:
    """Return whether the place of this save takes over a row: a checkpoint's before a task's, then the lower rank."""
    if (owner.checkpoint_id is not None) != row.committed:
        return not row.committed
    return rank(owner.ns, channel) < rank(row.ns, row.channel)
