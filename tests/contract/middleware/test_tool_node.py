"""The guarantees for tool calls in a `ToolNode`, and in what is built on it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

import pytest
from langchain_core.messages import AnyMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph, add_messages
from langgraph.prebuilt import InjectedState, ToolNode, create_react_agent, tools_condition
from langgraph.types import Command

from holdfast import once
from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.errors import BadAnswer
from holdfast.middleware import ToolCallGuard
from tests.support.graph_kit import ScriptedModel, calls, says
from tests.support.kit import thread
from tests.support.world import ledger

pytestmark = [
    pytest.mark.usefixtures("quick"),
    pytest.mark.filterwarnings("ignore:create_react_agent has been moved"),
]

Kind = Literal["edge", "v1", "v2"]


class Team:
    """A graph with a `ToolNode`, whose calls of a message run in one task (`edge`, `v1`) or in one each (`v2`)."""

    def __init__(self, saver: HoldfastSaver, kind: Kind, *orders: int, **node: Any) -> None:
        self.saver = saver
        self.refunded: list[int] = []
        self.fails = False

        @tool
        def refund(order: int) -> str:
            """Refund an order."""
            self.refunded.append(order)
            if self.fails:
                raise RuntimeError("the line broke")
            return f"order {order} refunded"

        guard = ToolCallGuard(interrupt_on=["refund"])
        tools = ToolNode([refund], wrap_tool_call=guard.wrap_tool_call, awrap_tool_call=guard.awrap_tool_call, **node)
        model = ScriptedModel(lines=[calls(*(("refund", {"order": order}) for order in orders)), says("done")])
        if kind == "edge":
            builder = StateGraph(MessagesState)
            builder.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
            builder.add_node("tools", tools)
            builder.add_edge(START, "model")
            builder.add_conditional_edges("model", tools_condition)
            builder.add_edge("tools", "model")
            self.graph: Any = builder.compile(checkpointer=saver)
        else:
            self.graph = create_react_agent(model, tools, checkpointer=saver, version=kind)

    def say(self) -> None:
        self.graph.invoke({"messages": [("user", "go")]}, thread())

    def asked(self) -> list[tuple[str, int]]:
        return [(w.value["type"], w.value["args"]["order"]) for w in self.saver.interrupts.waiting()]

    def answer(self, order: int, *, record: bool, **answer: Any) -> None:
        [id_] = [w.interrupt_id for w in self.saver.interrupts.waiting() if w.value["args"]["order"] == order]
        if record:
            self.saver.interrupts.answer("ada-1", id_, answer, by="Ada")
        self.graph.invoke(None if record else Command(resume={id_: answer}), thread())

    @property
    def answers(self) -> list[str]:
        messages = self.graph.get_state(thread()).values["messages"]
        return [message.text for message in messages if isinstance(message, ToolMessage)]


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize("kind", ["edge", "v1", "v2"])
def test_each_call_is_asked_about_and_runs_once(saver: HoldfastSaver, kind: Kind, record: bool) -> None:
    team = Team(saver, kind, 1, 2)
    team.say()
    first = team.asked()[0][1]
    team.answer(first, record=record, type="approve")
    assert team.refunded == [first]
    other = 3 - first
    assert team.asked() == [("tool_approval", other)]
    team.answer(other, record=record, type="edit", edited_action={"name": "refund", "args": {"order": 7}})
    assert (sorted(team.refunded), team.asked(), ledger(saver)) == ([first, 7], [], ["done", "done"])
    assert team.graph.get_state(thread()).next == ()


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("handled", [True, False])
@pytest.mark.parametrize("kind", ["edge", "v2"])
def test_an_error_is_in_doubt_also_if_the_node_makes_messages_of_errors(
    saver: HoldfastSaver, kind: Kind, handled: bool
) -> None:
    team = Team(saver, kind, 1, 2, handle_tool_errors=handled)
    team.fails = True
    team.say()
    first = team.asked()[0][1]
    team.answer(first, record=True, type="approve")
    assert ("effect_in_doubt", first) in team.asked()
    team.fails = False
    team.answer(first, record=True, type="run_again")
    assert team.asked() == [("tool_approval", 3 - first)]
    team.answer(3 - first, record=True, type="reject")
    assert (team.refunded, ledger(saver)) == ([first, first], ["done"])


def test_an_answer_to_one_call_is_none_to_another_call_of_the_task(saver: HoldfastSaver) -> None:
    team = Team(saver, "edge", 1, 2)
    team.say()
    [first] = saver.interrupts.waiting()
    with pytest.raises(BadAnswer):
        team.answer(first.value["args"]["order"], record=False, type="nonsense")
    resume = Command(resume={first.interrupt_id: {"type": "approve"}})
    team.graph.invoke(resume, thread())
    team.graph.invoke(resume, thread())
    team.graph.invoke(Command(resume={"type": "approve"}), thread())  # which of them, it does not say
    assert (team.refunded, len(team.asked())) == ([first.value["args"]["order"]], 1)


@pytest.mark.sweep
async def test_it_is_the_same_on_an_event_loop(saver: HoldfastSaver) -> None:
    team = Team(saver, "v2", 1)
    await team.graph.ainvoke({"messages": [("user", "go")]}, thread())
    [request] = saver.interrupts.waiting()
    await team.graph.ainvoke(Command(resume={request.interrupt_id: {"type": "approve"}}), thread())
    assert (team.refunded, team.answers, ledger(saver)) == ([1], ["order 1 refunded"], ["done"])


class WithNote(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    note: str


@pytest.mark.parametrize("form", ["command", "list"])
def test_a_tool_that_reads_and_changes_the_state_does_so(form: str) -> None:
    runs: list[str] = []

    @once
    @tool
    def note(text: str, state: Annotated[dict[str, Any], InjectedState]) -> Any:
        """Note something."""
        runs.append(state["note"])
        call_id = state["messages"][-1].tool_calls[0]["id"]
        answer = ToolMessage("noted", tool_call_id=call_id)
        if form == "list":
            return [Command(update={"note": text}), answer]
        return Command(update={"note": text, "messages": [answer]})

    guard = ToolCallGuard()
    builder = StateGraph(WithNote)
    model = ScriptedModel(lines=[calls(("note", {"text": "new"}))])
    builder.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_node("tools", ToolNode([note], wrap_tool_call=guard.wrap_tool_call))
    builder.add_edge(START, "model")
    builder.add_edge("model", "tools")
    with open_checkpointer("memory://") as saver:
        graph: Any = builder.compile(checkpointer=saver)
        state = graph.invoke({"messages": [("user", "go")], "note": "old"}, thread())
        assert (runs, state["note"], state["messages"][-1].text, ledger(saver)) == (["old"], "new", "noted", ["done"])
