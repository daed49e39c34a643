"""The choice of a row for each message of a save, made inside the transaction while the thread is locked. No I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
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
    claimed_rows: list[dict[str, Any]] = field(default_factory=list)
    """Parameters of the statement `claim_row`."""
    claimed_known: list[Known] = field(default_factory=list)
    """The cache entries of claimed rows, as they are after the save."""
    said: set[int] = field(default_factory=set)
    """The rows that this save makes part of the conversation. A set, because a save may hold one row several times: in
    two channels, or both as a cached object and as a copy of it."""

    @property
    def bytes(self) -> int:
        """The size of the new rows."""
        return sum(len((new.row.content or "").encode()) + len(new.row.body) for new in self.new_rows)


@dataclass(slots=True)
class _Candidate:
    """A row with the digest of a message: a stored one, or one that this save adds."""

    seq: int
    message_id: str | None
    ns: str
    channel: str
    committed: bool


def place(
    lists: Iterable[MessageList],
    rows_by_digest: Mapping[bytes, Sequence[Row]],
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
        rows_by_digest: for each digest its stored rows, from the backend's `rows_with_digests`.
        next_seq: the number of the first new row.
        owner: what the messages are saved with.
        said_before: which of the known messages are part of the conversation already.
    """
    placement = Placement(next_seq)
    candidates: defaultdict[bytes, list[_Candidate]] = defaultdict(list)
    for digest, rows in rows_by_digest.items():
        candidates[digest] = [
            _Candidate(row.seq, row.message_id, row.ns, row.channel, bool(row.committed))
            for row in sorted(rows, key=attrgetter("seq"))
        ]
    claimed: set[int] = set()
    for channel, messages in lists:
        taken: set[int] | None = None
        for message in messages:
            if isinstance(message, Known):
                if not message.claimed and owner.checkpoint_id is not None and message.ref not in claimed:
                    _claim_known(message, channel, owner, placement)
                    claimed.add(message.ref)
                    if is_said(owner.ns, channel, committed=True) and abs(message.ref) not in said_before:
                        placement.said.add(abs(message.ref))
            elif not message.ref:
                if taken is None:
                    taken = {abs(other.ref) for other in messages}
                _place_draft(message, channel, candidates[message.row.digest], taken, owner, placement)
                taken.add(abs(message.ref))
    return placement


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
    return {"seq": new.seq, "channel": new.channel, "key_no": key_no, **owner._asdict(), **row._asdict()}


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
    draft: Draft, channel: str, candidates: list[_Candidate], taken: set[int], owner: RowOwner, placement: Placement
) -> None:
    message_id, committed = draft.row.message_id, owner.checkpoint_id is not None
    row = _choose(candidates, message_id, taken, committed=committed)
    if row is None:
        row = _Candidate(placement.next_seq, message_id, owner.ns, channel, committed)
        placement.next_seq += 1
        candidates.append(row)
        placement.new_rows.append(NewRow(row.seq, channel, draft.row))
        if is_said(row.ns, row.channel, committed=row.committed):
            placement.said.add(row.seq)
    elif _changes(row, message_id, channel, owner):
        was_said = is_said(row.ns, row.channel, committed=row.committed)
        if _moves(row, channel, owner):
            row.ns, row.channel = owner.ns, channel
        row.message_id = row.message_id or message_id
        row.committed = row.committed or committed
        if is_said(row.ns, row.channel, committed=row.committed) and not was_said:
            placement.said.add(row.seq)
        params = {"seq": row.seq, "message_id": row.message_id, "ns": row.ns, "channel": row.channel}
        placement.claimed_rows.append({**owner._asdict(), **params})
    draft.ref = row.seq if message_id is not None else -row.seq
    draft.claimed = is_claimed(owner.ns, row.ns, row.channel, committed=row.committed)


def _claim_known(known: Known, channel: str, owner: RowOwner, placement: Placement) -> None:
    params = {"seq": abs(known.ref), "message_id": None, "channel": channel}
    placement.claimed_rows.append({**owner._asdict(), **params})
    if is_claimed(owner.ns, owner.ns, channel, committed=True):
        placement.claimed_known.append(known._replace(claimed=True))


def _choose(
    candidates: list[_Candidate], message_id: str | None, taken: set[int], *, committed: bool
) -> _Candidate | None:
    if message_id is not None:
        for candidate in candidates:
            if candidate.message_id == message_id:
                return candidate
    for candidate in candidates:
        if candidate.message_id is None and candidate.seq not in taken:
            return candidate
    if message_id is None and not committed and candidates:
        return candidates[-1]
    return None


def _changes(row: _Candidate, message_id: str | None, channel: str, owner: RowOwner) -> bool:
    return (
        (message_id is not None and row.message_id is None)
        or (owner.checkpoint_id is not None and not row.committed)
        or _moves(row, channel, owner)
    )


def _moves(row: _Candidate, channel: str, owner: RowOwner) -> bool:
    """Return whether the place of this save takes over a row: a checkpoint's before a task's, then the lower rank."""
    if (owner.checkpoint_id is not None) != row.committed:
        return not row.committed
    return rank(owner.ns, channel) < rank(row.ns, row.channel)
