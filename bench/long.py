"""A long conversation: the time of its turns and its bytes on disk, with each checkpointer of a database in turn."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from bench.peers import Peer
from bench.places import Place, vacuum
from bench.sizes import FULL, Sizes
from bench.talking import Talk

EVERY = 20
"""The number of turns between two points of a curve."""


@dataclass
class Long:
    """Figures of one long conversation with one checkpointer."""

    name: str
    database: str
    ours: bool
    turns: int
    bytes_per_text: float | None
    """Bytes on disk for each byte of text, with every checkpoint kept; not of a thread that was filled."""
    pruned_per_text: float | None
    """The same after `prune(keep_latest)` and vacuum; only Holdfast can."""
    first_turns_ms: float | None
    """The median time of turns 1 to 10."""
    last_turns_ms: float
    """The median time of the last 20 turns."""
    times_ms: list[float] = field(repr=False, default_factory=list)
    """The time of each turn; only of the last ones if the thread was filled."""
    cpu_ms: list[float] = field(repr=False, default_factory=list)
    """The CPU time of each turn."""
    curve: list[tuple[int, int]] = field(repr=False, default_factory=list)
    """Pairs of a number of turns and the bytes on disk after them."""


def long_conversations(peers: Sequence[Peer], sizes: Sizes = FULL) -> list[Long]:
    """Measure a conversation with each of the checkpointers, each turn of two messages of 2,000 characters.

    The turn with one is followed by the same turn with the next.
    """
    curves: list[list[tuple[int, int]]] = [[] for _ in peers]
    with ExitStack() as stack:
        opened = [stack.enter_context(peer.opened()) for peer in peers]
        talks = [Talk(saver, delta=peer.delta) for peer, (saver, _) in zip(peers, opened, strict=True)]
        if not sizes.is_whole:
            for peer, talk in zip(peers, talks, strict=True):
                if not peer.ours:
                    talk.fill(sizes.turns - sizes.late_turns)
        for number in range(1, sizes.turns + 1):
            for talk, curve, (_, place) in zip(talks, curves, opened, strict=True):
                if talk.turns < number:
                    talk.turn()
                    if number % EVERY == 0:
                        curve.append((number, place.size()))
        return [
            _figures(peer, saver, place, talk, curve, sizes)
            for peer, (saver, place), talk, curve in zip(peers, opened, talks, curves, strict=True)
        ]


def _figures(peer: Peer, saver: object, place: Place, talk: Talk, curve: list[tuple[int, int]], sizes: Sizes) -> Long:
    talk.check()
    whole, pruned = place.size() / talk.text_bytes, None
    if peer.ours and peer.database != "memory":
        saver.prune([talk.config["configurable"]["thread_id"]])  # type: ignore[attr-defined]
        vacuum(saver, peer.database)
        talk.check()
        pruned = place.size() / talk.text_bytes
    last = talk.median(max(1, len(talk.times) - sizes.late_turns + 1), len(talk.times))
    return Long(
        peer.label, peer.database, peer.ours, talk.turns,
        bytes_per_text=None if talk.filled else whole,
        pruned_per_text=pruned,
        first_turns_ms=None if talk.filled else talk.median(1, 10),
        last_turns_ms=last,
        times_ms=[round(time, 3) for time in talk.times],
        cpu_ms=[round(time, 3) for time in talk.cpu_times],
        curve=curve,
    )  # fmt: skip
