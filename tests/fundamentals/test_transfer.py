"""Whole conversations move to another database, or through a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast import Conversation, build_graph, open_checkpointer
from tests.support.cli_kit import Run

HERE, THERE = "sqlite:///holdfast.db", "sqlite:///elsewhere.db"


@pytest.fixture(autouse=True)
def paused() -> None:
    """A conversation here that waits for a person."""
    say("Please refund order 1001.", HERE)


def say(text: str, url: str) -> str:
    with open_checkpointer(url) as checkpointer:
        return Conversation(build_graph(checkpointer=checkpointer), "ada-1", user_id="ada").send(text).text


def approve(url: str) -> str:
    with open_checkpointer(url) as checkpointer:
        return Conversation(build_graph(checkpointer=checkpointer), "ada-1", user_id="ada").approve().text


def test_a_conversation_that_is_paused_here_resumes_there(holdfast: Run) -> None:
    copied = holdfast("db", "copy", HERE, THERE)
    assert copied.stdout.startswith("1 conversation copied to sqlite:///elsewhere.db"), copied.stderr
    assert approve(THERE).startswith("Order 1001 is refunded")


def test_the_same_command_again_skips_what_is_there_already(holdfast: Run) -> None:
    holdfast("db", "copy", HERE, THERE)
    assert "1 was there already" in holdfast("db", "copy", HERE, THERE).stdout


def test_a_thread_that_is_there_and_differs_is_named_and_left_alone(holdfast: Run) -> None:
    holdfast("db", "copy", HERE, THERE)
    approve(THERE)
    refused = holdfast("db", "copy", HERE, THERE)
    assert refused.returncode == 1
    assert "Thread 'ada-1' is there already, and is not the same" in refused.stderr
    with open_checkpointer(THERE) as checkpointer:
        assert checkpointer.interrupts.waiting() == []


def test_conversations_go_through_a_file(holdfast: Run) -> None:
    holdfast("threads", "export", "--format", "holdfast", "--output", "all.jsonl.gz")
    imported = holdfast("threads", "import", "all.jsonl.gz", "--database", THERE)
    assert imported.returncode == 0, imported.stderr
    assert approve(THERE).startswith("Order 1001 is refunded")


def test_a_file_that_was_cut_off_is_refused_and_nothing_is_written(holdfast: Run) -> None:
    holdfast("threads", "export", "--format", "holdfast", "--output", "all.jsonl")
    file = Path("all.jsonl")
    file.write_text(file.read_text()[:-5])
    refused = holdfast("threads", "import", "all.jsonl", "--database", THERE)
    assert (refused.returncode, "cut off" in refused.stderr) == (2, True)
    assert not Path("elsewhere.db").exists()
