"""The transcript: all that was said, in order, whatever became of it; and nothing that was not said."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, Send

from holdfast.checkpoints import ApprovalEntry, EventEntry, HoldfastSaver, MessageEntry, Tokens, Transcript, transcript
from holdfast.checkpoints.errors import ThreadChanged, ThreadConflict, UnknownThread
from holdfast.graph import Conversation, build_graph
from tests.support.asking import team, waiting
from tests.support.delta_kit import delta_agent
from tests.support.desk import Desk
from tests.support.index_kit import assert_counted
from tests.support.kit import change, checkpoint, echo_graph, one_node, put, rows, say, thread
from tests.support.stock_kit import in_stock


def messages(found: Transcript) -> list[MessageEntry]:
    return [entry for entry in found if isinstance(entry, MessageEntry)]


def texts(found: Transcript) -> list[str]:
    return [entry.text for entry in messages(found)]


def happened(
    saver: HoldfastSaver, no: int, after: int, kind: str, by: str | None, data: str | None, at: float | None = None
) -> None:
    values = {"no": no, "after": after, "kind": kind, "by": by, "data": data, "at": 1000.0 + no if at is None else at}
    change(saver, "INSERT INTO holdfast_events VALUES ('ada-1', :no, :after, :kind, :by, :data, :at)", **values)


def in_the_view(saver: HoldfastSaver) -> list[tuple[Any, ...]]:
    return rows(
        saver,
        "SELECT user_id, role, content, seq, message_id, name, run_id FROM holdfast_transcript"
        " WHERE thread_id = 'ada-1' ORDER BY seq",
    )


def test_messages_stay_in_the_transcript_after_edits_removals_and_pruning(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver)
    hers = thread(user_id="ada")
    graph.invoke({"messages": [HumanMessage("one", id="h1")]}, hers)
    fork = {"configurable": {**graph.get_state(thread()).config["configurable"], "user_id": "ada"}}
    graph.invoke({"messages": [HumanMessage("two", id="h2")]}, hers)
    graph.update_state(hers, {"messages": [RemoveMessage(id="h1"), HumanMessage("Two!", id="h2")]}, as_node="model")
    graph.invoke({"messages": [HumanMessage("another way", id="h3")]}, fork)
    graph.update_state(hers, {"messages": [AIMessage("out of tune", id="a9")]}, as_node="model")
    graph.update_state(hers, {"messages": [RemoveMessage(id="a9")]}, as_node="model")
    saver.prune(["ada-1"])

    found = messages(saver.transcript("ada-1"))
    assert [(entry.text, entry.live, entry.replaced) for entry in found] == [
        ("one", True, False),
        ("You said: one", True, False),
        ("two", False, True),
        ("You said: two", False, False),
        ("Two!", False, False),
        ("another way", True, False),
        ("You said: another way", True, False),
        ("out of tune", False, False),
    ]
    assert [entry.message for entry in found if entry.live] == graph.get_state(thread()).values["messages"]
    assert {entry.user_id for entry in found} == {"ada"}
    change(saver, "UPDATE holdfast_threads SET user_id = 'ada'")
    assert in_the_view(saver) == [
        (e.user_id, e.role, e.text, e.seq, e.message_id, e.name, e.run_id) for e in messages(saver.transcript("ada-1"))
    ]
    [(moment,)] = rows(saver, "SELECT created_at FROM holdfast_transcript WHERE seq = 1")
    moment = moment if isinstance(moment, datetime) else datetime.fromisoformat(f"{moment}+00:00")
    assert moment.timestamp() == pytest.approx(found[0].at.timestamp(), abs=0.002)


def test_an_edit_that_was_taken_back_is_the_wording_that_stays(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver)
    for text in ("one", "One", "one"):
        graph.update_state(thread(), {"messages": [HumanMessage(text, id="h1")]}, as_node="model")

    found = messages(saver.transcript("ada-1"))
    assert [(entry.text, entry.live, entry.replaced) for entry in found] == [
        ("one", True, False),
        ("One", False, False),
    ]


def test_messages_of_a_refused_run_are_not_in_the_transcript(saver: HoldfastSaver) -> None:
    say(saver, "one")
    found = saver.get_tuple(thread())
    assert found is not None
    say(saver, "two")
    saver.put_writes(found.config, [("messages", [AIMessage("too late", id="late")])], "task")
    with pytest.raises(ThreadConflict):
        put(saver, found.config, checkpoint([AIMessage("too late", id="late")]))
    inner = {"configurable": {**thread()["configurable"], "checkpoint_ns": "inner:1"}}
    put(saver, inner, checkpoint([AIMessage("said to itself", id="inner")]))

    assert len(rows(saver, "SELECT 1 FROM holdfast_messages")) == 6
    assert texts(saver.transcript("ada-1")) == ["one", "You said: one", "two", "You said: two"]
    assert [content for _, _, content, *_ in in_the_view(saver)] == texts(saver.transcript("ada-1"))


def test_a_tools_result_says_who_decided_and_no_answer_is_told_twice(saver: HoldfastSaver) -> None:
    desk = Desk(saver)
    first, second = desk.ids()
    desk.ada.approve(first, by="Grace")
    desk.ada.reject("too late", second, by="Linus")

    entries = list(desk.ada.transcript())
    assert {entry.kind for entry in entries} == {"message"}
    _, asked, one, two, end = messages(desk.ada.transcript())
    assert [(call.name, call.args) for call in asked.tool_calls] == [
        ("refund", {"order_id": 1}),
        ("refund", {"order_id": 2}),
    ]
    assert [one.tool_call_id, two.tool_call_id] == [call.id for call in asked.tool_calls]
    assert (one.text, one.status, two.status) == ("order 1 refunded", "success", "error")
    decisions = [(said["decision"], said["by"]) for said in (one.approval, two.approval) if said is not None]
    assert decisions == [("approve", "Grace"), ("reject", "Linus")]
    assert (end.text, end.tool_calls, end.approval) == ("done", [], None)
    # Of an answer that no message tells of, the record does.
    columns = "checkpoint_ns, checkpoint_id, task_id, asked_at, answered_at, answered_by, answer_type, answer"
    change(
        saver,
        f"INSERT INTO holdfast_interrupts (thread_id, interrupt_id, answer_digest, {columns})"
        f" SELECT thread_id, 'another', answer_digest, {columns} FROM holdfast_interrupts WHERE answered_by = 'Linus'",
    )
    assert [entry.kind for entry in desk.ada.transcript()].count("approval") == 1
    change(saver, "DELETE FROM holdfast_interrupts WHERE interrupt_id = 'another'")
    change(saver, "UPDATE holdfast_interrupts SET answered_at = answered_at - 3600 WHERE answered_by = 'Grace'")
    [told] = [entry for entry in desk.ada.transcript() if isinstance(entry, ApprovalEntry)]
    assert (told.decision, told.by, told.seq, told.answer["type"]) == ("approve", "Grace", 0, "approve")


def test_answers_to_any_graph_stand_where_their_time_is(saver: HoldfastSaver) -> None:
    graph = team(saver)
    graph.invoke({"messages": [HumanMessage("Ask them.", id="h1")], "notes": []}, thread())
    asked = waiting(graph, thread())
    for name, answer in (("b", {"type": "yes"}), ("a", "no")):
        saver.interrupts.answer("ada-1", asked[name], answer, by="Grace")
    # Two in the same millisecond would stand in the order of their ids.
    for name, seconds in (("b", 0.01), ("a", 0.005)):
        earlier = "UPDATE holdfast_interrupts SET answered_at = answered_at - :seconds WHERE interrupt_id = :id"
        change(saver, earlier, seconds=seconds, id=asked[name])
    change(saver, "UPDATE holdfast_interrupts SET expires_at = 1 WHERE interrupt_id = :c", c=asked["c"])
    saver.interrupts.expire()
    resume = {asked["a"]: "no", asked["b"]: {"type": "yes"}, asked["c"]: "too late"}
    graph.invoke(Command(resume=resume), thread())

    happened(saver, 1, 1, "before they answered", None, None)
    happened(saver, 2, 1, "afterwards", None, None, at=1e12)

    kinds = [(entry.kind[0], entry.seq) for entry in saver.transcript("ada-1")]
    assert kinds == [("m", 1), ("e", 1), *[("a", 1)] * 3, ("e", 1), ("m", 2), ("m", 3), ("m", 4)]
    assert [entry.kind for entry in saver.transcript("ada-1").last(3)] == ["message"] * 3
    answers = [entry for entry in saver.transcript("ada-1") if isinstance(entry, ApprovalEntry)]
    assert [(a.interrupt_id, a.decision, a.answer, a.by) for a in answers] == [
        (asked["b"], "yes", {"type": "yes"}, "Grace"),
        (asked["a"], None, "no", "Grace"),
        (asked["c"], "expired", None, None),
    ]
    change(saver, "UPDATE holdfast_interrupts SET answer = answer_digest WHERE interrupt_id = :a", a=asked["a"])
    [damaged] = [e for e in saver.transcript("ada-1") if isinstance(e, ApprovalEntry) and e.problem is not None]
    assert (damaged.interrupt_id, damaged.answer, "damaged" in (damaged.problem or "")) == (asked["a"], None, True)


def test_events_stand_after_the_message_that_they_followed(
    saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcript, "_PAGE", 2)
    say(saver, "one", "two")
    happened(saver, 1, 0, "prompt", None, '{"text": "Be brief."}')
    happened(saver, 2, 2, "undo", "ada", '["c1", "c2"]')
    happened(saver, 3, 2, "eclipse", None, "no JSON")
    happened(saver, 4, 4, "restart", "ada", None)

    found = saver.transcript("ada-1")
    shown = [entry.event if isinstance(entry, EventEntry) else entry.seq for entry in found]
    assert shown == ["prompt", 1, 2, "undo", "eclipse", 3, 4, "restart"]
    facts = [(entry.by, entry.data) for entry in found if isinstance(entry, EventEntry)]
    assert facts == [(None, {"text": "Be brief."}), ("ada", ["c1", "c2"]), (None, "no JSON"), ("ada", None)]
    assert [entry.seq for entry in found.last(2)] == [3, 4, 4]
    assert [entry.seq for entry in found.until(1003.0)] == [0, 2]


def test_another_users_thread_is_as_unknown_as_one_that_is_not_there(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver)
    graph.invoke({"messages": [("user", "one")]}, thread(user_id="ada"))
    graph.invoke({"messages": [("user", "two")]}, thread())
    for sql in ("", "UPDATE holdfast_threads SET user_id = 'ada'"):  # as it is, and once it is in the index
        if sql:
            change(saver, sql)
            change(saver, "UPDATE holdfast_messages SET user_id = 'grace' WHERE seq = 3")
        assert saver.transcript("ada-1", user_id="ada").user_id == "ada"
        with pytest.raises(UnknownThread) as hers:
            saver.transcript("ada-1", user_id="grace")
        with pytest.raises(UnknownThread) as unknown_thread:
            saver.transcript("bob-1", user_id="grace")
        assert str(hers.value).replace("ada-1", "bob-1") == str(unknown_thread.value)
    assert [entry.user_id for entry in messages(saver.transcript("ada-1"))] == ["ada", "ada", "grace", "ada"]
    assert [user for user, *_ in in_the_view(saver)] == ["ada", "ada", "grace", "ada"]

    with saver.lease("carol-1"), pytest.raises(UnknownThread):
        saver.transcript("carol-1")
    saver.delete_thread("ada-1")
    with pytest.raises(UnknownThread):
        saver.transcript("ada-1")


def test_a_thread_of_the_stock_saver_says_how_its_messages_get_rows(saver: HoldfastSaver, url: str) -> None:
    in_stock(url, lambda stock: echo_graph(stock).invoke({"messages": [("user", "one")]}, thread()))

    found = saver.transcript("ada-1")
    assert (list(found), "holdfast db compact" in (found.notice or "")) == ([], True)
    say(saver, "two")
    assert (len(texts(saver.transcript("ada-1"))), saver.transcript("ada-1").notice) == (4, None)


async def test_a_row_that_cannot_be_read_does_not_end_the_transcript(
    saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcript, "_PAGE", 3)
    say(saver, "one", "two", "three", "four")
    change(saver, "UPDATE holdfast_messages SET body = digest WHERE seq = 5")
    change(saver, "UPDATE holdfast_messages SET content = 'altered', redacted_at = 7 WHERE seq = 6")
    whole = ["one", "You said: one", "two", "You said: two", "three", "altered", "four", "You said: four"]

    found = saver.transcript("ada-1")
    assert texts(found) == whole
    five, six = messages(found)[4:6]
    assert (five.role, five.message, "row 5" in (five.problem or "")) == ("human", None, True)
    assert (six.problem, six.redacted_at) == (None, datetime(1970, 1, 1, 0, 0, 7, tzinfo=UTC))
    assert texts(found) == texts(found), "it can be gone through again"
    assert [entry.text async for entry in found if isinstance(entry, MessageEntry)] == whole
    at = [entry.at for entry in messages(found)]
    assert texts(found.last(3)) == whole[-3:]
    assert texts(found.last(10**20)) == whole
    assert texts(found.since(at[2]).until(at[5]).last(2)) == whole[3:5]
    assert texts(found.since(datetime(2020, 1, 1, tzinfo=UTC)).until(datetime(2021, 1, 1, tzinfo=UTC))) == []
    for wrong in (lambda: found.last(0), lambda: found.since(float("nan"))):
        with pytest.raises(ValueError, match="found"):
            wrong()

    say(saver, "five", thread_id="bob-1")
    change(saver, "UPDATE holdfast_threads SET next_seq = 11 WHERE thread_id = 'ada-1'")
    change(saver, "UPDATE holdfast_messages SET thread_id = 'ada-1', seq = seq + 8 WHERE thread_id = 'bob-1'")
    assert len(texts(saver.transcript("ada-1"))) == 10
    assert (texts(found), texts(found.last(3))) == (whole, whole[-3:]), "as it was when it was asked for"
    half = iter(found)
    next(half)
    saver.delete_thread("ada-1")
    say(saver, "another user's", thread_id="ada-1")
    with pytest.raises(ThreadChanged):
        list(half)


def test_the_transcript_does_not_guess_which_messages_of_a_delta_channel_are_live(saver: HoldfastSaver) -> None:
    graph = delta_agent(saver, 1000)
    graph.invoke({"messages": [HumanMessage("one", id="h1")], "files": {}, "notes": [], "steps": 0}, thread())
    assert {entry.live for entry in messages(saver.transcript("ada-1"))} == {None}


def test_messages_may_hold_anything(saver: HoldfastSaver) -> None:
    odd = [
        AIMessage.model_construct(
            content=None, id="a1", response_metadata={"model_name": 3}, usage_metadata={"x": "y"}
        ),
        AIMessage.model_construct(content="calls", id="a2", tool_calls="none", invalid_tool_calls=[{"args": "{"}]),
        ToolMessage.model_construct(content=[{"type": "image"}], tool_call_id=7, status=None, id="t1", artifact=b"x"),
    ]
    for message in odd:
        message.additional_kwargs = {"approval": "yes", "effect": {"decision": 1, "at": "soon"}}

    def model(state: Any) -> dict[str, Any]:
        return {"messages": odd}

    one_node(saver, model).invoke({"messages": [("user", "Surprise me.")]}, thread())
    _, first, second, third = messages(saver.transcript("ada-1"))
    assert (first.text, first.model, first.tokens) == ("", None, Tokens(0, 0, 0))
    assert [(call.name, call.args) for call in second.tool_calls] == [("None", "{")]
    assert (third.tool_call_id, third.blocks, third.approval) == (None, [{"type": "image"}], None)


async def test_a_conversation_has_its_transcript(saver: HoldfastSaver) -> None:
    desk = Desk(saver)
    hers = Conversation(desk.agent, "ada-1", "ada")
    hers.send("Refund, please.")
    assert [entry.seq for entry in hers.transcript()] == [1, 2]
    assert [entry.seq async for entry in await hers.atranscript()] == [1, 2]
    with pytest.raises(UnknownThread):
        Conversation(desk.agent, "ada-1", "grace").transcript()
    with pytest.raises(TypeError, match="InMemorySaver"):
        Conversation(build_graph(model="offline", checkpointer=InMemorySaver()), "ada-1").transcript()


def test_an_input_that_only_a_task_holds_next_stays_said(saver: HoldfastSaver) -> None:
    """A graph may send what it is told to a task, and not keep it in its state."""
    said, new = HumanMessage("hello", id="hello"), thread(checkpoint_ns="")
    assert saver.get_tuple(new) is None
    first = put(saver, new, checkpoint([], __start__={"messages": [said]}))
    put(saver, first, checkpoint([], __pregel_tasks=[Send("node", {"messages": [said]})]))
    assert texts(saver.transcript("ada-1")) == ["hello"]
    assert_counted(saver)
