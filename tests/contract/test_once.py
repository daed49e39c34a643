"""A tool that changes the world, run by the agent: once, whatever becomes of the tool, the run or the process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import BaseTool, ToolException, tool
from langgraph.errors import GraphBubbleUp, ParentCommand
from langgraph.types import Command, RetryPolicy, interrupt

from checkpoints import HoldfastSaver, NotConverted, converting, effects, heartbeat, open_checkpointer
from graph import BadAnswer, IdempotencyKey, build_graph, needs_approval, once, repeatable
from graph.outcomes import EFFECT, LONGEST
from tests.contract import children
from tests.contract.kit import change, rows
from tests.unit.graph_kit import Talk, calls, says


@pytest.fixture
def url(stored_url: str) -> str:
    """Memory does the same as SQLite here."""
    return stored_url


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Owners are taken for gone sooner than people can wait."""
    monkeypatch.setattr(heartbeat, "TTL", 0.3)
    monkeypatch.setattr(heartbeat, "PERIOD", 0.1)
    monkeypatch.setattr(effects, "_COMMITTING", 0.3)


class World:
    """What was done to it, and the keys under which."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.keys: list[str] = []
        self.behave: Callable[[], Any] = lambda: None
        """What the tool does after it has changed the world."""

    def tool(self, **declared: Any) -> BaseTool:
        @once(**declared)
        @tool
        def pay(order_id: int, key: IdempotencyKey) -> Any:
            """Pay."""
            self.done.append(order_id)
            self.keys.append(key)
            return self.behave() or f"order {order_id} is paid"

        return pay


@pytest.fixture
def world() -> World:
    return World()


def talk_with(saver: HoldfastSaver, *tools: BaseTool, lines: int = 1) -> Talk:
    asked = [calls(("pay", {"order_id": number})) for number in range(1, lines + 1)]
    said = [line for call in asked for line in (call, says("so be it"))]
    return Talk(saver, *said, tools=tools)


def ledger(saver: HoldfastSaver) -> list[str]:
    return [state for (state,) in rows(saver, "SELECT state FROM holdfast_effects ORDER BY started_at")]


def asked(talk: Talk) -> dict[str, Any]:
    [pause] = talk.agent.get_state(talk.thread).interrupts
    return dict(pause.value)


def settle(talk: Talk, **answer: Any) -> ToolMessage:
    [pause] = talk.agent.get_state(talk.thread).interrupts
    talk.answer(pause.id, **answer)
    return talk.answers[-1]


def crash() -> None:
    raise KeyboardInterrupt


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


@pytest.mark.parametrize("answer", ["run_again", "happened", "skip"])
def test_when_its_run_was_cut_off_in_the_middle_a_person_is_asked(
    saver: HoldfastSaver, world: World, answer: str
) -> None:
    world.behave = crash
    talk = talk_with(saver, world.tool())
    with pytest.raises(KeyboardInterrupt):
        talk.say("pay")
    world.behave = lambda: None
    talk.agent.invoke(None, talk.thread)
    assert world.done == [1], "nobody knows, so it was not run again"
    assert talk.answers[0].additional_kwargs[EFFECT] == {"state": "in_doubt", "why": "cancelled"}
    question = asked(talk)
    assert (question["type"], question["name"], question["args"]) == ("effect_in_doubt", "pay", {"order_id": 1})
    assert "pay(order_id=1)" in question["description"]

    given = {"type": answer, "by": "grace", **({"result": "paid, says the bank"} if answer == "happened" else {})}
    told = settle(talk, **given)
    assert told.id == talk.answers[0].id
    assert len(talk.answers) == 1
    assert told.additional_kwargs[EFFECT]["state"] == "settled" if answer != "run_again" else EFFECT
    assert {
        "run_again": (told.content, world.done, ledger(saver)) == ("order 1 is paid", [1, 1], ["done"]),
        "happened": (told.content, world.done, ledger(saver)) == ("paid, says the bank", [1], ["done"]),
        "skip": "decided to leave" in str(told.content) and (world.done, ledger(saver)) == ([1], ["skipped"]),
    }[answer]
    assert len(set(world.keys)) == 1, "the service is told the same key"
    assert talk.messages[-1].content == "so be it"


def test_a_wrong_decision_about_a_doubt_is_refused_and_it_still_waits(saver: HoldfastSaver, world: World) -> None:
    world.behave = lambda: 1 / 0
    talk = talk_with(saver, world.tool())
    talk.say("pay")
    [pause] = talk.agent.get_state(talk.thread).interrupts
    with pytest.raises(BadAnswer, match="run_again"):
        talk.answer(pause.id, type="approve")
    assert asked(talk)["why"] == "error"
    settle(talk, type="skip")


def test_run_again_that_fails_again_is_asked_about_again(saver: HoldfastSaver, world: World) -> None:
    world.behave = lambda: 1 / 0
    talk = talk_with(saver, world.tool())
    talk.say("pay")
    first = asked(talk)
    settle(talk, type="run_again")
    assert asked(talk) != {**first, "type": "other"}
    assert world.done == [1, 1]
    world.behave = crash
    with pytest.raises(KeyboardInterrupt):
        settle(talk, type="run_again")
    world.behave = lambda: None
    talk.agent.invoke(None, talk.thread)
    assert world.done == [1, 1, 1], "the answer that was given before it was cut off does not count once more"
    assert settle(talk, type="run_again").content == "order 1 is paid"


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


@pytest.mark.parametrize("declare", [once, repeatable])
def test_an_error_that_cannot_be_said_or_pickled_is_named(saver: HoldfastSaver, world: World, declare: Any) -> None:
    def fail() -> None:
        raise Unspeakable

    world.behave = fail
    talk = talk_with(saver, declare(world.tool()))
    talk.say("pay")
    assert "Unspeakable" in talk.answers[0].content


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


def test_what_langgraph_retries_runs_once(saver: HoldfastSaver, world: World) -> None:
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


def test_other_arguments_on_a_fork_are_asked_about(saver: HoldfastSaver, world: World) -> None:
    talk = talk_with(saver, needs_approval(world.tool()))
    talk.say("pay")
    paused = talk.agent.get_state(talk.thread).config
    [pause] = talk.agent.get_state(talk.thread).interrupts
    talk.answer(pause.id, type="approve")
    talk.model.lines += [says("as you like")] * 2
    talk.agent.invoke(None, talk.agent.update_state(paused, {"messages": []}, as_node="model"))
    [again] = talk.agent.get_state(talk.thread).interrupts
    talk.answer(again.id, type="edit", edited_action={"name": "pay", "args": {"order_id": 2}})
    assert asked(talk)["why"] == "arguments"
    assert settle(talk, type="run_again").content.endswith("order 2 is paid")
    assert world.done == [1, 2]
    assert len(set(world.keys)) == 2


def test_a_new_message_reads_that_nobody_knows_and_the_ledger_goes_on_saying_so(
    saver: HoldfastSaver, world: World
) -> None:
    world.behave = lambda: 1 / 0
    talk = Talk(saver, calls(("pay", {"order_id": 1})), says("I see"), tools=[world.tool()])
    talk.say("pay")
    result = talk.say("never mind")
    assert result["messages"][-1].content == "I see"
    assert "It is not known whether pay took effect" in talk.answers[0].content
    assert [entry.tool for entry in saver.effects.in_doubt()] == ["pay"]


def test_a_doubt_beside_a_call_that_waits_is_asked_about_after_a_new_message(
    saver: HoldfastSaver, world: World
) -> None:
    @needs_approval
    @tool
    def refund(order_id: int) -> str:
        """Refund."""
        return "refunded"

    world.behave = lambda: 1 / 0
    both = calls(("pay", {"order_id": 1}), ("refund", {"order_id": 2}))
    talk = Talk(saver, both, says("I see"), tools=[world.tool(), refund])
    talk.say("both")
    talk.say("never mind")
    assert asked(talk)["name"] == "pay", "the step was dropped before anybody was asked"
    settle(talk, type="happened", result="paid")
    assert [answer.text[:7] for answer in talk.answers] == ["paid", "Not run"]
    assert talk.kinds == "hattha"


@pytest.mark.parametrize("outcome", ["done", "in doubt", "never begun"])
def test_after_a_crash_a_new_message_is_told_what_the_ledger_knows(
    saver: HoldfastSaver, world: World, outcome: str
) -> None:
    """The process died in the tool's step, and then somebody says something new."""
    world.behave = crash
    talk = Talk(saver, calls(("pay", {"order_id": 1})), says("I see"), tools=[world.tool()])
    with pytest.raises(KeyboardInterrupt):
        talk.say("pay")
    if outcome == "done":
        started = effects.Started("ada-1", *rows(saver, "SELECT effect_key, attempt, owner FROM holdfast_effects")[0])
        saver.effects.finish(started, {"messages": [ToolMessage("paid", tool_call_id="call_0", id="m")]})
    if outcome == "never begun":
        change(saver, "DELETE FROM holdfast_effects")
    talk.say("and now?")
    if outcome == "in doubt":
        assert talk.kinds == "hath"
        assert settle(talk, type="happened", result="paid").content == "paid"
    assert talk.kinds == "hatha"
    assert "Not run" in talk.answers[0].content if outcome == "never begun" else talk.answers[0].content == "paid"
    assert world.done == [1]


