"""A list of message rows, written as ranges of `seq`.

A *reference* is an int: `seq` for a message as its row has it, `-seq` for the same message before it had an id.
LangGraph gives a message its id only when it enters the state, so the checkpoint before that holds it without one;
the sign keeps such a checkpoint exact although both use the same row.

Ranges are flat pairs, first and last included: rows 1 to 200 are `[1, 200]`; rows 7 and 3 without ids are
`[-7, -7, -3, -3]`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

MOST: Final = 2**24
"""The most references in one value. Without a limit, ten altered bytes could fill the memory. No value comes near it: a
thousand tasks that are each given ten thousand messages are 10,000,000."""


def compress(refs: Iterable[int]) -> list[int]:
    """Return references as ranges. `expand` returns the same references, for any order and repetition."""
    refs = list(refs)
    if refs and refs[0] > 0 and refs == list(range(refs[0], refs[0] + len(refs))):  # most are, and this is faster
        return [refs[0], refs[-1]]
    ranges: list[int] = []
    expected = 0  # no reference is 0
    for ref in refs:
        if ref == expected:
            ranges[-1] = ref
        else:
            ranges += (ref, ref)
        expected = ref + 1 if ref > 0 else ref - 1
    return ranges


def expand_each(lists: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the references of each list of ranges in a value; see `expand`."""
    left = MOST
    expanded: list[list[int]] = []
    for pairs in lists:
        expanded.append(expand(pairs, most=left))
        left -= len(expanded[-1])
    return expanded


def expand(ranges: Sequence[int], *, most: int = MOST) -> list[int]:
    """Return the references of some ranges, in their order.

    Raises:
        ValueError: `ranges` is not a flat sequence of pairs (first, last) of one sign, or has more than `most`
            references.
    """
    if len(ranges) % 2:
        raise ValueError("ranges come in pairs")
    refs: list[int] = []
    for first, last in zip(ranges[::2], ranges[1::2], strict=True):
        if first * last <= 0 or abs(last) < abs(first):
            raise ValueError(f"no range goes from {first} to {last}")
        if len(refs) + abs(last - first) >= most:
            raise ValueError(f"it has more than {MOST:,} messages")
        step = 1 if first > 0 else -1
        refs.extend(range(first, last + step, step))
    return refs


def spans(seqs: Iterable[int], *, most: int = 8) -> list[tuple[int, int]]:
    """Return at most `most` intervals (first, last) that cover all of `seqs`, each for one range query.

    Where there would be more, those with the smallest gaps between them are joined: reading a few rows too many is
    cheaper than one more query.
    """
    ordered = sorted(set(seqs))
    if not ordered:
        return []
    gaps = sorted(
        (following - seq, place) for place, (seq, following) in enumerate(pairwise(ordered)) if following - seq > 1
    )
    cuts = sorted(place for _, place in gaps[-(most - 1) :]) if most > 1 else []
    firsts = [0, *(cut + 1 for cut in cuts)]
    lasts = [*cuts, len(ordered) - 1]
    return [(ordered[first], ordered[last]) for first, last in zip(firsts, lasts, strict=True)]
