"""Times as people type them, and the secrets that no error report shows."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import typer

from holdfast.cli.errors import Mistake, report
from holdfast.cli.options import CommandState, hide_secrets, parse_time

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
def test_a_text_that_is_not_a_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(Mistake, match=r"--since .* is not a time\. Needed: .* 7d"):
        parse_time(text, "--since", NOW)


class OtherURL:
    """A location of a database that Holdfast does not know yet."""

    secrets = frozenset({"hunter2"})


@pytest.mark.parametrize("debug", [False, True])
def test_an_error_report_shows_no_secret_of_any_kind_of_location(
    debug: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    state = CommandState(debug=debug)
    context = typer.Context(typer.main.get_command(typer.Typer(callback=lambda: None)), obj=state)
    hide_secrets(context, OtherURL())
    report(Mistake("refused the login of ada:hunter2"), debug=state.debug, secrets=state.secrets)
    shown = capsys.readouterr().err
    assert "hunter2" not in shown
    assert shown.endswith("refused the login of ada:***\n")
