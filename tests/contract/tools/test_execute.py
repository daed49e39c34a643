"""Every call gets an answer, also if its tool is unknown or fails, or if its arguments cannot be read."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.types import Command, interrupt
from pydantic import BaseModel, Field, field_validator

from holdfast.graph import build_graph
from holdfast.graph.messages import close_calls, unclosed_calls, with_unique_ids
from tests.support.graph_kit import SAVERS, Desk, ScriptedModel, Talk, calls, opened, says


@pytest.fixture(params=SAVERS)
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    with opened(request.param) as saver:
        yield Desk(saver)


def talk_about(desk: Desk, line: AIMessage, *more: AIMessage, tools: list[Any] | None = None) -> Talk:
    talk = Talk(
        desk.saver or InMemorySaver(), line, *more, says("done"), tools=desk.tools() if tools is None else tools
    )
    talk.say("go")
    return talk


def test_a_call_of_an_unknown_tool_is_answered_with_the_tools_there_are(desk: Desk) -> None:
    (result,) = talk_about(desk, calls(("sell", {}))).answers
    assert (result.status, result.name) == ("error", "sell")
    assert result.content == "Not run: there is no tool 'sell'. The tools are: look, refund, explode."


def test_a_tool_that_raises_becomes_an_answer_and_the_turn_goes_on(desk: Desk) -> None:
    talk = talk_about(desk, calls(("explode", {}), ("look", {"order_id": 1})))
    assert [m.content for m in talk.answers] == [
        "explode failed. RuntimeError: the fuse blew",
        "order 1 exists",
    ]
    assert talk.answers[0].status == "error"
    assert talk.messages[-1].content == "done"


def test_the_text_of_a_tool_exception_is_the_whole_answer() -> None:
    @tool
    def refuse() -> str:
        """Refuses."""
        raise ToolException("It was refunded before.")

    (result,) = talk_about(Desk(), calls(("refuse", {})), tools=[refuse]).answers
    assert (result.content, result.status) == ("refuse failed. It was refunded before.", "error")


def test_a_call_with_broken_json_is_answered(desk: Desk) -> None:
    broken = AIMessage(
        "",
        tool_calls=[{"name": "look", "args": {"order_id": 1}, "id": "a", "type": "tool_call"}],
        invalid_tool_calls=[
            {"name": "refund", "args": '{"order_id": 1', "id": "b", "error": None, "type": "invalid_tool_call"},
            {"name": None, "args": None, "id": None, "error": "no name", "type": "invalid_tool_call"},
        ],
    )
    talk = talk_about(desk, broken)
    assert [m.status for m in talk.answers] == ["success", "error", "error"]
    assert "not valid JSON" in talk.answers[1].content
    assert talk.messages[-1].content == "done", "the strict model took the history"


def test_a_tool_may_pause_by_itself() -> None:
    @tool
    def ask() -> str:
        """Asks."""
        return f"they said {interrupt('which colour?')}"

    talk = talk_about(Desk(), calls(("ask", {})), tools=[ask])
    talk.agent.invoke(Command(resume="blue"), talk.thread)
    assert talk.answers[0].content == "they said blue"


def test_a_tool_may_answer_with_a_command() -> None:
    @tool
    def move() -> Command[Any]:
        """Answers by itself."""
        return Command(update={"messages": [ToolMessage("moved", tool_call_id="call_0")]})

    @tool
    def slip() -> Command[Any]:
        """Forgets to answer."""
        return Command(update={"messages": [HumanMessage("oh")]})

    talk = talk_about(Desk(), calls(("move", {}), ("slip", {})), tools=[move, slip])
    assert [m.content for m in talk.answers] == [
        "moved",
        "slip changed the state without answering its call; nothing of that was kept.",
    ]


def test_the_validators_that_a_tool_author_wrote_are_asked_first() -> None:
    class Order(BaseModel):
        order_id: int = Field(alias="orderId")

        @field_validator("order_id")
        @classmethod
        def known(cls, value: int) -> int:
            if value < 1000:
                raise ValueError("orders start at 1000")
            return value

    @tool(args_schema=Order)
    def see(order_id: int) -> str:
        """See."""
        return f"saw {order_id}"

    talk = talk_about(Desk(), calls(("see", {"orderId": 7}), ("see", {"orderId": 1007})), tools=[see])
    assert "orders start at 1000" in talk.answers[0].content
    assert talk.answers[1].content == "saw 1007"


def test_a_tool_with_a_plain_json_schema_is_checked_for_missing_arguments() -> None:
    @tool(args_schema={"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]})
    def remote(**kwargs: Any) -> str:
        """Somewhere else."""
        return "ran"

    talk = talk_about(Desk(), calls(("remote", {})), tools=[remote])
    assert talk.answers[0].content == "Not run: the arguments do not fit remote: 'a' is missing."


def test_the_same_call_ids_in_every_turn_are_told_apart(desk: Desk) -> None:
    lines = [calls(("look", {"order_id": n})) for n in (1, 2)]
    talk = Talk(desk.saver, lines[0], says("one"), lines[1], says("two"), tools=desk.tools())
    talk.say("first")
    talk.say("second")
    assert desk.looked_up == [1, 2]
    assert talk.kinds == "hatahata"


@pytest.mark.parametrize("ids", [["call_0", "call_0"], [None, None], ["", "x"]], ids=str)
def test_calls_of_one_message_with_the_same_id_or_none_get_ids_of_their_own(desk: Desk, ids: list[Any]) -> None:
    talk = talk_about(desk, calls(("look", {"order_id": 1}), ("look", {"order_id": 2}), ids=ids))
    assert [m.content for m in talk.answers] == ["order 1 exists", "order 2 exists"]
    assert [m.tool_call_id for m in talk.answers] == [c["id"] for c in talk.messages[1].tool_calls]


def test_calls_with_ids_of_their_own_are_left_as_they_are() -> None:
    message = calls(("look", {}), ("look", {})).model_copy(update={"id": "m"})
    assert with_unique_ids(message) is message


def test_a_model_that_calls_tools_for_ever_ends_at_the_recursion_limit(desk: Desk) -> None:
    talk = Talk(desk.saver, *[calls(("look", {"order_id": 1}))] * 20, tools=desk.tools())
    with pytest.raises(GraphRecursionError):
        talk.agent.invoke({"messages": [("user", "go")]}, {**talk.thread, "recursion_limit": 8})


async def test_an_async_tool_runs_and_fails_like_any_other() -> None:
    @tool
    async def think(deep: bool) -> str:
        """Thinks."""
        if deep:
            raise RuntimeError("too deep")
        return "thought"

    model = ScriptedModel(lines=[calls(("think", {"deep": False}), ("think", {"deep": True})), says("done")])
    result = await build_graph(model=model, tools=[think]).ainvoke({"messages": [("user", "go")]})
    assert [m.content for m in result["messages"][2:]] == ["thought", "think failed. RuntimeError: too deep", "done"]


# --- building ---


def test_two_tools_of_one_name_are_refused(desk: Desk) -> None:
    with pytest.raises(ValueError, match="Two tools are named 'look'"):
        build_graph(tools=[*desk.tools(), desk.tools()[0]])


def test_an_unknown_model_name_says_what_is_known() -> None:
    with pytest.raises(ValueError, match=r"There is no chat model 'gpt'\. Known are 'offline'"):
        build_graph(model="gpt")


def test_a_plain_function_is_a_tool_and_the_prompt_comes_first_without_being_kept() -> None:
    def double(number: int) -> str:
        """Double a number."""
        return str(2 * number)

    model = ScriptedModel(lines=[calls(("double", {"number": 4})), says("8")])
    result = build_graph(model=model, tools=[double], prompt="Be brief.").invoke({"messages": [("user", "4?")]})
    assert [m.type for m in result["messages"]] == ["human", "ai", "tool", "ai"]
    assert [m.content for m in model.seen[0]] == ["Be brief.", "4?"]


def test_a_run_without_any_message_ends_at_once() -> None:
    assert build_graph(model=ScriptedModel(lines=[]), tools=[]).invoke({"messages": []}) == {"messages": []}


# --- reading a history ---


def test_an_answer_belongs_to_the_nearest_message_that_made_its_call() -> None:
    first, second = calls(("a", {})), calls(("b", {}))
    late = ToolMessage("of b", tool_call_id="call_0")
    history = [HumanMessage("x"), first, HumanMessage("y"), second, late]
    (dangling,) = unclosed_calls(history)
    assert dangling.message is first
    closed = ToolMessage("closed", tool_call_id="call_0")
    assert close_calls(history, lambda *_: closed) == [history[0], first, closed, history[2], second, late]


def test_an_answer_that_came_late_moves_to_its_call() -> None:
    asked, late = calls(("a", {})), ToolMessage("late", tool_call_id="call_0")
    history = [asked, HumanMessage("meanwhile"), late]
    assert [item.message for item in unclosed_calls(history)] == [asked]
    assert close_calls(history, lambda *_: pytest.fail("nothing is missing")) == [asked, late, history[1]]


def test_a_whole_history_stays_as_it_is() -> None:
    asked = calls(("a", {}), ("b", {}))
    answers = [ToolMessage("b", tool_call_id="call_1"), ToolMessage("a", tool_call_id="call_0")]
    history = [HumanMessage("x"), asked, *answers, ToolMessage("of nothing", tool_call_id="call_9"), says("done")]
    assert unclosed_calls(history) == []
    assert close_calls(history, lambda *_: pytest.fail("nothing is missing")) == history
