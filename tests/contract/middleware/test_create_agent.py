"""The guarantees for tool calls in an agent of LangChain's `create_agent`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from holdfast import IdempotencyKey, needs_approval, once
from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.save import attempt
from holdfast.errors import AlreadyAnswered, BadAnswer
from holdfast.middleware import HoldfastMiddleware
from tests.support import children, middleware_kit
from tests.support.graph_kit import ScriptedModel, calls, says
from tests.support.kit import thread
from tests.support.middleware_kit import Shop
from tests.support.world import crash, ledger

pytestmark = pytest.mark.usefixtures("quick")


def boom() -> None:
    raise RuntimeError("the line broke")


# --- asking


def test_the_system_prompt_is_on_record(saver: HoldfastSaver) -> None:
    agent = create_agent(
        ScriptedModel(lines=[says("Hello")]),
        [],
        system_prompt="Be kind.",
        middleware=[HoldfastMiddleware()],
        checkpointer=saver,
    )
    agent.invoke({"messages": [("user", "Hi")]}, thread())
    assert saver.threads.prompt("ada-1") == "Be kind."


def test_a_call_waits_in_the_inbox_and_runs_when_it_is_approved(saver: HoldfastSaver) -> None:
    shop = Shop(saver)
    shop.say()
    assert (shop.asked().value["type"], shop.asked().value["args"], shop.refunded) == (
        "tool_approval",
        {"order": 1},
        [],
    )
    shop.record(type="approve")
    shop.go_on()
    assert (shop.refunded, ledger(saver), shop.ended) == ([1], ["done"], True)
    assert shop.answers[0].text == "order 1 refunded"
    assert shop.answers[0].additional_kwargs["approval"]["by"] == "Ada"


async def test_it_is_the_same_on_an_event_loop(saver: HoldfastSaver) -> None:
    shop = Shop(saver, behave=boom)
    await shop.agent.ainvoke({"messages": [("user", "go")]}, thread())
    shop.record(type="approve")
    await shop.agent.ainvoke(None, thread())
    assert shop.asked().value["type"] == "effect_in_doubt"
    shop.behave = lambda: None
    await shop.agent.ainvoke(Command(resume={shop.asked().interrupt_id: {"type": "run_again"}}), thread())
    assert (shop.refunded, ledger(saver), shop.ended) == ([1, 1], ["done"], True)


def test_langgraphs_own_resume_answers_it_without_naming_the_request(saver: HoldfastSaver) -> None:
    shop = Shop(saver)
    shop.say()
    shop.agent.invoke(
        Command(resume={"type": "edit", "edited_action": {"name": "refund", "args": {"order": 2}}}), thread()
    )
    assert (shop.refunded, shop.ended) == ([2], True)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"type": "reject", "message": "too old"}, "Not run: a person refused this call. The reason given: too old"),
        ({"type": "respond", "message": "It was done by hand."}, "It was done by hand."),
    ],
)
def test_a_call_that_is_refused_or_answered_by_a_person_does_not_run(answer: dict[str, Any], text: str) -> None:
    with open_checkpointer("memory://") as saver:
        shop = Shop(saver)
        shop.say()
        shop.record(**answer)
        shop.go_on()
        assert (shop.refunded, shop.ended) == ([], True)
        assert shop.answers[0].text.startswith(text)


def test_each_call_of_a_message_is_a_request_of_its_own(saver: HoldfastSaver) -> None:
    shop = Shop(saver, calls(("refund", {"order": 1}), ("refund", {"order": 2})), says("done"))
    shop.say()
    first, second = shop.waiting()
    saver.interrupts.answer("ada-1", second.interrupt_id, {"type": "approve"})
    shop.go_on()
    assert shop.refunded == [2]
    saver.interrupts.answer("ada-1", first.interrupt_id, {"type": "reject"})
    shop.go_on()
    assert (shop.refunded, shop.ended) == ([2], True)


def test_an_answer_that_does_not_fit_is_refused_and_the_call_still_waits(saver: HoldfastSaver) -> None:
    shop = Shop(saver)
    shop.say()
    with pytest.raises(BadAnswer, match="its \"type\" is 'nonsense'"):
        shop.go_on(type="nonsense")
    shop.go_on(type="approve")
    assert shop.refunded == [1]


def test_a_run_that_brings_another_answer_than_the_recorded_one_is_refused(saver: HoldfastSaver) -> None:
    shop = Shop(saver)
    shop.say()
    resume = {shop.asked().interrupt_id: {"type": "approve"}}
    shop.record(type="reject", by="Grace")
    with pytest.raises(AlreadyAnswered, match="Grace"):
        shop.agent.invoke(Command(resume=resume), thread())
    shop.go_on()
    assert (shop.refunded, shop.answers[0].additional_kwargs["approval"]["by"]) == ([], "Grace")


def test_a_call_with_arguments_that_do_not_fit_is_not_asked_about(saver: HoldfastSaver) -> None:
    shop = Shop(saver, calls(("refund", {"order": "the first"})), says("sorry"))
    shop.say()
    assert (shop.refunded, shop.ended) == ([], True)
    assert shop.answers[0].text.startswith("Not run: the arguments do not fit refund: 'order'")


# --- declarations


def declared_by_name() -> tuple[Any, HoldfastMiddleware]:
    options = {"allowed_decisions": ["approve", "reject"], "description": "Refund order {order}"}
    return (lambda tool: tool), HoldfastMiddleware(interrupt_on={"refund": options})


def declared_on_the_tool() -> tuple[Any, HoldfastMiddleware]:
    return needs_approval(decisions=("approve", "reject"), description="Refund order {order}"), HoldfastMiddleware()


@pytest.mark.parametrize("declaration", [declared_by_name, declared_on_the_tool])
def test_a_tool_is_declared_on_itself_or_by_name(declaration: Any) -> None:
    declare, middleware = declaration()
    with open_checkpointer("memory://") as saver:
        shop = Shop(saver, declare=declare, middleware=[middleware])
        shop.say()
        assert shop.asked().value["description"] == "Refund order 1"
        with pytest.raises(BadAnswer, match="respond"):
            shop.go_on(type="respond", message="no")


@pytest.mark.parametrize(("declare", "middleware"), [(once, {}), (lambda tool: tool, {"once": ["refund"]})])
def test_a_tool_that_changes_the_world_is_in_the_ledger_without_an_approval(declare: Any, middleware: Any) -> None:
    with open_checkpointer("memory://") as saver:
        shop = Shop(saver, declare=declare, middleware=[HoldfastMiddleware(**middleware)])
        shop.say()
        assert (shop.refunded, ledger(saver), shop.ended) == ([1], ["done"], True)


def test_a_tool_without_a_declaration_passes_through_and_leaves_no_trace(
    saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "_MOVES_EVERY", float("inf"))  # also for a run of more than a second
    seen: dict[bool, list[str]] = {}
    for guarded in (False, True):
        shop = Shop(saver, middleware=[HoldfastMiddleware()] if guarded else [])
        saver._backend.on_statement = seen.setdefault(guarded, []).append
        # One thread for the saves: with more, LangGraph may save what a task wrote before the checkpoint it is of.
        in_turn = RunnableConfig(max_concurrency=1, **thread(f"t{guarded}"))
        shop.agent.invoke({"messages": [("user", "go")]}, in_turn, durability="sync")
        saver._backend.on_statement = None
        assert shop.refunded == [1]
    assert seen[True] == seen[False]
    assert ledger(saver) == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"interrupt_on": {"refund": {"decisions": ["approve"]}}}, ValueError),
        ({"interrupt_on": {"refund": {"allowed_decisions": ["allow"]}}}, ValueError),
        ({"interrupt_on": {"refund": {"when": bool}}}, ValueError),
        ({"interrupt_on": "refund"}, TypeError),
        ({"once": "refund"}, TypeError),
    ],
)
def test_a_mistaken_declaration_is_an_error_when_it_is_made(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"interrupt_on|needs_approval|once"):
        HoldfastMiddleware(**arguments)


def test_false_means_no_approval_and_a_request_can_expire(saver: HoldfastSaver) -> None:
    shop = Shop(saver, middleware=[HoldfastMiddleware(interrupt_on={"refund": False})])
    shop.say()
    assert (shop.refunded, ledger(saver)) == ([1], [])
    middleware = HoldfastMiddleware(interrupt_on={"refund": {"expires_in": timedelta(hours=1)}})
    shop = Shop(saver, middleware=[middleware])
    shop.say()
    assert shop.asked().expires_at is not None


def test_the_tool_gets_the_key_of_its_call(saver: HoldfastSaver) -> None:
    keys: list[str] = []

    @once
    @tool
    def pay(amount: int, key: IdempotencyKey) -> str:
        """Pay."""
        keys.append(key)
        if len(keys) == 1:
            boom()
        return "paid"

    shop = Shop(saver, calls(("pay", {"amount": 1, "key": "forged"})), says("no"), tools=[pay])
    shop.say()
    assert "there is no argument 'key'" in shop.answers[0].text
    shop = Shop(saver, calls(("pay", {"amount": 1})), says("done"), tools=[pay])
    shop.say()
    shop.go_on(type="run_again")
    assert (len(keys), len(set(keys)), shop.ended) == (2, 1, True)


# --- once, or in doubt


def test_a_call_that_fails_without_saying_what_happened_is_asked_about_and_settled(saver: HoldfastSaver) -> None:
    shop = Shop(saver, behave=boom)
    shop.say()
    approval = shop.asked().interrupt_id
    shop.record(type="approve")
    shop.go_on()
    assert (shop.asked().value["type"], shop.asked().value["why"]) == ("effect_in_doubt", "error")
    with pytest.raises(AlreadyAnswered):
        saver.interrupts.answer("ada-1", approval, {"type": "approve"})  # a late second click settles nothing
    shop.record(type="happened", result="It is refunded.", by="Bob")
    shop.go_on()
    assert (shop.refunded, shop.ended, shop.answers[0].text) == ([1], True, "It is refunded.")
    assert shop.answers[0].additional_kwargs["effect"]["by"] == "Bob"


@pytest.mark.sweep
def test_a_late_click_on_the_approval_does_not_settle_a_doubt_in_langgraphs_own_resume(saver: HoldfastSaver) -> None:
    shop = Shop(saver, behave=boom)
    shop.say()
    approval = shop.asked().interrupt_id
    shop.go_on(type="approve")
    shop.agent.invoke(Command(resume={approval: {"type": "approve"}}), thread())
    assert (shop.refunded, shop.asked().value["type"]) == ([1], "effect_in_doubt")


def test_a_call_that_is_in_doubt_again_is_asked_about_again(saver: HoldfastSaver) -> None:
    shop = Shop(saver, declare=once, middleware=[HoldfastMiddleware()], behave=boom)
    shop.say()
    ids = []
    for _ in range(3):
        ids.append(shop.asked().interrupt_id)
        shop.go_on(type="run_again")
    assert (shop.refunded, len(set(ids))) == ([1] * 4, 3)
    shop.go_on(type="skip")
    assert shop.ended
    assert shop.answers[0].text.startswith("Not run: a person decided to leave this call.")


def test_a_tool_that_says_it_did_nothing_has_failed(saver: HoldfastSaver) -> None:
    def refuse() -> None:
        raise ToolException("Refunded before.")

    shop = Shop(saver, declare=once, middleware=[HoldfastMiddleware()], behave=refuse)
    shop.say()
    assert (ledger(saver), shop.ended, shop.answers[0].text) == (["failed"], True, "refund failed. Refunded before.")


def test_an_error_that_the_tool_node_would_make_a_message_of_is_in_doubt(saver: HoldfastSaver) -> None:
    def invalid() -> None:
        ScriptedModel(lines=1)  # type: ignore[arg-type]  # pydantic's error, which ToolNode takes for one of the model's

    shop = Shop(saver, declare=once, middleware=[HoldfastMiddleware()], behave=invalid)
    shop.say()
    assert (shop.asked().value["type"], ledger(saver)) == ("effect_in_doubt", ["in_doubt"])


def test_a_run_that_died_after_the_call_does_not_run_it_again(saver: HoldfastSaver) -> None:
    shop = Shop(saver, declare=once, middleware=[HoldfastMiddleware()])
    generate = type(shop.model)._generate

    def die(*_: Any, **__: Any) -> Any:
        if len(shop.model.seen) == 1:
            crash()
        return generate(shop.model, *_, **__)

    object.__setattr__(shop.model, "_generate", die)
    with pytest.raises(KeyboardInterrupt):
        shop.say()
    object.__setattr__(shop.model, "_generate", generate.__get__(shop.model))
    shop.go_on()
    assert (shop.refunded, shop.ended) == ([1], True)


@pytest.mark.sweep
def test_a_call_whose_process_was_killed_is_settled_from_the_inbox_and_has_one_effect(url: str, tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    asked = children.run(middleware_kit.ask, url, str(effects))
    with open_checkpointer(url) as saver:
        saver.interrupts.answer("ada-1", asked, {"type": "approve"}, by="Ada")
    assert children.run(middleware_kit.carry_out, url, str(effects), True) == -9
    assert children.run(middleware_kit.carry_out, url, str(effects), False) == ["effect_in_doubt"]
    with open_checkpointer(url) as saver:
        [request] = saver.interrupts.waiting()
        saver.interrupts.answer("ada-1", request.interrupt_id, {"type": "happened", "result": "refunded"}, by="Bob")
    assert children.run(middleware_kit.carry_out, url, str(effects), False) == []
    assert effects.read_text() == "refund\n"
    with open_checkpointer(url) as saver:
        shop = Shop(saver)
        assert [message.text for message in shop.messages[-2:]] == ["refunded", "done"]


@pytest.mark.sweep
def test_the_key_of_a_call_includes_its_message(saver: HoldfastSaver) -> None:
    line = calls(("refund", {"order": 1}))  # its call is call_0 in every turn
    shop = Shop(saver, line, says("done"), line, says("again"), middleware=[HoldfastMiddleware(once=["refund"])])
    shop.say()
    shop.say()
    assert (shop.refunded, ledger(saver)) == ([1, 1], ["done", "done"])


def test_calls_without_an_id_get_one(saver: HoldfastSaver) -> None:
    line = calls(("refund", {"order": 1}), ("refund", {"order": 2}), ids=[None, None])
    shop = Shop(saver, line, says("done"), middleware=[HoldfastMiddleware(once=["refund"])])
    shop.say()
    assert (sorted(shop.refunded), ledger(saver), shop.ended) == ([1, 2], ["done", "done"], True)


# --- other agents


def test_a_subagent_is_asked_for_in_the_thread_of_its_agent(saver: HoldfastSaver) -> None:
    inner = Shop(None)

    @tool
    def delegate(task: str) -> str:
        """Give a task to the other agent."""
        return str(inner.agent.invoke({"messages": [("user", task)]})["messages"][-1].text)  # type: ignore[call-overload]

    shop = Shop(saver, calls(("delegate", {"task": "refund"})), says("all done"), tools=[delegate])
    shop.say()
    shop.record(type="approve")
    inner.behave = boom
    shop.go_on()
    assert (inner.refunded, shop.asked().value["type"]) == ([1], "effect_in_doubt")
    shop.record(type="skip")
    inner.model.lines[1:1] = []
    shop.go_on()
    assert (inner.refunded, shop.ended, shop.messages[-1].text) == ([1], True, "all done")


@pytest.mark.parametrize("checkpointer", [InMemorySaver, None])
def test_without_our_checkpointer_a_person_is_asked_and_the_call_runs(checkpointer: Any) -> None:
    saver = checkpointer() if checkpointer else None
    shop = Shop(saver, middleware=[HoldfastMiddleware(interrupt_on=["refund"] if saver else [], once=["refund"])])
    shop.say()
    if saver:
        assert shop.refunded == []
        shop.agent.invoke(Command(resume={"type": "approve"}), thread())
    assert shop.refunded == [1]


def test_tools_of_the_same_name_in_two_agents_are_told_apart() -> None:
    @tool
    def refund(order: int, reason: str) -> str:
        """Refund."""
        return reason

    middleware = HoldfastMiddleware(once=["refund"])
    with open_checkpointer("memory://") as saver:
        Shop(saver, middleware=[middleware]).say()
        line = calls(("refund", {"order": 1, "reason": "late"}))
        tools: list[BaseTool] = [refund]
        agent = create_agent(
            ScriptedModel(lines=[line, AIMessage("done")]), tools, middleware=[middleware], checkpointer=saver
        )
        result = agent.invoke({"messages": [("user", "go")]}, thread("other"))  # type: ignore[call-overload]
        assert result["messages"][-2].text == "late"
