"""A call that changes the world has an end, whatever its tool returns or raises, and if it never returns."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from decimal import Decimal
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import ToolException, tool
from langgraph.errors import GraphBubbleUp, ParentCommand
from langgraph.types import Command, interrupt

from holdfast.checkpoints import HoldfastSaver, effects
from holdfast.graph import BadAnswer, needs_approval, once, repeatable
from holdfast.graph.tools.results import LONGEST
from tests.support.graph_kit import says
from tests.support.kit import rows
from tests.support.world import World, asked, ledger, settle, talk_with

pytestmark = pytest.mark.usefixtures("quick")


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize(
    ("error", "state", "text"),
    [
        (ToolException("no money left"), "failed", "pay failed. no money left"),
        (ValueError("what now?"), "in_doubt", "ValueError: what now?"),
        (SystemExit(3), "in_doubt", "SystemExit: 3"),
    ],
)
def test_a_tool_that_raises(saver: HoldfastSaver, world: World, error: BaseException, state: str, text: str) -> None:
    def fail() -> None:
        raise error

    world.behave = fail
    talk = talk_with(saver, world.tool())
    talk.say("pay")
    assert ledger(saver) == [state]
    assert text in talk.answers[0].content
    assert talk.answers[0].status == "error"
    assert world.done == [1]


class Unspeakable(Exception):
    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __str__(self) -> str:
        raise RuntimeError("it cannot even be named")


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("declare", [once, repeatable])
def test_an_error_without_a_text_that_cannot_be_pickled_is_named(
    saver: HoldfastSaver, world: World, declare: Any
) -> None:
    def fail() -> None:
        raise Unspeakable

    world.behave = fail
    talk = talk_with(saver, declare(world.tool()))
    talk.say("pay")
    assert "Unspeakable" in talk.answers[0].content


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_tool_that_hangs_is_left_and_its_late_result_counts(
    saver: HoldfastSaver, world: World, asynchronous: bool
) -> None:
    may_end = threading.Event()
    world.behave = lambda: may_end.wait(10) and None
    talk = talk_with(saver, world.tool(timeout=0.05))
    if asynchronous:
        asyncio.run(talk.agent.ainvoke({"messages": [("user", "pay")]}, talk.thread))
    else:
        talk.say("pay")
    assert "did not answer within 0.05 seconds" in talk.answers[0].content
    assert asked(talk)["why"] == "timeout"
    may_end.set()
    entry = [thread for thread in threading.enumerate() if thread.name == "holdfast-tool"]
    for thread in entry:
        thread.join(5)
    assert ledger(saver) == ["done"]
    assert settle(talk, type="run_again").content == "order 1 is paid"
    assert world.done == [1], "it had ended after all, so nothing was run again"


def test_a_safe_tool_that_hangs_is_left(saver: HoldfastSaver, world: World) -> None:
    may_end = threading.Event()
    world.behave = lambda: may_end.wait(10) and None
    talk = talk_with(saver, repeatable(timeout=0.05)(world.tool()))
    talk.say("pay")
    assert talk.answers[0].content == "pay failed. It did not answer within 0.05 seconds."
    assert talk.messages[-1].content == "so be it"
    may_end.set()


def test_a_cancelled_run_leaves_a_doubt(saver: HoldfastSaver) -> None:
    running = asyncio.Event()

    @once
    @tool
    async def pay(order_id: int) -> str:
        """Pay."""
        running.set()
        await asyncio.Event().wait()  # for ever
        return "paid"

    talk = talk_with(saver, pay)

    async def cancel() -> None:
        run = asyncio.ensure_future(talk.agent.ainvoke({"messages": [("user", "pay")]}, talk.thread))
        await running.wait()
        run.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await run

    asyncio.run(cancel())
    assert rows(saver, "SELECT state, why FROM holdfast_effects") == [("in_doubt", "cancelled")]
    talk.agent.invoke(None, talk.thread)
    assert asked(talk)["why"] == "cancelled"


def test_a_very_long_result_is_cut_and_says_so(saver: HoldfastSaver, world: World) -> None:
    world.behave = lambda: "x" * 10_000_000
    talk = talk_with(saver, world.tool())
    talk.say("pay")
    content = talk.answers[0].content
    assert len(content) < LONGEST + 200
    assert "10,000,000 characters" in content


def test_a_result_that_cannot_be_kept_whole_is_kept_as_text(saver: HoldfastSaver, world: World) -> None:
    def pay() -> Any:
        return ToolMessage("paid", tool_call_id="call_0", artifact={"connection": threading.Lock()})

    world.behave = pay
    talk = talk_with(saver, world.tool())
    talk.say("pay")
    assert talk.answers[0].content.startswith("paid\n(More than this text")
    assert (ledger(saver), world.done) == (["done"], [1])


def test_a_tool_may_answer_with_a_command_and_that_is_kept(saver: HoldfastSaver, world: World) -> None:
    world.behave = lambda: Command(update={"messages": [ToolMessage("paid", tool_call_id="call_0"), AIMessage("Hm.")]})
    talk = talk_with(saver, world.tool())
    talk.say("pay")
    before = talk.messages
    assert [m.content for m in before][2:4] == ["paid", "Hm."]
    fork = next(s for s in talk.agent.get_state_history(talk.thread) if s.next == ("tool",))
    talk.model.lines.append(says("again"))
    again = talk.agent.invoke(None, fork.config)
    assert [m.id for m in again["messages"][:4]] == [m.id for m in before[:4]]
    assert world.done == [1]


def test_a_tool_that_pauses_by_itself_runs_when_it_is_answered(saver: HoldfastSaver) -> None:
    done: list[str] = []

    @once
    @tool
    def pay(order_id: int) -> str:
        """Pay, and ask before."""
        word = interrupt("Which account?")
        done.append(word)
        return f"paid from {word}"

    talk = talk_with(saver, pay)
    talk.say("pay")
    assert ledger(saver) == []
    [pause] = talk.agent.get_state(talk.thread).interrupts
    talk.agent.invoke(Command(resume={pause.id: "savings"}), talk.thread)
    assert (done, talk.answers[0].content) == (["savings"], "paid from savings")


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("error", [BadAnswer("of another conversation"), GraphBubbleUp("?"), ParentCommand(Command())])
def test_only_a_pause_of_its_own_releases_a_claim(saver: HoldfastSaver, world: World, error: Exception) -> None:
    """Anything else may have come after the effect."""

    def fail() -> None:
        raise error

    world.behave = fail
    talk = talk_with(saver, needs_approval(world.tool()))
    talk.say("pay")
    [pause] = talk.agent.get_state(talk.thread).interrupts
    talk.answer(pause.id, type="approve")
    assert (world.done, ledger(saver)) == ([1], ["in_doubt"])
    assert asked(talk)["why"] == "error"


def circular() -> Any:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.sweep(every=5)
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    "returned",
    [
        Command(update={"messages": [ToolMessage("paid", tool_call_id="call_0"), ("user", "hi")]}),
        Command(update={"messages": [{"role": "tool", "content": "paid", "tool_call_id": "call_0"}]}),
        Command(update={"messages": ToolMessage("paid", tool_call_id="call_0")}),
        ToolMessage("paid", tool_call_id="another"),
        ToolMessage([{"type": "text", "text": "paid", "more": {(1, 2): 3}}], tool_call_id="call_0"),
        ToolMessage("paid", tool_call_id="call_0", artifact=circular()),
    ],
    ids=["tuple", "dict", "one message", "another id", "odd keys", "circular"],
)
def test_its_effect_has_ended_whatever_it_returns(
    saver: HoldfastSaver, world: World, returned: Any, asynchronous: bool
) -> None:
    world.behave = lambda: returned
    talk = talk_with(saver, world.tool())
    if asynchronous:
        asyncio.run(talk.agent.ainvoke({"messages": [("user", "pay")]}, talk.thread))
    else:
        talk.say("pay")
    assert (world.done, ledger(saver)) == ([1], ["done"])
    assert "paid" in talk.answers[0].text or "was run" in talk.answers[0].text
    assert talk.agent.get_state(talk.thread).next == ()


def test_an_edit_with_values_that_json_does_not_know_runs_and_ends(saver: HoldfastSaver, world: World) -> None:
    talk = talk_with(saver, needs_approval(world.tool()))
    talk.say("pay")
    [pause] = talk.agent.get_state(talk.thread).interrupts
    talk.answer(pause.id, type="edit", edited_action={"name": "pay", "args": {"order_id": Decimal(2)}})
    assert (world.done, ledger(saver)) == ([2], ["done"])


def test_a_run_that_is_cancelled_when_it_has_just_begun_releases_its_claim(
    saver: HoldfastSaver, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, begun, cancelled = effects.Effects.begin, threading.Event(), threading.Event()

    def begin_and_be_cancelled(self: effects.Effects, *given: Any) -> Any:
        found = begin(self, *given)
        begun.set()
        assert cancelled.wait(5)
        return found

    talk = talk_with(saver, world.tool())

    async def cancel() -> None:
        run = asyncio.ensure_future(talk.agent.ainvoke({"messages": [("user", "pay")]}, talk.thread))
        await asyncio.to_thread(begun.wait, 5)
        run.cancel()
        asyncio.get_running_loop().call_soon(cancelled.set)  # when the run has heard of it
        with contextlib.suppress(asyncio.CancelledError):
            await run

    with monkeypatch.context() as patch:
        patch.setattr(effects.Effects, "begin", begin_and_be_cancelled)
        asyncio.run(cancel())
    assert (world.done, ledger(saver)) == ([], [])
    talk.agent.invoke(None, talk.thread)
    assert world.done == [1]
