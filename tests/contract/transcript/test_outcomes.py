"""What became of calls and turns is said by name: refused, expired, closed, undone; and by whom."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langgraph.types import interrupt

from holdfast.checkpoints import HoldfastSaver, MessageEntry
from holdfast.checkpoints.transcript import export
from holdfast.graph import Conversation, build_graph
from tests.support.delta_kit import delta_agent
from tests.support.desk import Desk
from tests.support.graph_kit import ScriptedModel, calls, says
from tests.support.kit import change, echo_graph, say, thread


@pytest.fixture(autouse=True)
def shop_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example's agent makes the file of its shop in the working directory."""
    monkeypatch.chdir(tmp_path)


def told(saver: HoldfastSaver) -> dict[str, list[str]]:
    """Return the notes and labels of the messages, by their text."""
    found = {}
    for entry in saver.transcript("ada-1"):
        if isinstance(entry, MessageEntry):
            description = export.describe(entry)
            found[entry.text] = [*description.notes, *(part.label for part in description.parts if part.label)]
    return found


def undone(saver: HoldfastSaver) -> dict[str, Any]:
    entries = [entry for entry in saver.transcript("ada-1") if isinstance(entry, MessageEntry)]
    return {entry.text: None if entry.undone is None else entry.undone.by for entry in entries}


def test_a_message_says_who_undid_its_turn(saver: HoldfastSaver) -> None:
    say(saver, "one", "two", "three")
    saver.threads.undo("ada-1", by="Grace")
    saver.threads.undo("ada-1", by="Linus")
    say(saver, "four")
    by = {"two": "Linus", "three": "Grace"}
    assert undone(saver) == {
        text: by.get(said) for said in ("one", "two", "three", "four") for text in (said, f"You said: {said}")
    }
    assert "undone by Grace, 20" in " ".join(told(saver)["three"])
    saver.threads.undo("ada-1")
    assert (undone(saver)["four"], undone(saver)["one"]) == (None, None)
    assert told(saver)["four"][0].startswith("undone, 20")


def test_the_undo_of_a_turn_that_was_saved_at_its_end_is_told(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver)
    for text in ("one", "two"):
        graph.invoke({"messages": [("user", text)]}, thread(), durability="exit")
    saver.threads.undo("ada-1", by="Grace")
    assert undone(saver) == {"one": None, "You said: one": None, "two": "Grace", "You said: two": "Grace"}


def test_a_fork_of_what_an_undo_left_has_nothing_undone(saver: HoldfastSaver) -> None:
    graph = delta_agent(saver, 1000)  # it cannot be known which of its messages are live
    for text in ("one", "two"):
        said = {"messages": [HumanMessage(text, id=text)], "files": {}, "notes": [], "steps": 0}
        graph.invoke(said, thread())
    saver.threads.undo("ada-1", by="Grace")
    assert {text for text, by in undone(saver).items() if by == "Grace"} >= {"two", "2: two"}
    assert {by for text, by in undone(saver).items() if text in {"one", "2: one"}} == {None}
    saver.threads.fork("ada-1", "fork")
    entries = [entry for entry in saver.transcript("fork") if isinstance(entry, MessageEntry)]
    assert [entry.text for entry in entries if entry.undone is not None] == []


def outcomes(saver: HoldfastSaver) -> list[list[str]]:
    return [[label.partition(", 20")[0] for label in labels] for labels in told(saver).values()]


def test_calls_that_were_not_run_are_not_said_to_have_ended_in_an_error(saver: HoldfastSaver) -> None:
    ada = Conversation(build_graph(model="offline", checkpointer=saver), "ada-1", "ada")
    ada.send("Please refund order 1001.")
    ada.reject("too late", by="Linus")
    ada.send("Please refund order 1002.")
    ada.send("No, forget that.")
    assert ["not run", "Rejected by Linus"] in outcomes(saver)
    assert ["Closed because the conversation went on"] in outcomes(saver)
    assert not [labels for labels in told(saver).values() if "status: error" in labels]


def test_calls_of_other_agents_that_were_closed_are_called_so(saver: HoldfastSaver) -> None:
    @tool
    def refund(order: int) -> str:
        """Refund an order."""
        return interrupt({"order": order})

    model = ScriptedModel(lines=[calls(("refund", {"order": 1})), says("Yes?")])
    ada = Conversation(create_agent(model, [refund], checkpointer=saver), "ada-1")
    ada.send("Refund it.")
    ada.send("No, forget that.")
    assert ["Closed because the conversation went on"] in outcomes(saver)


def test_the_head_names_the_calls_that_have_no_result(saver: HoldfastSaver) -> None:
    ada = Conversation(build_graph(model="offline", checkpointer=saver), "ada-1", "ada")
    ada.send("Please refund order 1001.")
    assert "- Calls without a result: 4\n" in "".join(export.markdown(ada.transcript()))
    ada.reject("too late", by="Linus")
    assert "without a result" not in "".join(export.markdown(ada.transcript()))


def test_a_call_that_waits_while_people_talk_is_said_to_wait(saver: HoldfastSaver) -> None:
    ada = Conversation(build_graph(model="offline", checkpointer=saver), "ada-1", "ada")
    ada.send("Please refund order 1001.")
    ada.send("What is my name?", pending="keep")
    assert ["waits for a decision"] in outcomes(saver)
    assert "- Calls without a result: 4\n" in "".join(export.markdown(ada.transcript()))
    ada.reject("too late", by="Linus")
    assert ["not run", "Rejected by Linus"] in outcomes(saver)
    assert "without a result" not in "".join(export.markdown(ada.transcript()))


def test_a_result_leads_to_its_call_and_an_undone_message_is_marked(saver: HoldfastSaver) -> None:
    ada = Conversation(build_graph(model="offline", checkpointer=saver), "ada-1", "ada")
    ada.send("Please refund order 1001.")
    ada.reject("too late", by="Linus")
    ada.undo()
    page = "".join(export.html(ada.transcript()))
    assert 'for the call in <a href="#m2">2</a>' in page
    assert 'for the call in <a href="#m4">4</a>, not run, undone by ada, 20' in page
    assert '<article id="m5" class="tool gone">' in page
    assert '<p class="decision"><bdi>Rejected by Linus, 20' in page
    assert "for the call in [4](#m4), not run" in "".join(export.markdown(ada.transcript()))


def test_a_call_whose_time_was_over_is_called_expired(saver: HoldfastSaver) -> None:
    desk = Desk(saver, 1, expires_in=timedelta(hours=1), decisions=("approve",))
    assert len(desk.ids()) == 1
    change(saver, "UPDATE holdfast_interrupts SET asked_at = asked_at - 3601, expires_at = expires_at - 3601")
    saver.interrupts.expire()
    desk.ada.retry()
    [labels] = [labels for labels in told(saver).values() if "not run" in labels]
    assert labels[-1].startswith("Expired: no decision in time, 20")