def test_what_was_approved_and_not_carried_out_is_not_said_to_have_waited(saver: HoldfastSaver, world: World) -> None:
    talk = Talk(saver, calls(("pay", {"order_id": 1})), says("I see"), tools=[needs_approval(world.tool())])
    talk.say("pay")
    [waiting] = saver.interrupts.waiting()
    saver.interrupts.answer("ada-1", waiting.interrupt_id, {"type": "approve"}, by="Grace")
    talk.say("never mind")  # not through a conversation, which would carry it out first
    assert "a person had decided about this call" in talk.answers[0].content
    assert world.done == []


def test_a_database_is_not_given_back_while_something_is_in_doubt(shared_url: str, world: World) -> None:
    world.behave = lambda: 1 / 0
    with open_checkpointer(shared_url) as saver:
        talk = talk_with(saver, world.tool())
        talk.say("pay")
        assert converting.expand(saver.store, "ada-1").problem is None
        with pytest.raises(NotConverted, match="nobody said what came of it"):
            converting.drop(saver.store)
        settle(talk, type="skip")
        assert converting.expand(saver.store, "ada-1").problem is None
        converting.drop(saver.store)


@pytest.mark.parametrize("error", [BadAnswer("of another conversation"), GraphBubbleUp("?"), ParentCommand(Command())])
def test_only_a_pause_of_its_own_takes_a_claim_back(saver: HoldfastSaver, world: World, error: Exception) -> None:
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
def test_whatever_it_returns_it_has_ended(
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


def test_a_run_that_is_cancelled_when_it_has_just_begun_gives_it_back(
    saver: HoldfastSaver, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, begun = effects.Effects.begin, threading.Event()

    def begin_and_be_cancelled(self: effects.Effects, *given: Any) -> Any:
        found = begin(self, *given)
        begun.set()
        time.sleep(0.1)  # the run is cancelled in this moment
        return found

    talk = talk_with(saver, world.tool())

    async def cancel() -> None:
        run = asyncio.ensure_future(talk.agent.ainvoke({"messages": [("user", "pay")]}, talk.thread))
        await asyncio.to_thread(begun.wait, 5)
        run.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await run

    with monkeypatch.context() as patch:
        patch.setattr(effects.Effects, "begin", begin_and_be_cancelled)
        asyncio.run(cancel())
    assert (world.done, ledger(saver)) == ([], [])
    talk.agent.invoke(None, talk.thread)
    assert world.done == [1]


def test_a_doubt_that_was_left_is_asked_about_when_the_next_turn_ends(saver: HoldfastSaver, world: World) -> None:
    world.behave = lambda: 1 / 0
    talk = Talk(saver, calls(("pay", {"order_id": 1})), says("I see"), says("I see again"), tools=[world.tool()])
    talk.say("pay")
    talk.say("never mind")
    assert talk.messages[-1].content == "I see"
    assert settle(talk, type="happened", result="paid").text == "paid"
    assert talk.kinds == "hatha", "the model has had its word"
    assert talk.messages[2].content == "paid"
    talk.say("and now?")
    assert talk.messages[-1].content == "I see again"


def test_a_tool_that_is_gone_cannot_be_run_again_and_all_else_can_be_decided(
    saver: HoldfastSaver, world: World
) -> None:
    world.behave = lambda: 1 / 0
    talk = talk_with(saver, world.tool())
    talk.say("pay")
    talk.agent = build_graph(model=talk.model, tools=[], checkpointer=saver)
    told = settle(talk, type="run_again")
    assert "there is no tool 'pay' any more" in told.content
    assert world.done == [1]


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


def test_a_process_that_is_killed_just_after_the_effect_leaves_a_question(shared_url: str, tmp_path: Path) -> None:
    """LangGraph alone runs it twice."""
    path = tmp_path / "world"
    assert children.run(run_until_killed, shared_url, str(path)) == -9
    with open_checkpointer(shared_url) as saver:
        change(saver, "UPDATE holdfast_effects SET alive_until = alive_until - 15")  # the child had its time

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


def test_without_a_ledger_it_runs_as_it_stands(world: World) -> None:
    from langgraph.checkpoint.memory import InMemorySaver

    talk = Talk(InMemorySaver(), calls(("pay", {"order_id": 1})), says("done"), tools=[world.tool()])
    talk.say("pay")
    assert talk.answers[0].content == "order 1 is paid"


def test_what_is_declared_wrongly_is_refused() -> None:
    with pytest.raises(TypeError, match="above @tool"):
        once(print)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="above 0"):
        once(timeout=0)
