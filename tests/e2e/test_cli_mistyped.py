"""A database that is not there: commands that look at what exists, or change it, make none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from holdfast.checkpoints import open_checkpointer
from holdfast.checkpoints.transfer.archive import write_archive
from holdfast.cli import app
from tests.support.cli_commands import MAKE_ONE, MISTYPED, NEED_ONE, WITHOUT_DATABASE
from tests.support.cli_kit import Cli
from tests.support.kit import echo_graph, thread


def names(command: Any, above: str = "") -> Iterator[str]:
    """The names of all commands that do something."""
    if not isinstance(command, TyperGroup):
        yield above.strip()
        return
    for name, below in command.commands.items():
        yield from names(below, f"{above} {name}")


def of_database(command: str, url: str = MISTYPED) -> list[str]:
    return [] if command == "db copy" else [f"--database={url}"]


def test_every_command_is_known_to_need_a_database_or_to_make_one() -> None:
    assert sorted(names(typer.main.get_command(app))) == sorted([*NEED_ONE, *MAKE_ONE, *WITHOUT_DATABASE])


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("command", NEED_ONE)
def test_a_command_about_what_exists_refuses_a_file_that_does_not_and_makes_none(cli: Cli, command: str) -> None:
    line = cli.refused(*command.split(), *NEED_ONE[command], *of_database(command))
    assert f"There are no conversations at {MISTYPED}" in line
    assert list(cli.folder.iterdir()) == []


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("command", [command for command, arguments in MAKE_ONE.items() if arguments is not None])
def test_a_command_that_begins_something_makes_the_file(
    cli: Cli, command: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    archive = tmp_path_factory.mktemp("archive") / "threads.jsonl.gz"
    with open_checkpointer("memory://") as saver:
        echo_graph(saver).invoke({"messages": [("user", "Hello")]}, thread())
        write_archive(saver.database, iter(["ada-1"]), archive)
    given = [str(archive) if word == archive.name else word for word in MAKE_ONE[command] or ()]
    code, _, err = cli(*command.split(), *given, *of_database(command), said=b"Hello\n")
    assert code == 0, err
    assert Path("holdfats.db").exists()


def test_a_copy_makes_its_target(cli: Cli) -> None:
    cli.works()
    assert cli("db", "copy", "sqlite:///holdfast.db", "sqlite:///target.db")[0] == 0
    assert Path("target.db").exists()


@pytest.mark.parametrize("command", ["approvals list", "approvals resume", "approvals expire"])
def test_a_command_about_pending_calls_refuses_a_memory_database(cli: Cli, command: str) -> None:
    line = cli.refused(*command.split(), *of_database(command, "memory://"))
    assert "memory:// is gone when a command ends" in line


def test_an_inbox_that_is_there_and_empty_says_so(cli: Cli) -> None:
    cli.works()
    code, out, _ = cli("approvals", "list")
    assert (code, out) == (0, "No call waits for a decision.\n")
