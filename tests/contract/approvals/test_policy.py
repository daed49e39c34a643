"""The approval of each call: the request, the answers that fit, and the thread after an answer that does not."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from langchain_core.tools import StructuredTool, tool
from langgraph.errors import UnknownInterruptError, is_invalid_resume
from langgraph.types import Command, interrupt
from pydantic import BaseModel

from holdfast.checkpoints import HoldfastSaver
from holdfast.graph import BadAnswer, Conversation, needs_approval
from holdfast.graph.approvals.decisions import DECISIONS, answer_form
from holdfast.graph.approvals.policy import approval_policy
from tests.support.graph_kit import SAVERS, Desk, Talk, calls, opened, says
from tests.support.sweep import Sweep


@pytest.fixture(params=SAVERS)
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    with opened(request.param) as saver:
        yield Desk(saver)


def paused(desk: Desk, *orders: int, then: str = "done", **approval: Any) -> Talk:
    """A thread that waits for the approval of one refund an order."""
    wanted = [("refund", {"order_id": order}) for order in orders]
    talk = Talk(desk.saver, calls(*wanted), says(then), says("later"), tools=desk.tools(**approval))
    talk.say("refund, please")
    return talk


def test_the_request_says_which_call_it_is_about(desk: Desk) -> None:
    talk = Talk(
        desk.saver,
        calls(("refund", {"order_id": 7, "reason": "broken"})),
        tools=desk.tools(description="Refund order {order_id} ({reason})"),
    )
    (pause,) = talk.say("refund")["__interrupt__"]
    assert pause.value == {
        "type": "tool_approval",
        "tool_call_id": "call_0",
        "name": "refund",
        "args": {"order_id": 7, "reason": "broken"},
        "description": "Refund order 7 (broken)",
    }
    assert desk.refunded == []


class Item(BaseModel):
    sku: str
    parts: list["Item"] = []


PARTS = {"properties": {"sku": {"type": "string"}, "parts": {"type": "array"}}, "required": ["sku"]}


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize(
    ("schema", "shown"),
    [
        (None, {"properties": {"item": PARTS}, "required": ["item"]}),
        ({"type": "object", "properties": {"item": {"$ref": "#/definitions/none"}}}, {"type": "object"}),
    ],
    ids=["a model that holds itself", "a reference to nothing"],
)
def test_a_client_is_told_what_can_be_answered_without_a_reference(
    desk: Desk, schema: dict[str, Any] | None, shown: dict[str, Any]
) -> None:
    def order(item: Item) -> str:
        """Order it."""
        return "ordered"

    buy = StructuredTool.from_function(order, args_schema=schema)
    wanted = calls(("order", {"item": {"sku": "kelp", "parts": [{"sku": "leaf"}]}}))
    talk = Talk(desk.saver, wanted, says("done"), tools=[needs_approval(buy)])
    (pause,) = talk.say("order it")["__interrupt__"]

    form = pause.response_schema
    assert [kind["properties"]["type"]["const"] for kind in form["oneOf"]] == list(DECISIONS)
    assert "$" not in str(form)
    edited = form["oneOf"][DECISIONS.index("edit")]["properties"]["edited_action"]["properties"]
    assert edited["name"]["const"] == "order"
    assert within(shown, edited["args"])
    talk.answer(pause.id, type="approve")
    if schema is None:
        assert talk.answers[0].content == "ordered"


def within(less: Any, more: Any) -> bool:
    """Return whether all of a JSON value is in another one, objects compared key by key."""
    if isinstance(less, dict):
        return all(key in more and within(value, more[key]) for key, value in less.items())
    return bool(less == more)


def test_a_description_whose_argument_was_left_out_shows_the_plain_call(desk: Desk) -> None:
    talk = paused(desk, 7, description="Refund order {order_id} because of {reason}")
    (pause,) = talk.agent.get_state(talk.thread).interrupts
    assert pause.value["description"] == "refund(order_id=7)"


def test_an_approved_call_runs_once_and_its_message_says_who_approved(desk: Desk) -> None:
    talk = paused(desk, 7)
    talk.answer(talk.pending["refund 7"], type="approve", by="grace", at="2026-11-20T10:30:00+01:00")
    (result,) = talk.answers
    assert desk.refunded == [7]
    assert (result.content, result.status) == ("order 7 refunded", "success")
    assert result.additional_kwargs["approval"] == {
        "decision": "approve",
        "by": "grace",
        "at": "2026-11-20T09:30:00+00:00",
    }
    assert talk.messages[-1].content == "done"


def test_an_answer_without_a_time_gets_the_time_of_the_task(desk: Desk) -> None:
    talk = paused(desk, 7)
    talk.answer(talk.pending["refund 7"], type="approve")
    at = talk.answers[0].additional_kwargs["approval"]["at"]
    assert datetime.fromisoformat(at).utcoffset() is not None


def test_an_edited_call_runs_as_edited_and_the_model_is_told(desk: Desk) -> None:
    talk = paused(desk, 7)
    edited = {"name": "refund", "args": {"order_id": 8}}
    talk.answer(talk.pending["refund 7"], type="edit", edited_action=edited, by="grace")
    assert desk.refunded == [8]
    (result,) = talk.answers
    assert '{"order_id": 8}' in result.content
    assert result.content.endswith("order 8 refunded")
    assert result.additional_kwargs["approval"]["args"] == {"order_id": 8}
    assert talk.messages[1].tool_calls[0]["args"] == {"order_id": 7}, "what the model wrote stays as it was"


def test_a_rejected_call_does_not_run_and_the_reason_reaches_the_model(desk: Desk) -> None:
    talk = paused(desk, 7)
    talk.answer(talk.pending["refund 7"], type="reject", message="not without the receipt")
    assert desk.refunded == []
    (result,) = talk.answers
    assert result.status == "error"
    assert "not without the receipt" in result.content
    assert talk.model.seen[-1][-1].content == result.content


def test_a_response_takes_the_place_of_the_result(desk: Desk) -> None:
    talk = paused(desk, 7)
    talk.answer(talk.pending["refund 7"], type="respond", message="I did that by hand")
    assert desk.refunded == []
    assert [(m.content, m.status) for m in talk.answers] == [("I did that by hand", "success")]


BAD_ANSWERS: dict[str, tuple[Any, str]] = {
    "not an object": ("yes", "it is 'yes', not an object"),
    "no type": ({}, 'it has no "type"'),
    "unknown type": ({"type": "ok"}, "its \"type\" is 'ok'"),
    "arguments beside an approval": ({"type": "approve", "args": {"order_id": 8}}, 'it has a "args"'),
    "an edit without an action": ({"type": "edit"}, 'it has no "edited_action"'),
    "an edit to another tool": (
        {"type": "edit", "edited_action": {"name": "look", "args": {"order_id": 8}}},
        "its \"edited_action.name\" is 'look'",
    ),
    "an edit that does not fit": (
        {"type": "edit", "edited_action": {"name": "refund", "args": {"order_id": "eight"}}},
        "'order_id' is 'eight', and has to be a whole number",
    ),
    "an edit with an unknown argument": (
        {"type": "edit", "edited_action": {"name": "refund", "args": {"order_id": 8, "cents": 1}}},
        "there is no argument 'cents'",
    ),
    "a response without a message": ({"type": "respond"}, 'it has no "message"'),
    "a time without an offset": ({"type": "approve", "at": "2026-11-20T09:30:00"}, "is not a time in ISO 8601"),
}


@pytest.mark.sweep(every=4)
@pytest.mark.parametrize(("answer", "said"), BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_a_bad_answer_is_a_clear_error_and_the_pause_stays(desk: Desk, answer: Any, said: str) -> None:
    talk = paused(desk, 7)
    before = talk.agent.get_state(talk.thread)
    saved = talk.agent.checkpointer.get_tuple(talk.thread)
    with pytest.raises(BadAnswer) as caught:
        talk.agent.invoke(Command(resume={talk.pending["refund 7"]: answer}), talk.thread)
    assert said in str(caught.value)
    assert "the call still waits" in str(caught.value)
    assert is_invalid_resume(caught.value)
    assert talk.agent.get_state(talk.thread) == before
    assert talk.agent.checkpointer.get_tuple(talk.thread) == saved, "not even the failure is saved"
    talk.answer(talk.pending["refund 7"], type="approve")
    assert desk.refunded == [7]


def test_a_bad_answer_without_an_id_can_be_answered_again(desk: Desk) -> None:
    talk = paused(desk, 7)
    with pytest.raises(BadAnswer):
        talk.agent.invoke(Command(resume={"type": "ok"}), talk.thread)
    assert list(talk.pending) == ["refund 7"]
    talk.agent.invoke(Command(resume={"type": "approve"}), talk.thread)
    assert desk.refunded == [7]


def test_a_decision_that_the_tool_does_not_offer_is_refused(desk: Desk) -> None:
    talk = paused(desk, 7, decisions=("approve", "reject"))
    with pytest.raises(BadAnswer, match="its \"type\" is 'respond'"):
        talk.answer(talk.pending["refund 7"], type="respond", message="done by hand")
    talk.answer(talk.pending["refund 7"], type="reject")
    assert desk.refunded == []


def test_a_tool_with_one_decision_takes_only_that(desk: Desk) -> None:
    talk = paused(desk, 7, decisions=("approve",))
    with pytest.raises(BadAnswer, match="its \"type\" is 'reject'"):
        talk.answer(talk.pending["refund 7"], type="reject")
    talk.answer(talk.pending["refund 7"], type="approve")
    assert desk.refunded == [7]


def test_several_calls_are_answered_one_by_one_in_any_order(desk: Desk) -> None:
    talk = paused(desk, 1, 2, 3)
    for order, left in [(2, ["refund 1", "refund 3"]), (3, ["refund 1"]), (1, [])]:
        talk.answer(talk.pending[f"refund {order}"], type="approve", by=f"clerk {order}")
        assert sorted(talk.pending) == left
    assert desk.refunded == [2, 3, 1]
    assert [m.content for m in talk.answers] == [f"order {n} refunded" for n in (1, 2, 3)], "in the order of the calls"
    assert [m.additional_kwargs["approval"]["by"] for m in talk.answers] == ["clerk 1", "clerk 2", "clerk 3"]


def test_a_good_answer_counts_when_a_bad_one_comes_with_it(desk: Desk) -> None:
    talk = paused(desk, 1, 2)
    pending = talk.pending
    both = {pending["refund 1"]: {"type": "approve"}, pending["refund 2"]: {"type": "ok"}}
    with pytest.raises(BadAnswer):
        talk.agent.invoke(Command(resume=both), talk.thread)
    assert list(talk.pending) == ["refund 2"]
    talk.answer(talk.pending["refund 2"], type="approve")
    assert desk.refunded == [1, 2]


def test_calls_that_need_no_approval_run_while_others_wait(desk: Desk) -> None:
    line = calls(("refund", {"order_id": 1}), ("look", {"order_id": 2}))
    talk = Talk(desk.saver, line, says("done"), tools=desk.tools())
    talk.say("both")
    assert desk.looked_up == [2]
    assert list(talk.pending) == ["refund 1"]
    talk.answer(talk.pending["refund 1"], type="approve")
    assert desk.looked_up == [2], "it is not run again"
    assert [m.content for m in talk.answers] == ["order 1 refunded", "order 2 exists"]


def test_a_second_answer_to_the_same_approval_is_refused(desk: Desk) -> None:
    talk = paused(desk, 1, 2)
    first = talk.pending["refund 1"]
    talk.answer(first, type="approve")
    with pytest.raises(UnknownInterruptError):
        talk.answer(first, type="approve")
    assert desk.refunded == [1]


def test_the_arguments_are_checked_before_a_person_is_asked(desk: Desk) -> None:
    talk = Talk(desk.saver, calls(("refund", {"order": 7})), says("sorry"), tools=desk.tools())
    assert "__interrupt__" not in talk.say("refund")
    (result,) = talk.answers
    assert result.status == "error"
    assert "'order_id' is missing" in result.content
    assert "there is no argument 'order'" in result.content


def test_a_tool_that_needs_approval_cannot_pause_again(desk: Desk) -> None:
    @needs_approval
    @tool
    def doubtful(order_id: int) -> str:
        """Asks again by itself."""
        return str(interrupt("really?"))

    talk = Talk(desk.saver, calls(("doubtful", {"order_id": 1})), says("done"), tools=[doubtful])
    talk.say("go")
    talk.answer(talk.pending["doubtful 1"], type="approve")
    assert "cannot pause a second time" in talk.answers[0].content
    if isinstance(desk.saver, HoldfastSaver):  # it may have done something before that: a person is asked
        assert list(talk.pending) == ["doubtful 1"]
        assert talk.answer(talk.pending["doubtful 1"], type="skip")["messages"][-1].content == "done"
    assert talk.pending == {}


async def test_approvals_work_the_same_from_async_code(desk: Desk) -> None:
    line = calls(("refund", {"order_id": 1}), ("look", {"order_id": 2}))
    talk = Talk(desk.saver, line, says("done"), tools=desk.tools())
    (pause,) = (await talk.agent.ainvoke({"messages": [("user", "both")]}, talk.thread))["__interrupt__"]
    with pytest.raises(BadAnswer, match="it has no"):
        await talk.agent.ainvoke(Command(resume={pause.id: {}}), talk.thread)
    state = await talk.agent.aget_state(talk.thread)
    assert [i.id for i in state.interrupts] == [pause.id]
    result = await talk.agent.ainvoke(Command(resume={pause.id: {"type": "approve"}}), talk.thread)
    assert [m.type for m in result["messages"]] == ["human", "ai", "tool", "tool", "ai"]
    assert (desk.refunded, desk.looked_up) == ([1], [2])


@pytest.mark.sweep
async def test_many_threads_are_approved_at_the_same_time(desk: Desk, sweep: Sweep) -> None:
    saver, many = desk.saver, sweep(6, 20)

    async def one(number: int) -> None:
        talk = Talk(saver, calls(("refund", {"order_id": number})), says("done"), tools=desk.tools())
        thread: Any = {"configurable": {"thread_id": f"t{number}"}}
        (pause,) = (await talk.agent.ainvoke({"messages": [("user", "go")]}, thread))["__interrupt__"]
        await talk.agent.ainvoke(Command(resume={pause.id: {"type": "approve"}}), thread)

    await asyncio.gather(*(one(number) for number in range(many)))
    assert sorted(desk.refunded) == list(range(many))


# --- the declaration ---


def test_a_declaration_is_read_back_and_leaves_the_original_alone() -> None:
    @tool
    def pay(cents: int) -> str:
        """Pay."""
        return str(cents)

    asking = needs_approval(decisions=("approve",), description="Pay {cents}")(pay)
    policy = approval_policy(asking)
    assert policy is not None
    assert (policy.decisions, policy.description) == (("approve",), "Pay {cents}")
    assert approval_policy(pay) is None


def test_a_declaration_below_the_tool_decorator_says_where_it_belongs() -> None:
    with pytest.raises(TypeError, match="goes above @tool"):
        needs_approval(lambda order_id: order_id)  # type: ignore[call-overload]


@pytest.mark.parametrize("decisions", [(), ("approve", "ignore")])
def test_a_declaration_with_a_decision_that_does_not_exist_is_refused(decisions: Any) -> None:
    with pytest.raises(ValueError, match="a tool needs at least one of approve, edit, reject, respond"):
        needs_approval(decisions=decisions)


def test_the_form_of_a_tools_answers_is_built_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []

    def counted(tool: Any, decisions: Any) -> Any:
        built.append(tool.name)
        return answer_form(tool, decisions)

    monkeypatch.setattr("holdfast.graph.approvals.ask.answer_form", counted)
    talk = paused(desk, 1, 2)
    conversation = Conversation(talk.agent, "ada-1")
    conversation.approve(talk.pending["refund 1"])
    conversation.edit({"order_id": 3}, talk.pending["refund 2"])
    assert desk.refunded == [1, 3]
    assert built == ["refund"]
