"""Open calls of a conversation that goes on without them: each gets an answer that is true, and no thread is stuck."""

from collections.abc import Iterator
from typing import Any, Literal

import pytest
from langchain_core.messages import HumanMessage, RemoveMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.errors import UnknownInterruptError
from langgraph.graph import START, StateGraph
from langgraph.types import Command

from holdfast.checkpoints import HoldfastSaver
from holdfast.graph import State, build_graph
from holdfast.graph.nodes.close_calls import IN_DOUBT, NEVER_APPROVED, NEVER_MADE, WAITING
from tests.support.graph_kit import SAVERS, Desk, ScriptedModel, Talk, calls, opened, says

Durability = Literal["sync", "async", "exit"]
DURABILITIES: list[Durability] = ["sync", "async", "exit"]


@pytest.fixture(params=SAVERS)
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    with opened(request.param) as saver:
        yield Desk(saver)


def closed(desk: Desk, durability: Durability = "sync") -> str:
    """Return the answer to a call that waited. With a ledger it is known that the call was not run.

    As long as the new message is not saved, another run could still start it.
    """
    return NEVER_APPROVED if isinstance(desk.saver, HoldfastSaver) and durability != "exit" else WAITING


def half_done(desk: Desk) -> Talk:
    """Make a thread with three calls: one was approved and ran, one waits, one ran without an approval."""
    wanted = calls(("refund", {"order_id": 1}), ("refund", {"order_id": 2}), ("look", {"order_id": 3}))
    talk = Talk(desk.saver, wanted, says("as you like"), says("yes"), tools=desk.tools())
    talk.say("do it all")
    talk.answer(talk.pending["refund 1"], type="approve", by="grace")
    return talk


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("durability", DURABILITIES)
def test_a_new_message_keeps_what_finished_and_closes_what_waited(desk: Desk, durability: Durability) -> None:
    talk = half_done(desk)
    ids = [m.id for m in talk.messages]
    talk.say("never mind", durability=durability)
    assert talk.kinds == "hatttha"
    assert [m.content for m in talk.answers] == ["order 1 refunded", closed(desk, durability), "order 3 exists"]
    assert [m.additional_kwargs.get("approval", {}).get("decision") for m in talk.answers] == [
        "approve",
        "closed",
        None,
    ]
    assert (desk.refunded, desk.looked_up) == ([1], [3]), "nothing ran again"
    assert set(ids) < {m.id for m in talk.messages}, "messages keep their ids, the recovered results too"
    assert len({m.id for m in talk.messages}) == 7
    assert talk.messages[-1].content == "as you like", "the strict model took the history"


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("durability", DURABILITIES)
async def test_a_new_message_closes_calls_the_same_way_from_async_code(desk: Desk, durability: Durability) -> None:
    talk = half_done(desk)
    message = {"messages": [("user", "never mind")]}
    result = await talk.agent.ainvoke(message, talk.thread, durability=durability)
    assert [m.content for m in result["messages"][2:5]] == [
        "order 1 refunded",
        closed(desk, durability),
        "order 3 exists",
    ]


def test_a_closed_approval_cannot_be_answered_any_more(desk: Desk) -> None:
    talk = half_done(desk)
    waiting = talk.pending["refund 2"]
    talk.say("never mind")
    assert talk.pending == {}
    with pytest.raises(UnknownInterruptError):
        talk.answer(waiting, type="approve")
    assert desk.refunded == [1]
    assert talk.messages[-1].content == "as you like"


def test_closing_calls_costs_one_checkpoint(desk: Desk) -> None:
    talk = half_done(desk)
    before = len(list(talk.agent.get_state_history(talk.thread)))
    talk.say("never mind")
    # The input, its merge into the state, the update of the node that closes calls, and that of the model.
    assert len(list(talk.agent.get_state_history(talk.thread))) - before == 4


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("durability", DURABILITIES)
def test_a_message_to_an_old_paused_checkpoint_tells_what_happened_there(desk: Desk, durability: Durability) -> None:
    talk = half_done(desk)
    old = talk.agent.get_state(talk.thread).config
    talk.say("never mind")
    result = talk.agent.invoke({"messages": [("user", "once more")]}, old, durability=durability)
    assert [m.content for m in result["messages"][2:]] == [
        "order 1 refunded",
        closed(desk, durability),
        "order 3 exists",
        "once more",
        "yes",
    ]


@pytest.mark.sweep
@pytest.mark.parametrize("durability", DURABILITIES)
def test_a_message_to_an_old_branch_tells_what_happened_on_that_branch(desk: Desk, durability: Durability) -> None:
    talk = half_done(desk)
    *_, first = talk.agent.get_state_history(talk.thread)
    old = talk.agent.get_state(talk.thread).config
    talk.agent.invoke({"messages": [("user", "start anew")]}, first.config)
    assert talk.answers == [], "the head is on another branch now"
    result = talk.agent.invoke({"messages": [("user", "once more")]}, old, durability=durability)
    assert [m.content for m in result["messages"] if m.type == "tool"] == [
        "order 1 refunded",
        closed(desk, durability),
        "order 3 exists",
    ]


