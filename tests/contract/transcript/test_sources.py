"""What a program says in the role of a person is not taken for the person's words."""

from __future__ import annotations

from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.messages import HumanMessage

from holdfast.checkpoints import HoldfastSaver, MessageEntry
from holdfast.checkpoints.transcript import export
from holdfast.graph import Conversation
from tests.support.graph_kit import ScriptedModel, says
from tests.support.kit import change, checkpoint, forget, put, thread

SUMMARY: Any = {"additional_kwargs": {"lc_source": "summarization"}}


def messages(saver: HoldfastSaver) -> list[MessageEntry]:
    return [entry for entry in saver.transcript("ada-1") if isinstance(entry, MessageEntry)]


def test_the_summary_of_a_middleware_is_a_summary_in_the_transcript_the_search_and_the_exports(
    saver: HoldfastSaver,
) -> None:
    summaries = SummarizationMiddleware(
        ScriptedModel(lines=[says("Ada likes oats.")]), trigger=("messages", 3), keep=("messages", 1)
    )
    model = ScriptedModel(lines=[says("Hello."), says("Yes.")])
    agent = create_agent(model, [], middleware=[summaries], checkpointer=saver)
    agent.invoke({"messages": [("user", "I like oats.")]}, thread(user_id="ada"))
    agent.invoke({"messages": [("user", "Do you know?")]}, thread(user_id="ada"))

    shown = [(entry.text.partition(":")[0], entry.source) for entry in messages(saver)]
    assert ("Here is a summary of the conversation to date", "summarization") in shown
    assert [source for _, source in shown].count(None) == 4
    [(described, entry)] = [(export.describe(e), e) for e in messages(saver) if e.source]
    assert (described.who, described.tone, entry.role) == ("Summary", "other", "human")
    assert described.notes[0] == "added by the program in a run of ada, not the user's words"
    history = Conversation(agent, "ada-1").history()
    assert [message.text for message in history] == ["I like oats.", "Hello.", "Do you know?", "Yes."]
    page = "".join(export.html(saver.transcript("ada-1")))
    assert "5: 2 of users, 2 of the agent, 1 added by programs" in page
    sources = [hit.source for hit in saver.search.find("oats")]
    assert sorted(map(str, sources)) == ["None", "summarization"]


def test_a_thread_is_not_called_by_what_a_program_added(saver: HoldfastSaver) -> None:
    said = [HumanMessage("Here is a summary: nothing.", id="s", **SUMMARY), HumanMessage("Hello", id="h")]
    put(saver, thread(), checkpoint(said))
    assert saver.threads.get("ada-1").title == "Hello"
    assert saver.threads.rename("ada-1", None).title == "Hello"
    change(saver, "UPDATE holdfast_threads SET head = NULL, title = NULL")
    forget(saver)
    saver.threads.index("ada-1")
    assert saver.threads.get("ada-1").title == "Hello"


def test_other_programs_are_named_and_a_persons_own_mark_is_none(saver: HoldfastSaver) -> None:
    odd: Any = [{"lc_source": "jobs"}, {"lc_source": 7}, {"lc_source": ""}, {"other": "lc_source"}]
    put(saver, thread(), checkpoint([HumanMessage("x", id=f"h{n}", additional_kwargs=a) for n, a in enumerate(odd)]))
    assert [entry.source for entry in messages(saver)] == ["jobs", None, None, None]
    assert [export.describe(entry).who for entry in messages(saver)] == ["Added by jobs", "User", "User", "User"]
