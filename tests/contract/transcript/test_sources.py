"""What a program says in the role of a person is not taken for the person's words."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import HumanMessage

from holdfast.checkpoints import HoldfastSaver
from tests.support.kit import change, checkpoint, forget, put, thread

SUMMARY: Any = {"additional_kwargs": {"lc_source": "summarization"}}


def test_a_thread_is_not_called_by_what_a_program_added(saver: HoldfastSaver) -> None:
    said = [HumanMessage("Here is a summary: nothing.", id="s", **SUMMARY), HumanMessage("Hello", id="h")]
    put(saver, thread(), checkpoint(said))
    assert saver.threads.get("ada-1").title == "Hello"
    assert saver.threads.rename("ada-1", None).title == "Hello"
    change(saver, "UPDATE holdfast_threads SET head = NULL, title = NULL")
    forget(saver)
    saver.threads.index("ada-1")
    assert saver.threads.get("ada-1").title == "Hello"


def test_a_hit_says_that_a_program_added_the_message(saver: HoldfastSaver) -> None:
    put(saver, thread(), checkpoint([HumanMessage("A summary.", id="s", **SUMMARY), HumanMessage("summary?", id="h")]))
    assert {hit.seq: hit.source for hit in saver.search.find("summary")} == {1: "summarization", 2: None}
