"""The command `holdfast`: for people on a terminal, and for scripts."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.cli_kit import Run

REFUND = "I am Ada. Please refund order 1002."


def test_a_conversation_goes_on_from_one_command_to_the_next(holdfast: Run) -> None:
    holdfast("chat", "--thread", "ada-1", said="My name is Ada.\n")
    told = holdfast("chat", "--thread", "ada-1", "--json", said="What is my name?\n")
    assert json.loads(told.stdout.splitlines()[-1])["text"] == "Your name is Ada."


def test_a_call_is_listed_and_approved(holdfast: Run) -> None:
    holdfast("chat", "--thread", "ada-1", "--user", "ada", said=REFUND)
    assert "Refund order 1002 in full?" in holdfast("approvals", "list").stdout
    approved = holdfast("approvals", "approve", "--thread", "ada-1", "--by", "Grace")
    assert "Order 1002 is refunded" in approved.stdout
    assert "Order 1002" not in holdfast("approvals", "list").stdout


def test_threads_are_listed_shown_and_searched(holdfast: Run) -> None:
    holdfast("chat", "--thread", "ada-1", "--user", "ada", said=REFUND)
    assert "ada-1" in holdfast("threads", "list", "--user", "ada").stdout
    assert "ada-1" not in holdfast("threads", "list", "--user", "grace").stdout
    assert REFUND in holdfast("threads", "show", "ada-1", "--last", "20").stdout
    assert "[order 1002]" in holdfast("threads", "search", 'refund "order 1002"', "--user", "ada").stdout


def test_a_transcript_is_written_to_a_file(holdfast: Run) -> None:
    holdfast("chat", "--thread", "ada-1", said=REFUND)
    holdfast("threads", "export", "ada-1", "--format", "markdown", "--output", "ada-1.md")
    assert REFUND in Path("ada-1.md").read_text()


def test_a_database_is_checked_to_the_last_row(holdfast: Run) -> None:
    holdfast("chat", "--thread", "ada-1", said=REFUND)
    assert holdfast("db", "check", "--deep").returncode == 0
    assert "ada-1" not in holdfast("db", "stats").stderr


def test_a_mistake_is_one_line_and_exit_code_2(holdfast: Run) -> None:
    refused = holdfast("threads", "list", "--database", "mysql://elsewhere")
    assert (refused.returncode, refused.stdout, len(refused.stderr.splitlines())) == (2, "", 1)


def test_a_command_about_a_database_that_does_not_exist_makes_no_file(holdfast: Run, folder: Path) -> None:
    assert holdfast("db", "stats").returncode != 0
    assert list(folder.iterdir()) == []


def test_the_help_of_every_command_has_an_example(holdfast: Run) -> None:
    for noun in ("chat", "serve", "approvals approve", "threads search", "db copy"):
        assert f"holdfast {noun}" in holdfast(*noun.split(), "--help").stdout.partition("Options")[2]