def test_the_search_ends_where_the_calls_came_into_the_thread(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    talk = Talk(desk.saver, *[says(str(n)) for n in range(7)], tools=desk.tools())
    for number in range(6):
        talk.say(str(number))
    read: list[Any] = []
    get_tuple = type(desk.saver).get_tuple
    monkeypatch.setattr(type(desk.saver), "get_tuple", lambda *args: read.append(args) or get_tuple(*args))
    talk.agent.invoke({"messages": [calls(("look", {"order_id": 1}))]}, talk.thread, durability="sync")
    # The head that the run loads, the checkpoint of this step, and the one before it, where the calls are not yet.
    assert len(read) == 3
    assert talk.answers[0].content == NEVER_MADE


def test_calls_that_a_dead_run_had_begun_to_close_are_closed_by_the_next(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = half_done(desk)

    def dies(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("holdfast.graph.nodes.close_calls.close_calls", dies)
        with pytest.raises(KeyboardInterrupt):
            talk.say("never mind", durability="sync")
    assert talk.kinds == "hah"
    talk.say("are you there?")
    assert talk.kinds == "hattthha"
    assert [m.content for m in talk.answers] == ["order 1 refunded", closed(desk), "order 3 exists"]


def test_a_tool_that_was_cut_off_is_in_doubt_and_not_called_not_run(desk: Desk) -> None:
    @tool
    def vanish() -> str:
        """Takes the process with it."""
        raise KeyboardInterrupt

    talk = Talk(desk.saver, calls(("vanish", {})), says("hm"), tools=[vanish])
    with pytest.raises(KeyboardInterrupt):
        talk.say("go", durability="sync")
    talk.say("and?")
    assert [m.content for m in talk.answers] == [IN_DOUBT]
    assert talk.kinds == "hatha"


def test_a_history_handed_in_with_open_calls_is_closed_before_the_model_sees_it(desk: Desk) -> None:
    first, second = calls(("look", {"order_id": 1}), ("look", {"order_id": 2})), calls(("look", {"order_id": 3}))
    history = [
        HumanMessage("a"),
        first,
        ToolMessage("known", tool_call_id="call_1"),
        HumanMessage("b"),
        second,
        HumanMessage("c"),
    ]
    for saver in (None, desk.saver):
        model = ScriptedModel(lines=[says("well")])
        agent = build_graph(model=model, tools=desk.tools(), checkpointer=saver)
        result = agent.invoke({"messages": history}, {"configurable": {"thread_id": "1"}} if saver else None)
        assert "".join(m.type[0] for m in result["messages"]) == "hatthatha"
        assert [m.content for m in result["messages"] if m.type == "tool"] == [NEVER_MADE, "known", NEVER_MADE]
    assert desk.looked_up == []


def test_open_calls_of_a_thread_that_another_program_wrote_are_closed(desk: Desk) -> None:
    talk = Talk(desk.saver, says("well"), says("well"), tools=desk.tools())
    talk.agent.update_state(talk.thread, {"messages": [HumanMessage("a"), calls(("look", {"order_id": 1}))]}, "model")
    talk.say("b")
    assert talk.kinds == "hatha"


def test_calls_left_open_by_hand_behind_the_tools_are_closed_before_the_model_sees_them(desk: Desk) -> None:
    talk = Talk(desk.saver, says("well"), tools=desk.tools())
    by_hand = [HumanMessage("a"), calls(("look", {"order_id": 1})), HumanMessage("b")]
    talk.agent.update_state(talk.thread, {"messages": by_hand}, "tool")
    talk.agent.invoke(None, talk.thread)
    assert talk.kinds == "hatha"
    assert desk.looked_up == []


def test_calls_that_were_written_as_the_models_by_hand_are_made(desk: Desk) -> None:
    talk = Talk(desk.saver, says("well"), tools=desk.tools())
    by_hand = [HumanMessage("a"), calls(("look", {"order_id": 1}))]
    talk.agent.update_state(talk.thread, {"messages": by_hand}, "model")
    talk.agent.invoke(None, talk.thread)
    assert talk.kinds == "hata"
    assert desk.looked_up == [1]


def test_equal_call_ids_in_an_earlier_turn_do_not_lend_their_results(desk: Desk) -> None:
    lines = [calls(("look", {"order_id": 1})), says("one"), calls(("refund", {"order_id": 2})), says("two")]
    talk = Talk(desk.saver, *lines, tools=desk.tools())
    talk.say("first")
    talk.say("second")
    talk.say("third")
    assert [m.content for m in talk.answers] == ["order 1 exists", closed(desk)]
    assert talk.kinds == "hatahatha"


def test_an_update_by_hand_keeps_what_finished(desk: Desk) -> None:
    talk = half_done(desk)
    talk.agent.update_state(talk.thread, {"messages": [HumanMessage("a note")]}, as_node="model")
    talk.say("never mind")
    assert sorted(m.content for m in talk.answers)[1:] == ["order 1 refunded", "order 3 exists"]
    assert (desk.refunded, desk.looked_up) == ([1], [3])


def outer(agent: Any, saver: Any) -> Any:
    builder = StateGraph(State)
    builder.add_node("agent", agent)
    builder.add_edge(START, "agent")
    return builder.compile(checkpointer=saver)


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("own_thread", [False, True], ids=["fresh each time", "with a memory of its own"])
def test_inside_another_graph_it_pauses_resumes_and_closes_calls(desk: Desk, own_thread: bool) -> None:
    wanted = calls(("refund", {"order_id": 1}), ("refund", {"order_id": 2}))
    model = ScriptedModel(lines=[wanted, says("as you like"), wanted, says("done")])
    inner = build_graph(model=model, tools=desk.tools(), checkpointer=own_thread or None)  # type: ignore[arg-type]
    graph = outer(inner, desk.saver)
    thread = {"configurable": {"thread_id": "1"}}

    def pending() -> dict[int, str]:
        return {i.value["args"]["order_id"]: i.id for i in graph.get_state(thread).interrupts}

    graph.invoke({"messages": [("user", "both")]}, thread)
    graph.invoke(Command(resume={pending()[1]: {"type": "approve"}}), thread)
    assert desk.refunded == [1]
    result = graph.invoke({"messages": [("user", "never mind")]}, thread)
    assert result["messages"][-1].content == "as you like"
    if own_thread:
        answers = [m.content for m in result["messages"] if m.type == "tool"]
        assert answers == ["order 1 refunded", closed(desk)]
    graph.invoke({"messages": [("user", "both again")]}, thread)
    for order in (2, 1):
        graph.invoke(Command(resume={pending()[order]: {"type": "approve"}}), thread)
    assert desk.refunded == [1, 2, 1]
    assert graph.get_state(thread).values["messages"][-1].content == "done"


class DiedError(Exception):
    """The stand-in for kill -9."""


def dies_before_step(desk: Desk, step: int, patch: pytest.MonkeyPatch) -> None:
    """Let the run die before the checkpoint of a step, when the writes of its tasks are saved."""
    put = desk.saver.put

    def until(config: Any, checkpoint: Any, metadata: Any, versions: Any) -> Any:
        if metadata["step"] == step:
            raise DiedError
        return put(config, checkpoint, metadata, versions)

    patch.setattr(desk.saver, "put", until)


def died(talk: Talk, desk: Desk, *, at: int, text: str = "hello") -> None:
    with pytest.MonkeyPatch.context() as patch:
        dies_before_step(desk, at, patch)
        with pytest.raises(DiedError):
            talk.say(text, durability="sync")


def test_an_answer_that_was_saved_before_the_run_died_is_kept_when_the_conversation_goes_on(desk: Desk) -> None:
    talk = Talk(desk.saver, says("first"), says("second"), says("third"), tools=desk.tools())
    died(talk, desk, at=1)
    assert [m.content for m in talk.messages] == ["hello", "first"], "it was there to be seen"
    ids = [m.id for m in talk.messages]

    died(talk, desk, at=3, text="and?")  # now the run that was to bring it back dies too
    talk.say("once more")

    assert [m.content for m in talk.messages] == ["hello", "first", "and?", "once more", "second"]
    assert [m.id for m in talk.messages][:2] == ids
    assert [m.content for m in talk.model.seen[1]] == ["hello", "first", "and?", "once more"]
    talk.say("thanks")
    assert talk.kinds == "hahhaha"


def test_calls_of_an_answer_that_is_brought_back_are_closed(desk: Desk) -> None:
    talk = Talk(desk.saver, calls(("look", {"order_id": 1})), says("yes"), tools=desk.tools())
    died(talk, desk, at=1)
    talk.say("never mind")
    assert talk.kinds == "hatha"
    assert [m.content for m in talk.answers] == [NEVER_MADE]
    assert desk.looked_up == []


def test_results_that_the_model_has_not_answered_are_kept(desk: Desk) -> None:
    talk = Talk(desk.saver, calls(("look", {"order_id": 1})), says("it exists"), says("yes"), tools=desk.tools())
    died(talk, desk, at=3)
    talk.say("and?")
    assert [m.content for m in talk.messages] == ["hello", "", "order 1 exists", "it exists", "and?", "yes"]
    assert desk.looked_up == [1]


def test_messages_removed_on_purpose_or_written_on_another_branch_are_not_brought_back(desk: Desk) -> None:
    talk = Talk(desk.saver, says("first"), says("second"), says("third"), tools=desk.tools())
    talk.say("hello")
    asked = next(s for s in talk.agent.get_state_history(talk.thread) if s.next == ("model",))

    talk.agent.update_state(talk.thread, {"messages": [RemoveMessage(id=talk.messages[-1].id)]})
    talk.say("again")
    assert [m.content for m in talk.messages] == ["hello", "again", "second"]

    talk.agent.invoke({"messages": [("user", "elsewhere")]}, asked.config)
    assert [m.content for m in talk.messages] == ["hello", "elsewhere", "third"]
