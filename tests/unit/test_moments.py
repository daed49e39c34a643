"""Times as callers give them, in epoch seconds."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.checkpoints.moments import epoch_seconds, utc_datetime
from tests.support.shapes import NO_TIMES

BERLIN = timezone(timedelta(hours=1))


@pytest.mark.parametrize(
    "value",
    [
        datetime(2026, 11, 1, tzinfo=UTC),
        datetime(2026, 11, 1, 1, tzinfo=BERLIN),
        date(2026, 11, 1),
        "2026-11-01",
        " 20261101 ",
        "2026-11-01T00:00Z",
        "2026-11-01 01:00:00.000+01:00",
        1793491200,
        1793491200.0,
    ],
)
def test_every_form_of_one_time_is_the_same_second(value: Any) -> None:
    found = epoch_seconds(value, "since")
    assert (type(found), found) == (float, 1793491200.0)


def test_fractions_and_times_before_1970_are_kept() -> None:
    assert epoch_seconds("1969-12-31T23:59:58.5Z", "since") == -1.5
    assert epoch_seconds(datetime(1970, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC), "since") == 0.25


@pytest.mark.parametrize("value", NO_TIMES, ids=lambda value: f"{type(value).__name__} {str(value)[:18]}")
def test_a_value_that_is_no_time_is_refused_with_its_name_and_what_is_needed(value: Any) -> None:
    with pytest.raises(ValueError, match=rf"until is no time: found .*{type(value).__name__[:3]}.* Needed: .* offset"):
        epoch_seconds(value, "until")


def test_an_error_quotes_the_value_and_not_all_of_a_long_one() -> None:
    for value, shown in (
        ("yesterday", "found str 'yesterday'."),
        (float("nan"), "found float nan."),
        (True, "found bool True."),
        (datetime(2026, 11, 1), "found a datetime without an offset, 2026-11-01T00:00:00."),
        (10**5000, "found an integer of 16,610 bits."),
        ("x" * 1000, "found str '" + "x" * 58 + "…."),
        (["secret"], "found list."),
    ):
        with pytest.raises(ValueError, match="is no time") as refused:
            epoch_seconds(value, "since")  # type: ignore[arg-type]
        assert shown in str(refused.value)


def test_a_zone_is_for_those_without_an_offset_alone() -> None:
    for value in (datetime(2026, 11, 1, 1), "2026-11-01T01:00", "2026-11-01T00:00Z", "2026-11-01", date(2026, 11, 1)):
        assert epoch_seconds(value, "since", zone=BERLIN) == 1793491200.0


@given(st.floats(0, 4e9))
@example(2251799813.9804688)
def test_what_is_asked_for_since_a_time_that_was_returned_includes_that_time(stored: float) -> None:
    returned = utc_datetime(stored)
    assert stored - 2e-6 < epoch_seconds(returned, "since") <= stored


def test_a_time_that_no_calendar_has_becomes_the_first_or_the_last_that_one_has() -> None:
    assert (utc_datetime(2.0**52).year, utc_datetime(-(2.0**52)).year) == (9999, 1)
    assert (utc_datetime(float("inf")).year, utc_datetime(float("-inf")).year) == (9999, 1)
    assert utc_datetime(float("nan")).tzinfo is UTC
