"""A tool that changes the world runs once for each call, also if the run or the process dies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import tool
from langgraph.types import Command, RetryPolicy

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.graph import needs_approval, once, repeatable
from tests.support import children
from tests.support.graph_kit import Talk, calls, says
from tests.support.kit import change
from tests.support.world import World, asked, crash, ledger, settle, talk_with

pytestmark = pytest.mark.usefixtures("quick")


def test_it_is_on_record_before_and_after(saver: HoldfastSaver, world: World) -> None:
    seen: list[list[str]] = []
    world.behave = lambda: seen.append(ledger(saver))
    talk = talk_with(saver, world.tool())
    talk.say("pay")
    assert (seen, ledger(saver), world.done) == ([["started"]], ["done"], [1])
    assert talk.answers[0].content == "order 1 is paid"
    assert talk.kinds == "hata"


def test_its_cost_is_two_transactions_and_that_of_a_safe_tool_none(saver: HoldfastSaver, world: World) -> None:
    counts = []
    for declare in (once, repeatable):
        talk = Talk(saver, calls(("pay", {"order_id": 1})), says("done"), tools=[declare(world.tool())])
        talk.thread["configurable"]["thread_id"] = declare.__name__
        seen: list[str] = []
        saver._backend.on_statement = seen.append
        talk.say("pay", durability="sync")
        saver._backend.on_statement = None
        counts.append([name for name in seen if "effect" in name])
    assert counts == [["claim_effect", "effect", "finish_effect"], []]


def test_a_run_that_died_after_it_does_not_run_it_again(saver: HoldfastSaver, world: World) -> None:
    talk = talk_with(saver, world.tool())
    model: Any = talk.model
    generate = model._generate

    def die_in_the_second_call(*args: Any, **kwargs: Any) -> Any:
        if len(model.seen) == 1:
            crash()
        return generate(*args, **kwargs)

    object.__setattr__(model, "_generate", die_in_the_second_call)
    with pytest.raises(KeyboardInterrupt):
        talk.say("pay")
    object.__setattr__(model, "_generate", generate)
    talk.agent.invoke(None, talk.thread)
    assert world.done == [1]
    assert talk.messages[-1].content == "so be it"


def test_a_call_that_langgraph_retries_runs_once(saver: HoldfastSaver, world: World) -> None:
    talk = talk_with(saver, world.tool())
    graph = talk.agent.builder if hasattr(talk.agent, "builder") else None
    assert graph is not None
    graph.nodes["tool"].retry_policy = RetryPolicy(initial_interval=0.01, retry_on=Exception)
    talk.agent = graph.compile(checkpointer=saver)
    writes: list[int] = []
    put_writes = saver.put_writes

    def fail_once(*args: Any, **kwargs: Any) -> None:
        writes.append(1)
        put_writes(*args, **kwargs)

    saver.put_writes = fail_once  # type: ignore[method-assign]
    world.behave = lambda: 1 / 0
    talk.say("pay")
    assert world.done == [1]
    assert asked(talk)["why"] == "error"


@pytest.mark.parametrize("how", ["fork", "copy"])
def test_a_fork_and_a_copy_of_a_paused_thread_run_it_once_together(
    saver: HoldfastSaver, world: World, how: str
) -> None:
    talk = talk_with(saver, needs_approval(world.tool()))
    talk.say("pay")
    [pause] = talk.agent.get_state(talk.thread).interrupts
    other = talk.thread
    if how == "copy":
        saver.copy_thread("ada-1", "copy")
        other = {"configurable": {"thread_id": "copy"}}
    paused = talk.agent.get_state(talk.thread).config
    talk.answer(pause.id, type="approve")
    assert world.done == [1]
    talk.model.lines += [says("as before")] * 3
    if how == "copy":
        [again] = talk.agent.get_state(other).interrupts
        talk.agent.invoke(Command(resume={again.id: {"type": "approve"}}), other)
        [doubt] = talk.agent.get_state(other).interrupts
        assert (doubt.value["why"], doubt.value["result"]) == ("elsewhere", "order 1 is paid")
        result = talk.agent.invoke(Command(resume={doubt.id: {"type": "happened"}}), other)
        assert result["messages"][2].content == "order 1 is paid"
    else:
        forked = talk.agent.update_state(paused, {"messages": []}, as_node="model")
        talk.agent.invoke(None, forked)
        [again] = talk.agent.get_state(forked | {"configurable": {**other["configurable"]}}).interrupts
        result = talk.agent.invoke(Command(resume={again.id: {"type": "approve"}}), other)
        assert result["messages"][2].content == "order 1 is paid"
    assert world.done == [1]


def test_an_approved_call_that_was_not_carried_out_is_not_said_to_have_waited(
    saver: HoldfastSaver, world: World
) -> None:
    talk = Talk(saver, calls(("pay", {"order_id": 1})), says("I see"), tools=[needs_approval(world.tool())])
    talk.say("pay")
    [waiting] = saver.interrupts.waiting()
    saver.interrupts.answer("ada-1", waiting.interrupt_id, {"type": "approve"}, by="Grace")
    talk.say("never mind")  # not through a conversation, which would carry it out first
    assert "a person had decided about this call" in talk.answers[0].content
    assert world.done == []


def run_until_killed(url: str, path: str) -> None:
    @once
    @tool
    def pay(order_id: int) -> str:
        """Pay."""
        with Path(path).open("a") as file:
            file.write("x")
        children.die()
        return "never"

    with open_checkpointer(url) as saver:
        talk_with(saver, pay).say("pay")


def test_a_process_that_is_killed_just_after_the_effect_leaves_a_call_in_doubt(url: str, tmp_path: Path) -> None:
    """LangGraph alone would run it again."""
    path = tmp_path / "world"
    assert children.run(run_until_killed, url, str(path)) == -9
    with open_checkpointer(url) as saver:
        change(saver, "UPDATE holdfast_effects SET alive_until = alive_until - 15")  # the child's claim expires

        @once
        @tool
        def pay(order_id: int) -> str:
            """Pay."""
            raise AssertionError("a second time")

        talk = talk_with(saver, pay)
        talk.model.seen.append([])
        talk.agent.invoke(None, talk.thread)
        assert asked(talk)["why"] == "owner"
        assert settle(talk, type="happened", result="it is there").content == "it is there"
    assert path.read_text() == "x"


async def test_all_of_it_from_async_code(saver: HoldfastSaver, world: World) -> None:
    world.behave = lambda: 1 / 0
    talk = talk_with(saver, world.tool())
    await talk.agent.ainvoke({"messages": [("user", "pay")]}, talk.thread)
    state = await talk.agent.aget_state(talk.thread)
    assert state.interrupts[0].value["why"] == "error"
    world.behave = lambda: None
    resume = Command(resume={state.interrupts[0].id: {"type": "run_again", "by": "grace"}})
    result = await talk.agent.ainvoke(resume, talk.thread)
    assert result["messages"][2].content == "order 1 is paid"
    assert world.done == [1, 1]


def test_without_a_ledger_it_just_runs(world: World) -> None:
    from langgraph.checkpoint.memory import InMemorySaver

    talk = Talk(InMemorySaver(), calls(("pay", {"order_id": 1})), says("done"), tools=[world.tool()])
    talk.say("pay")
    assert talk.answers[0].content == "order 1 is paid"


def test_a_wrong_declaration_is_refused() -> None:
    with pytest.raises(TypeError, match="above @tool"):
        once(print)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="above 0"):
        once(timeout=0)
