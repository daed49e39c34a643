"""The statistics of a database, for people."""

from __future__ import annotations

import pytest

from holdfast.checkpoints.maintenance import Stats
from holdfast.cli.db.convert import stats_lines


def stats(size: int, text: int) -> Stats:
    return Stats(bytes=size, free=None, threads=1, checkpoints=3, writes=2, messages=2, text=text, parts=[], largest=[])


@pytest.mark.parametrize(
    ("size", "text", "line"),
    [
        (3_000_000, 1_500_000, "1.5 MB of text in message rows: 2.00 bytes stored for each byte of text"),
        (491_520, 101, "101 bytes of text in message rows"),
    ],
)
def test_bytes_for_each_byte_of_text_are_shown_only_if_there_is_enough_text(size: int, text: int, line: str) -> None:
    assert stats_lines(stats(size, text))[2:] == [line]


def test_a_database_without_message_rows_has_no_line_about_text() -> None:
    assert len(stats_lines(stats(491_520, 0))) == 2
