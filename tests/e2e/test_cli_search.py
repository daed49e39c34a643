"""`holdfast threads search` and `holdfast db index`."""

from __future__ import annotations

import json
import re

import pytest
import typer

from holdfast.checkpoints import open_checkpointer
from holdfast.cli import errors
from holdfast.cli.options import CommandState
from holdfast.cli.threads import search
from tests.support.cli_kit import Cli
from tests.support.kit import change
from tests.support.search_kit import say


def searched(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """The command alone, under whatever noun it stands."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
    app.command("search", epilog=search.EXAMPLE)(search.search)
    code = 0
    try:
        typer.main.get_command(app).main([*arguments], prog_name="search", standalone_mode=False, obj=CommandState())
    except Exception as error:  # noqa: BLE001 - as the command itself does
        code = errors.report(error, debug=False, secrets=())
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.sweep(on="postgres")
def test_messages_are_found_on_the_command_line(cli: Cli, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    at = f"--database={url}"
    with open_checkpointer(url) as saver:
        say(saver, "Refund\norder \x1b[2J 1001, please", "Which order?", thread_id="ada-1", user="ada")
        say(saver, "An order of mine", thread_id="grace-1", user="grace")
        change(saver, "UPDATE holdfast_messages SET created_at = 1000000000 WHERE thread_id = 'ada-1' AND seq = 1")
        change(saver, "UPDATE holdfast_threads SET title = 'About ' || thread_id")

    assert cli("db", "index", at) == (0, "3 new messages in the search index.\n", "")
    assert json.loads(cli("db", "index", at, "--json")[1]) == {"indexed": 0}

    code, out, _ = searched(capsys, "order", "1001", at, "--user=ada")
    assert code == 0
    assert re.sub(r"^\S+ \S+ UTC", "AT", out).splitlines() == [
        "AT, thread ada-1, user ada, About ada-1",
        "  human: Refund [order] <U+001B>[2J [1001], please",
    ]
    _, out, _ = searched(capsys, "order -refund", at, "--json", "--since=1h", "--limit=5")
    hits = json.loads(out)
    assert sorted(hit["snippet"] for hit in hits) == ["An order of mine", "Which order?"]
    assert all(hit["snippet"][slice(*hit["marks"][0])] == "order" for hit in hits)
    _, out, _ = searched(capsys, "order", at, "--until=2001-09-10", "--thread=ada-1", "--json")
    assert [hit["seq"] for hit in json.loads(out)] == [1]
    assert searched(capsys, "nothing", at) == (0, "Nothing was found.\n", "")


def test_a_search_that_makes_no_sense_is_one_line(
    cli: Cli, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    at = f"--database={sqlite_url}"
    assert "There are no conversations at" in searched(capsys, "order", at)[2]
    assert "no conversations" in cli.refused("db", "index", at)
    with open_checkpointer(sqlite_url) as saver:
        say(saver, "order")
    for arguments, why in (
        (("'&|!'",), "There is no word to search for."),
        (("order", "--thread=none"), "There is no thread 'none'"),
        (("order", "--thread=ada-1", "--user=grace"), "There is no thread 'ada-1' of user 'grace'"),
        (("order", "--since=soon"), "--since 'soon' is not a time."),
    ):
        code, out, err = searched(capsys, *arguments, at)
        assert (code, out, why in err) == (2, "", True), err
