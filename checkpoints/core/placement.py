"""Which row each message of a save is: decided inside the transaction, once the thread is locked. No I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from holdfast.checkpoints.backends.base import Row
from holdfast.checkpoints.core.cache import Known, Template
from holdfast.checkpoints.langgraph_internals import RESERVED, START
from holdfast.checkpoints.serde.messages import MessageRow
from holdfast.checkpoints.serde.values import Draft, MessageList


class RowOwner(NamedTuple):
    """Where messages are saved."""

    thread_id: str
    ns: str
    checkpoint_id: str | None
    """The checkpoint that has them; `None` for the write of a task, which is not part of the conversation yet."""
    run_id: str | None
    step: int | None
    user_id: str | None = None
    """In whose run; `None` for the thread's own user."""


@dataclass(slots=True)
class Candidate:
    """A row that is there already, or is about to be."""

    seq: int
    message_id: str | None
    ns: str
    channel: str
    committed: bool


class NewRow(NamedTuple):
    seq: int
    channel: str
    row: MessageRow


@dataclass
class Placement:
    """What `place` decided."""

    next_seq: int
    new_rows: list[NewRow] = field(default_factory=list)
    claimed_rows: list[dict[str, Any]] = field(default_factory=list)
    """Parameters of `claim_row`."""
    claimed_known: list[Known] = field(default_factory=list)
    """Those of them that were known, as they are afterwards."""
    said: set[int] = field(default_factory=set)
    """The rows that are part of the conversation now and were not before. One may be met several times in a save: in
    two channels, or once as an object whose row is known and once as its copy."""

    @property
    def bytes(self) -> int:
        """Of the new rows."""
        return sum(len((new.row.content or "").encode()) + len(new.row.body) for new in self.new_rows)


def place(
    lists: Iterable[MessageList],
    found: Mapping[bytes, Sequence[Row]],
    next_seq: int,
    home: RowOwner,
    said_before: Collection[int] = (),
) -> Placement:
    """Give every draft its row: one that is there, or a new one, numbered in list order.

    LangGraph carries one message several times: without an id in the input, and a moment later with an id. So

    - a message with an id is the row with the same body and the same id; or else one with the same body that has no id
      yet, which from now on has this id;
    - a message without an id is a row with the same body that has no id either, but within one list each has a row of
      its own: "yes" said twice is two rows;
    - what a task wrote is not said yet. Without an id it may be any row with the same body: often the checkpoint that
      has it, with its id, is saved first, and then no row is left over.

    Args:
        lists: the messages, in order.
        found: for each digest, the rows with it, from the backend's `rows_with_digests`.
        next_seq: the number that the next new row gets.
        home: where the messages are saved.
        said_before: of the known messages, those that are part of the conversation already.
    """
    placement = Placement(next_seq)
    candidates: defaultdict[bytes, list[Candidate]] = defaultdict(list)
    for digest, rows in found.items():
        candidates[digest] = [
            Candidate(row.seq, row.message_id, row.ns, row.channel, bool(row.committed))
            for row in sorted(rows, key=lambda row: int(row.seq))
        ]
    claimed: set[int] = set()
    for channel, messages in lists:
        taken: set[int] | None = None
        for message in messages:
            if isinstance(message, Known):
                if not message.claimed and home.checkpoint_id is not None and message.ref not in claimed:
                    _claim_known(message, channel, home, placement)
                    claimed.add(message.ref)
                    if is_said(home.ns, channel, committed=True) and abs(message.ref) not in said_before:
                        placement.said.add(abs(message.ref))
            elif not message.ref:
                if taken is None:
                    taken = {abs(other.ref) for other in messages}
                _place_one(message, channel, candidates[message.row.digest], taken, home, placement)
                taken.add(abs(message.ref))
    return placement


