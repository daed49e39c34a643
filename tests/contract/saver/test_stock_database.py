"""A conversation that a stock saver has begun goes on."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage
from langgraph.types import Command

from holdfast.checkpoints import open_checkpointer
from holdfast.checkpoints.errors import ThreadConflict
from tests.support.children import approval_graph
from tests.support.kit import checkpoint, echo_graph, put, rows, texts, thread
from tests.support.stock_kit import begin


def test_a_stock_conversation_goes_on_and_every_message_becomes_a_row(bare_url: str) -> None:
    begin(bare_url, "one")

    with open_checkpointer(bare_url) as saver:
        for text in ("two", "three"):
            echo_graph(saver).invoke({"messages": [("user", text)]}, thread())

        said = ["one", "You said: one", "two", "You said: two", "three", "You said: three"]
        assert texts(saver) == said
        assert sorted(text for (text,) in rows(saver, "SELECT content FROM holdfast_messages")) == sorted(said)


def test_a_run_that_a_stock_saver_paused_is_resumed(bare_url: str) -> None:
    begin(bare_url, "May I?", approval_graph)

    with open_checkpointer(bare_url) as saver:
        approval_graph(saver).invoke(Command(resume="yes"), thread())
        assert texts(saver) == ["May I?", "The person said yes."]


def test_a_stock_thread_that_is_deleted_refuses_a_run_that_goes_on(bare_url: str) -> None:
    begin(bare_url, "one")

    with open_checkpointer(bare_url) as saver, open_checkpointer(bare_url) as other:
        found = saver.get_tuple(thread())
        assert found is not None
        other.delete_thread("ada-1")

        with pytest.raises(ThreadConflict, match="deleted"):
            saver.put_writes(found.config, [("messages", [AIMessage("late")])], "task")
        with pytest.raises(ThreadConflict, match="deleted"):
            put(saver, found.config, checkpoint([]))
        assert saver.get_tuple(thread()) is None


def test_deleting_a_thread_that_never_was_leaves_nothing_behind(bare_url: str) -> None:
    with open_checkpointer(bare_url) as saver:
        saver.delete_thread("unknown")
        assert rows(saver, "SELECT count(*) FROM holdfast_threads") == [(0,)]
