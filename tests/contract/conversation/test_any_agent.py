"""A conversation with any agent does what one with an agent of `build_graph` does."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import interrupt

from holdfast import Conversation
from holdfast.checkpoints import HoldfastSaver
from holdfast.graph import BadAnswer, Done, NothingWaits, Paused, Token, ToolAnswered, ToolCalled
from holdfast.middleware import HoldfastMiddleware
from tests.support import agents_kit
from tests.support.agents_kit import Refunds, each_kind
from tests.support.graph_kit import ScriptedModel, calls, says
from tests.support.kit import one_node

pytestmark = pytest.mark.filterwarnings("ignore::langgraph.warnings.LangGraphDeprecatedSinceV10")


@pytest.fixture
def refunds(saver: HoldfastSaver, kind: str) -> Refunds:
    return Refunds(kind, saver)


@pytest.mark.sweep(on="postgres")
@pytest.mark.sweep(every=3)
@each_kind
def test_a_turn_pauses_and_goes_on_with_the_answer(refunds: Refunds) -> None:
    [asked] = refunds.ada.send("Refund order 1").pending
    assert refunds.made == []
    assert refunds.ada.pending() == [asked]
    assert "order" in asked.description or "Refund order 1?" in asked.description
    reply = refunds.ada.answer(refunds.yes, by="Grace")
    assert (reply.text, reply.pending, refunds.made) == ("done", [], [1])
    assert [type(message) for message in refunds.ada.history()] == [HumanMessage, AIMessage, ToolMessage, AIMessage]
    assert refunds.ada.send("Thanks").text == "later"


@pytest.mark.sweep(every=3)
@each_kind
async def test_the_same_on_an_event_loop(refunds: Refunds) -> None:
    [asked] = (await refunds.ada.asend("Refund order 1")).pending
    reply = await refunds.ada.aanswer(refunds.yes, asked.interrupt_id)
    assert (reply.text, refunds.made) == ("done", [1])
    assert (await refunds.ada.asend("Thanks")).text == "later"
    assert len(await refunds.ada.ahistory()) == 6


@pytest.mark.sweep(every=3)
@each_kind
def test_a_stream_reports_text_calls_and_pauses_once(refunds: Refunds) -> None:
    called, paused, ended = refunds.ada.stream("Refund order 1")
    assert called == ToolCalled("refund", {"order": 1}, "call_0")
    assert isinstance(paused, Paused)
    assert isinstance(ended, Done)
    answered, text, ended = refunds.ada.stream_answer(refunds.yes)
    assert answered == ToolAnswered("refund", "order 1 refunded", False, "call_0")
    assert text == Token("done")
    assert isinstance(ended, Done)
    assert ended.text == "done"


def record_yes(refunds: Refunds) -> None:
    """Ask for a refund, and record its approval without carrying it out."""
    [asked] = refunds.ada.send("Refund order 1").pending
    answer = {"decisions": [refunds.yes]} if refunds.kind == "langchain" else refunds.yes
    refunds.saver.interrupts.answer("ada-1", asked.interrupt_id, answer, by="Grace")


@pytest.mark.sweep(every=3)
@each_kind
def test_a_recorded_answer_is_carried_out_by_the_next_turn(refunds: Refunds) -> None:
    record_yes(refunds)
    assert refunds.ada.pending() == []
    assert refunds.ada.send("And?").text == "later"
    assert refunds.made == [1]
    assert [message.text for message in refunds.ada.history()][-3:] == ["done", "And?", "later"]


@pytest.mark.sweep(every=3)
@each_kind
def test_retry_carries_a_recorded_answer_out(refunds: Refunds) -> None:
    record_yes(refunds)
    assert refunds.ada.retry().text == "done"
    assert refunds.made == [1]
    with pytest.raises(NothingWaits, match="the last turn has ended"):
        refunds.ada.retry()


@pytest.mark.sweep(every=3)
@each_kind
def test_a_second_answer_is_told_who_was_first(refunds: Refunds) -> None:
    [asked] = refunds.ada.send("Refund order 1").pending
    refunds.ada.answer(refunds.yes, asked.interrupt_id, by="Grace")
    with pytest.raises(NothingWaits, match="Grace has answered this already"):
        refunds.ada.answer(refunds.yes, asked.interrupt_id, by="Ada")
    assert refunds.made == [1]


@pytest.mark.sweep(every=3)
@pytest.mark.sweep(every=3)
@each_kind
def test_a_stream_reports_no_message_of_an_earlier_turn(refunds: Refunds) -> None:
    refunds.ada.send("Refund order 1")
    text, _ = refunds.ada.stream("Never mind")
    assert text == Token("done")  # the call of before is closed


def test_a_stream_reports_only_what_is_new_in_a_history_that_a_node_writes_anew(saver: HoldfastSaver) -> None:
    def think(state: MessagesState) -> dict[str, Any]:
        new = calls(("look", {}), ids=[f"call-{len(state['messages'])}"])
        said = ToolMessage("seen", tool_call_id=new.tool_calls[0]["id"])
        return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), *state["messages"], new, said]}

    ada = Conversation(one_node(saver, think), "ada-1")
    for place in (1, 4):
        called, answered, _ = ada.stream("Look")
        assert called == ToolCalled("look", {}, f"call-{place}")
        assert answered == ToolAnswered(None, "seen", False, f"call-{place}")


def test_the_text_of_a_model_within_a_tool_is_not_the_agents(saver: HoldfastSaver) -> None:
    @tool
    def ask_another() -> str:
        """Ask another model."""
        return ScriptedModel(lines=[says("from within")]).invoke("go").text

    model = ScriptedModel(lines=[calls(("ask_another", {})), says("done")])
    ada = Conversation(create_agent(model, [ask_another], checkpointer=saver), "ada-1")
    assert [event.text for event in ada.stream("go") if isinstance(event, Token)] == ["done"]


@pytest.mark.sweep(every=3)
@each_kind
def test_an_answer_that_another_writer_has_carried_out_is_not_carried_out_again(
    refunds: Refunds, monkeypatch: pytest.MonkeyPatch
) -> None:
    refunds.ada.send("Refund order 1")
    lease = refunds.saver.lease

    def later(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.undo()
        assert refunds.ada.retry().text == "done"
        return lease(*args, **kwargs)

    monkeypatch.setattr(refunds.saver, "lease", later)
    reply = refunds.ada.answer(refunds.yes)
    assert (reply.text, refunds.made) == ("done", [1])


@pytest.mark.parametrize("kind", ["middleware"])
def test_a_recorded_answer_that_no_longer_fits_the_tool_opens_its_request_again(refunds: Refunds) -> None:
    @tool
    def refund(order: Literal[1]) -> str:
        """Refund an order."""
        return f"order {order} refunded"

    [asked] = refunds.ada.send("Refund order 1").pending
    edit = {"type": "edit", "edited_action": {"name": "refund", "args": {"order": 2}}}
    refunds.saver.interrupts.answer("ada-1", asked.interrupt_id, edit, by="Grace")
    ours = HoldfastMiddleware(interrupt_on=["refund"])
    agent = create_agent(ScriptedModel(lines=[says("done")]), [refund], middleware=[ours], checkpointer=refunds.saver)
    ada = Conversation(agent, "ada-1")
    with pytest.raises(BadAnswer, match="'order'"):
        ada.retry()
    [asked] = ada.pending()
    assert ada.approve(asked.interrupt_id).text == "done"


@pytest.mark.sweep(every=3)
@pytest.mark.sweep(on="postgres")
@pytest.mark.parametrize("kind", ["middleware", "langchain", "react"])
def test_a_call_is_rejected_edited_or_answered(saver: HoldfastSaver, kind: str) -> None:
    lines = [line for _ in range(3) for line in (calls(("refund", {"order": 1})), says("so be it"))]
    refunds = Refunds(kind, saver, *lines)
    refunds.ada.send("go")
    refunds.ada.reject("too late", by="Grace")
    assert "too late" in refunds.ada.history()[-2].text
    refunds.ada.send("go")
    refunds.ada.respond("I did it by hand")
    assert refunds.ada.history()[-2].text == "I did it by hand"
    assert refunds.made == []
    refunds.ada.send("go")
    refunds.ada.edit({"order": 2})
    assert refunds.made == [2]


# --- several calls in one request


@pytest.fixture
def two(saver: HoldfastSaver) -> Refunds:
    refunds = Refunds("langchain", saver, calls(("refund", {"order": 1}), ("refund", {"order": 2})), says("done"))
    refunds.ada.send("Refund both")
    return refunds


def test_a_request_about_several_calls_shows_each(two: Refunds) -> None:
    [asked] = two.ada.pending()
    assert [(action.name, action.args) for action in asked.actions] == [
        ("refund", {"order": 1}),
        ("refund", {"order": 2}),
    ]
    assert asked.description == "refund(order=1); refund(order=2)"


def test_approve_means_all_calls_of_a_request(two: Refunds) -> None:
    two.ada.approve()
    assert sorted(two.made) == [1, 2]


def test_each_call_of_a_request_can_be_decided(two: Refunds) -> None:
    two.ada.answer([{"type": "reject", "message": "no"}, {"type": "approve"}], by="Grace")
    assert two.made == [2]


def test_an_edit_of_several_calls_at_once_is_refused(two: Refunds) -> None:
    with pytest.raises(BadAnswer, match="about 2 calls"):
        two.ada.edit({"order": 3})
    assert len(two.ada.pending()) == 1


@pytest.mark.sweep(every=6)
@pytest.mark.parametrize("answer", [[{"type": "approve"}], {"decisions": []}, "yes", {"type": "nonsense"}, None, 3])
def test_an_answer_that_does_not_fit_is_refused_and_the_request_waits(two: Refunds, answer: Any) -> None:
    with pytest.raises(BadAnswer, match="still waits"):
        two.ada.answer(answer)
    two.ada.approve()
    assert sorted(two.made) == [1, 2]


# --- graphs around a graph


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("kind", ["langchain", "middleware", "asking"])
def test_an_agent_within_a_graph_asks_through_it(saver: HoldfastSaver, kind: str) -> None:
    made: list[int] = []
    inner = agents_kit.build(kind, None, [calls(("refund", {"order": 1})), says("done")], made.append)
    builder = StateGraph(MessagesState).add_node("agent", inner).add_edge(START, "agent")
    ada = Conversation(builder.compile(checkpointer=saver), "ada-1")
    [asked] = ada.send("Refund order 1").pending
    assert ada.answer(agents_kit.YES[kind], asked.interrupt_id, by="Grace").text == "done"
    assert made == [1]


# --- questions of a graph


def asking_twice(saver: Any) -> Any:
    def ask(state: MessagesState) -> dict[str, Any]:
        name, age = interrupt("Your name?"), interrupt({"question": "Your age?", "unit": "years"})
        return {"messages": [AIMessage(f"{name} is {age}.")]}

    builder = StateGraph(MessagesState)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    return builder.compile(checkpointer=saver)


def test_questions_of_one_task_are_answered_one_after_the_other(saver: HoldfastSaver) -> None:
    ada = Conversation(asking_twice(saver), "ada-1")
    [name] = ada.send("Hello").pending
    assert (name.kind, name.description, name.value) == ("question", "Your name?", "Your name?")
    [age] = ada.answer("Ada").pending
    assert age.description == "Your age?"
    with pytest.raises(NothingWaits):
        ada.answer("Bob", name.interrupt_id)
    assert ada.answer(36).text == "Ada is 36."


# --- the past


@pytest.mark.sweep(every=3)
@each_kind
def test_undo_restart_and_fork_work_with_any_agent(refunds: Refunds) -> None:
    refunds.ada.send("Refund order 1")
    refunds.ada.answer(refunds.yes)
    fork = refunds.ada.fork("ada-2")
    assert len(fork.history()) == 4
    refunds.ada.undo()
    assert refunds.ada.history() == []
    assert fork.send("And?").text == "later"
    fork.restart()
    assert fork.history() == []
    assert [entry.text for entry in refunds.ada.transcript().last(9) if entry.kind == "message"][-1] == "done"


# --- what an agent cannot do


def test_a_graph_that_is_not_compiled_is_refused() -> None:
    with pytest.raises(TypeError, match=r"found StateGraph\. Compile it first"):
        Conversation(StateGraph(MessagesState), "ada-1")  # type: ignore[arg-type]


def test_an_agent_without_a_checkpointer_is_refused() -> None:
    with pytest.raises(ValueError, match="needs an agent with a checkpointer"):
        Conversation(asking_twice(None), "ada-1")


def test_a_state_without_messages_is_refused_with_what_it_has(saver: HoldfastSaver) -> None:
    builder = StateGraph(dict[str, Any])
    builder.add_node("node", lambda state: {})
    builder.add_edge(START, "node")
    with pytest.raises(ValueError, match="has no 'messages'"):
        Conversation(builder.compile(checkpointer=saver), "ada-1")
    with pytest.raises(ValueError, match="has no 'said'; it has 'messages'"):
        Conversation(asking_twice(saver), "ada-1", messages_key="said")


def test_another_checkpointer_works_and_what_it_lacks_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    class Own(InMemorySaver):
        pass

    refunds = Refunds("langchain", Own())
    refunds.ada.send("Refund order 1")
    with pytest.raises(BadAnswer):
        refunds.ada.answer("nonsense")
    assert refunds.ada.approve().text == "done"
    with pytest.raises(TypeError, match="needs an agent with Holdfast's checkpointer; found Own"):
        refunds.ada.undo()
    Conversation(refunds.agent, "ada-2")
    [notice] = [record.getMessage() for record in caplog.records]
    assert notice.startswith("Own has no leases and no record of answers")


def test_a_turn_ends_at_a_breakpoint_and_retry_goes_on(saver: HoldfastSaver) -> None:
    refunds = Refunds("own", saver)
    agent = refunds.agent.copy(update={"interrupt_before_nodes": ["act"]})
    ada = Conversation(agent, "ada-1")
    assert ada.send("Refund order 1").text == ""
    assert ada.retry().pending[0].description == "Refund order 1?"


def test_a_run_is_given_the_context(saver: HoldfastSaver) -> None:
    from langgraph.runtime import Runtime

    def node(state: MessagesState, runtime: Runtime[dict[str, str]]) -> dict[str, Any]:
        return {"messages": [AIMessage(f"Hello, {runtime.context['name']}.")]}

    builder = StateGraph(MessagesState, context_schema=dict)  # type: ignore[type-var]
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    ada = Conversation(builder.compile(checkpointer=saver), "ada-1", context={"name": "Ada"})
    assert ada.send("Hello").text == "Hello, Ada."
    assert ada.fork("ada-2").send("Hello").text == "Hello, Ada."