def learned(drafts: Iterable[Draft], placement: Placement, ns: str) -> tuple[list[Known], dict[int, Template]]:
    """What to remember after the save is committed."""
    known = list(placement.claimed_known)
    # The rank is not above this; where it is below, somebody may look at the row once more than needed.
    templates = {found.ref: Template(type(found.message), found.fingerprint, rank(ns, "")) for found in known}
    for draft in drafts:
        if draft.fingerprint is None or not draft.ref:
            continue
        known.append(Known(draft.message, draft.fingerprint, draft.ref, draft.claimed))
        if draft.claimed:
            templates[draft.ref] = Template(type(draft.message), draft.fingerprint, rank(ns, ""))
    return known, templates


def is_said(ns: str, channel: str, *, committed: bool) -> bool:
    """Whether a row is part of the conversation: what `{said}` says in SQL."""
    return committed and ns == "" and (not channel.startswith(RESERVED) or channel == START)


def is_claimed(ns: str, row_ns: str, row_channel: str, *, committed: bool) -> bool:
    """Whether a row need not be touched when a checkpoint of namespace `ns` has it."""
    return committed and rank(row_ns, row_channel) <= rank(ns, "")


def _place_one(
    draft: Draft, channel: str, candidates: list[Candidate], taken: set[int], home: RowOwner, placement: Placement
) -> None:
    match = _choose(candidates, draft.row.message_id, taken, said=home.checkpoint_id is not None)
    if match is None:
        match = Candidate(
            placement.next_seq, draft.row.message_id, home.ns, channel, committed=home.checkpoint_id is not None
        )
        placement.next_seq += 1
        candidates.append(match)
        placement.new_rows.append(NewRow(match.seq, channel, draft.row))
        if is_said(match.ns, match.channel, committed=match.committed):
            placement.said.add(match.seq)
    elif _changes(match, draft.row.message_id, channel, home):
        before = is_said(match.ns, match.channel, committed=match.committed)
        if _moves(match, channel, home):
            match.ns, match.channel = home.ns, channel
        match.message_id = match.message_id or draft.row.message_id
        match.committed = match.committed or home.checkpoint_id is not None
        if is_said(match.ns, match.channel, committed=match.committed) and not before:
            placement.said.add(match.seq)
        placement.claimed_rows.append(
            {
                "seq": match.seq,
                **home._asdict(),
                "message_id": match.message_id,
                "ns": match.ns,
                "channel": match.channel,
            }
        )
    draft.ref = match.seq if draft.row.message_id is not None else -match.seq
    draft.claimed = is_claimed(home.ns, match.ns, match.channel, committed=match.committed)


def _claim_known(known: Known, channel: str, home: RowOwner, placement: Placement) -> None:
    place = {"seq": abs(known.ref), **home._asdict(), "message_id": None, "channel": channel}
    placement.claimed_rows.append(place)
    if is_claimed(home.ns, home.ns, channel, committed=True):
        placement.claimed_known.append(known._replace(claimed=True))


def _choose(candidates: list[Candidate], message_id: str | None, taken: set[int], *, said: bool) -> Candidate | None:
    if message_id is not None:
        for candidate in candidates:
            if candidate.message_id == message_id:
                return candidate
    for candidate in candidates:
        if candidate.message_id is None and candidate.seq not in taken:
            return candidate
    if message_id is None and not said and candidates:
        return candidates[-1]
    return None


def _changes(row: Candidate, message_id: str | None, channel: str, home: RowOwner) -> bool:
    return (
        (message_id is not None and row.message_id is None)
        or (home.checkpoint_id is not None and not row.committed)
        or _moves(row, channel, home)
    )


def _moves(row: Candidate, channel: str, home: RowOwner) -> bool:
    """Whether a row belongs to where it is saved now, and no more to where it was: what a checkpoint has goes before
    what a task wrote, and then the lower rank."""
    if (home.checkpoint_id is not None) != row.committed:
        return not row.committed
    return rank(home.ns, channel) < rank(row.ns, row.channel)


UNCLAIMED: Final = (True, True)
"""Of a row that is not part of a checkpoint: above all others."""


def rank(ns: str, channel: str) -> tuple[bool, bool]:
    """The lower, the more a row belongs there: the root before subgraphs, the state before LangGraph's own channels."""
    return ns != "", channel.startswith(RESERVED)
