"""Times as people type them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from holdfast.cli.errors import Mistake
from holdfast.cli.options import parse_time

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2026-11-01", "2026-11-01T00:00:00+00:00"),
        ("2026-11-01T09:30", "2026-11-01T09:30:00+00:00"),
        ("2026-11-01 09:30+02:00", "2026-11-01T09:30:00+02:00"),
        ("7d", "2026-11-14T12:00:00+00:00"),
        (" 12H ", "2026-11-21T00:00:00+00:00"),
        ("2w", "2026-11-07T12:00:00+00:00"),
    ],
)
def test_a_time_is_a_date_a_time_of_day_or_an_age(text: str, found: str) -> None:
    assert parse_time(text, "--since", NOW) == datetime.fromisoformat(found).timestamp()


def test_an_option_that_was_not_given_has_no_time() -> None:
    assert parse_time(None, "--since", NOW) is None


@pytest.mark.parametrize("text", ["", "yesterday", "7", "7y", "-7d", "2026-13-01", "999999w", "²d"])
def test_what_is_not_a_time_is_refused_with_what_would_be(text: str) -> None:
    with pytest.raises(Mistake, match=r"--since .* is not a time\. Needed: .* 7d"):
        parse_time(text, "--since", NOW)
