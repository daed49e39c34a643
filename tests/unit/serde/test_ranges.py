"""Ranges of `seq`: lists of rows in few bytes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.checkpoints.serde.ranges import compress, expand, spans

refs = st.one_of(
    st.lists(st.integers(-6, 6).filter(bool), max_size=20),  # runs, repetitions and both directions
    st.lists(st.integers(-(2**63), 2**63).filter(bool), max_size=5),
    st.tuples(st.integers(1, 1000), st.integers(0, 300)).map(lambda run: list(range(run[0], run[0] + run[1]))),
)
seqs = st.lists(st.one_of(st.integers(1, 40), st.integers(1, 10**6)), max_size=40)


@given(refs)
def test_compressed_references_expand_to_the_same_references(refs: list[int]) -> None:
    ranges = compress(refs)
    assert expand(ranges) == refs
    assert len(ranges) <= 2 * len(refs)
    assert all(
        abs(first) <= abs(last) and first * last > 0 for first, last in zip(ranges[::2], ranges[1::2], strict=True)
    )


@given(refs)
def test_no_two_neighbours_could_have_been_one_range(refs: list[int]) -> None:
    ranges = compress(refs)
    for last, first in zip(ranges[1:-1:2], ranges[2::2], strict=True):
        assert first * last < 0 or abs(first) != abs(last) + 1


def test_a_conversation_without_gaps_is_one_range_however_long() -> None:
    assert compress(range(1, 100_001)) == [1, 100_000]
    assert compress([]) == expand([]) == []


def test_messages_without_ids_go_downwards() -> None:
    assert compress([-3, -4, -5, 5, 6, 1]) == [-3, -5, 5, 6, 1, 1]
    assert compress([3, 2, 1, -1, -1]) == [3, 3, 2, 2, 1, 1, -1, -1, -1, -1]


@pytest.mark.parametrize("damaged", [[1], [1, 2, 3], [0, 0], [0, 5], [-1, 1], [3, 1], [-3, -1], [1, 2, 2, -2]])
def test_damaged_ranges_are_an_error_and_never_a_shorter_list(damaged: list[int]) -> None:
    with pytest.raises(ValueError, match=r"pairs|no range goes"):
        expand(damaged)


@given(seqs, st.integers(1, 10))
def test_spans_cover_every_row_without_overlapping(seqs: list[int], most: int) -> None:
    found = spans(seqs, most=most)

    assert len(found) <= most
    assert all(any(first <= seq <= last for first, last in found) for seq in seqs)
    assert all(first <= last for first, last in found)
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(found)), "in order, and apart"
    assert {seq for span in found for seq in span} <= set(seqs), "each begins and ends with a row that is wanted"


@given(seqs, st.integers(1, 10))
def test_spans_read_no_more_rows_than_any_other_choice_of_as_many(seqs: list[int], most: int) -> None:
    gaps = sorted((b - a - 1 for a, b in pairwise(sorted(set(seqs)))), reverse=True)
    read = sum(last - first + 1 for first, last in spans(seqs, most=most))
    assert read == len(set(seqs)) + sum(gaps[most - 1 :])


@given(st.lists(st.integers(1, 30), max_size=8))
def test_few_rows_are_read_without_any_in_between(seqs: list[int]) -> None:
    assert sum(last - first + 1 for first, last in spans(seqs)) == len(set(seqs))
