"""A conversation as an application uses it: send messages, see the calls that wait, decide about them."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import TypeAdapter

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.errors import ThreadBusy
from holdfast.graph import (
    BadAnswer,
    Conversation,
    Done,
    NothingWaits,
    Paused,
    Reply,
    Token,
    ToolAnswered,
    ToolCalled,
    build_graph,
    needs_approval,
)
from holdfast.graph.shop import Shop, shop_tools
from tests.support.graph_kit import ScriptedModel, calls

ASKED = "My name is Ada. Please refund order 1001."


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return tmp_path / "shop.db"


@pytest.fixture
def ada(saver: HoldfastSaver, shop: Path) -> Conversation:
    return Conversation(build_graph(tools=shop_tools(shop), checkpointer=saver), "ada-1", "ada")


def refunds(shop: Path) -> int:
    return Shop(shop).count("refunds")


def test_a_turn_ends_with_an_answer_or_with_a_call_that_waits(ada: Conversation, shop: Path) -> None:
    first = ada.send(ASKED)
    assert [(p.name, p.args) for p in first.pending] == [("refund_order", {"order_id": 1001})]
    assert refunds(shop) == 0

    second = ada.approve(by="Grace")
    assert second.pending == ada.pending() == []
    assert "refunded" in second.text
    assert refunds(shop) == 1
    [decided] = [m for m in ada.history() if isinstance(m, ToolMessage) and m.name == "refund_order"]
    assert decided.additional_kwargs["approval"]["by"] == "Grace"

    assert "Ada" in ada.send("What is my name?").text


async def test_the_same_on_an_event_loop(ada: Conversation, shop: Path) -> None:
    first = await ada.asend(ASKED)
    assert first.pending == await ada.apending()
    assert "refunded" in (await ada.aapprove(by="Grace")).text
    assert refunds(shop) == 1
    assert "Ada" in (await ada.asend("What is my name?")).text
    assert len(await ada.ahistory()) == len(ada.history())


@pytest.mark.sweep(every=2)
@pytest.mark.sweep(on="postgres")
@pytest.mark.parametrize(
    ("decide", "args", "count"),
    [("approve", (), 1), ("edit", ({"order_id": 1002},), 1), ("reject", ("Too late.",), 0), ("respond", ("Done.",), 0)],
)
async def test_each_decision_does_what_it_says(
    ada: Conversation, shop: Path, decide: str, args: tuple[Any, ...], count: int
) -> None:
    await ada.asend(ASKED)
    await getattr(ada, f"a{decide}")(*args, by="Grace")
    assert refunds(shop) == count

    ada.send("Please refund order 1003.")
    getattr(ada, decide)(*({"order_id": 1004},) if decide == "edit" else args)
    assert refunds(shop) == 2 * count


def test_a_second_answer_finds_nothing_that_waits(ada: Conversation, shop: Path) -> None:
    [waiting] = ada.send(ASKED).pending
    ada.approve(waiting.interrupt_id, by="Grace")
    with pytest.raises(NothingWaits, match=r"Grace has answered this already with 'approve', at 20.* UTC"):
        ada.approve(waiting.interrupt_id)
    with pytest.raises(NothingWaits, match="answered or closed already, or never was"):
        ada.approve("no such id")
    with pytest.raises(NothingWaits, match="Nothing waits now"):
        ada.reject()
    assert refunds(shop) == 1


def test_a_double_click_in_two_places_refunds_once(ada: Conversation, shop: Path) -> None:
    [waiting] = ada.send(ASKED).pending
    gate = threading.Barrier(2, timeout=20)

    def click(_: int) -> str:
        gate.wait()
        try:
            ada.approve(waiting.interrupt_id)
        except NothingWaits:
            return "told"
        return "done"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(click, range(2))) == ["done", "told"]
    assert refunds(shop) == 1


def test_an_answer_that_does_not_say_which_call_is_meant_is_refused_with_the_choices(saver: HoldfastSaver) -> None:
    calls = [{"name": "send_mail", "args": {"to": to, "text": "Hi"}, "id": to} for to in ("ada", "bob")]
    model = ScriptedModel(lines=[AIMessage("", tool_calls=calls), AIMessage("Both are done.")])
    talk = Conversation(build_graph(model=model, checkpointer=saver, tools=[mail()]), "t")
    first, second = talk.send("Write to both.").pending
    with pytest.raises(NothingWaits, match=f"{first.interrupt_id}.*{second.interrupt_id}"):
        talk.approve()
    assert [p.args["to"] for p in talk.approve(second.interrupt_id).pending] == ["ada"]
    assert talk.approve().text == "Both are done."


def mail() -> Any:
    from langchain_core.tools import tool

    from holdfast.graph import needs_approval

    @needs_approval(decisions=("approve", "edit"))
    @tool
    def send_mail(to: str, text: str) -> str:
        """Send a mail."""
        return f"Sent to {to}: {text}"

    return send_mail


def test_an_edit_that_does_not_fit_is_an_error_and_the_call_still_waits(ada: Conversation, shop: Path) -> None:
    ada.send(ASKED)
    with pytest.raises(BadAnswer, match="order_id"):
        ada.edit({"order_id": "the blue one"})
    assert len(ada.pending()) == 1
    ada.edit({"order_id": 1002})
    assert refunds(shop) == 1


def test_a_stream_yields_pieces_of_text_calls_answers_and_pauses(ada: Conversation) -> None:
    seen = list(ada.stream(ASKED))
    assert [type(event) for event in seen if not isinstance(event, Token)][:2] == [ToolCalled, ToolAnswered]
    *_, paused, done = seen
    assert isinstance(paused, Paused)
    assert paused.pending == ada.pending()[0]
    assert isinstance(done, Done)
    assert done.reply.pending == [paused.pending]
    assert "".join(event.text for event in seen if isinstance(event, Token)).endswith(done.text or "nothing")


def test_the_end_of_a_stream_has_the_reply_that_send_returns_and_its_text_in_json(ada: Conversation) -> None:
    ada.send(ASKED)
    *_, done = ada.stream_answer({"type": "approve"})
    assert isinstance(done, Done)
    assert (type(done.reply), done.reply.pending) == (Reply, [])
    assert TypeAdapter(Done).dump_python(done, mode="json")["reply"]["text"] == done.text != ""


async def test_a_stream_on_an_event_loop_yields_the_same(ada: Conversation) -> None:
    seen = [event async for event in ada.astream(ASKED)]
    assert {type(event) for event in seen} == {Token, ToolCalled, ToolAnswered, Paused, Done}
    assert isinstance(seen[-1], Done)


def test_a_stream_that_is_left_early_releases_the_lease(ada: Conversation) -> None:
    stream = ada.stream(ASKED)
    next(stream)
    stream.close()
    assert ada.send("What is my name?").text


@pytest.mark.sweep(every=4)
@pytest.mark.parametrize(
    ("answer", "count", "said"),
    [
        ({"type": "approve"}, 1, "Order 1001 is refunded"),
        ({"type": "edit", "edited_action": {"args": {"order_id": 1002}}}, 1, "Order 1002 is refunded"),
        ({"type": "reject", "message": "Too late."}, 0, "Too late."),
        ({"type": "respond", "message": "It is done."}, 0, "It is done."),
    ],
)
async def test_the_run_after_an_answer_can_be_streamed(
    ada: Conversation, shop: Path, answer: dict[str, Any], count: int, said: str
) -> None:
    ada.send(ASKED)
    seen = list(ada.stream_answer(answer, by="Grace"))
    assert refunds(shop) == count
    assert isinstance(seen[0], ToolAnswered)
    assert said in seen[0].text
    assert {type(event) for event in seen[1:-1]} <= {Token, ToolCalled, ToolAnswered}
    assert isinstance(seen[-1], Done)

    ada.send("Please list my orders. Refund order 1003.")
    [waiting] = ada.pending()
    seen = [event async for event in ada.astream_answer({"type": "approve"}, waiting.interrupt_id)]
    assert refunds(shop) == count + 1
    with pytest.raises(NothingWaits):
        list(ada.stream_answer({"type": "approve"}, waiting.interrupt_id))


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("answer", [{}, {"type": "edit"}, {"type": "edit", "edited_action": {"args": {"n": 1}}}])
async def test_a_bad_answer_that_is_streamed_is_refused_and_the_call_still_waits(
    ada: Conversation, answer: dict[str, Any]
) -> None:
    ada.send(ASKED)
    with pytest.raises(BadAnswer):
        list(ada.stream_answer(answer))
    with pytest.raises(BadAnswer):
        [event async for event in ada.astream_answer(answer)]
    assert len(ada.pending()) == 1


class Flaky(ScriptedModel):
    """A model that fails some times, then says its lines."""

    failures: int = 1

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the endpoint is away")
        return super()._generate(*args, **kwargs)


async def test_a_retry_can_be_streamed(saver: HoldfastSaver) -> None:
    model = Flaky(lines=[AIMessage("Here I am.")], failures=2)
    talk = Conversation(build_graph(model=model, tools=[], checkpointer=saver), "t")
    for attempt in (lambda: list(talk.stream("Hello?")), lambda: list(talk.stream_retry())):
        with pytest.raises(ConnectionError):
            attempt()
    _ = [event async for event in talk.astream_retry()]
    assert [m.text for m in talk.history()] == ["Hello?", "Here I am."]
    with pytest.raises(NothingWaits):
        list(talk.stream_retry())


async def test_after_a_failure_the_message_is_there_and_retry_goes_on(saver: HoldfastSaver) -> None:
    model = Flaky(lines=[AIMessage("Here I am."), AIMessage("Still here.")], failures=2)
    talk = Conversation(build_graph(model=model, tools=[], checkpointer=saver), "t")
    with pytest.raises(ConnectionError):
        talk.send("Hello?")
    assert [m.text for m in talk.history()] == ["Hello?"]
    with pytest.raises(ConnectionError):
        await talk.aretry()
    assert talk.retry().text == "Here I am."
    with pytest.raises(NothingWaits, match="the last turn has ended"):
        talk.retry()
    with pytest.raises(NothingWaits, match="the last turn has ended"):
        await talk.aretry()
    assert talk.send("And now?").text == "Still here."
    assert [m.text for m in talk.history() if isinstance(m, HumanMessage)] == ["Hello?", "And now?"]


def test_a_thread_whose_lease_another_writer_holds_is_busy_and_nothing_is_saved(saver: HoldfastSaver) -> None:
    talk = Conversation(build_graph(checkpointer=saver), "t", wait=0)
    with saver.lease("t", owner="Grace"), pytest.raises(ThreadBusy, match="Grace"):
        talk.send("Hello")
    assert talk.history() == []


async def test_a_cancelled_wait_for_a_thread_leaves_no_lease_behind(saver: HoldfastSaver) -> None:
    talk = Conversation(build_graph(checkpointer=saver), "t")
    with saver.lease("t"):
        waiting = asyncio.ensure_future(talk.asend("Hello"))
        while len(_lease_queue(saver)) < 2:  # noqa: ASYNC110 - it is another thread that waits
            await asyncio.sleep(0.01)  # and sends no event
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert _lease_queue(saver) == []
    assert (await talk.asend("Hello")).text


def _lease_queue(saver: HoldfastSaver) -> list[tuple[Any, ...]]:
    from tests.support.kit import rows

    return rows(saver, "SELECT ticket FROM holdfast_leases")


def test_two_replicas_take_turns_and_lose_nothing(url: str) -> None:
    with ExitStack() as stack:
        savers = [stack.enter_context(open_checkpointer(url)) for _ in range(4)]
        replicas = [Conversation(build_graph(checkpointer=saver), "t") for saver in savers]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: replicas[number].send(f"word {number}"), range(4)))
        history = replicas[0].history()
    assert sorted(m.text for m in history if isinstance(m, HumanMessage)) == [f"word {n}" for n in range(4)]


def test_an_agent_without_a_checkpointer_has_no_conversations() -> None:
    with pytest.raises(ValueError, match="checkpointer"):
        Conversation(build_graph(), "t")


async def test_a_step_whose_checkpoint_was_not_made_can_be_retried(saver: HoldfastSaver) -> None:
    def look(order_id: int) -> str:
        """Look an order up."""
        return f"order {order_id} exists"

    model = ScriptedModel(lines=[calls(("look", {"order_id": 1})), AIMessage("It exists.")])
    ada = Conversation(build_graph(model=model, tools=[look], checkpointer=saver), "ada-1")
    put = saver.put

    def die_after_the_tool(config: Any, checkpoint: Any, metadata: Any, versions: Any) -> Any:
        if metadata["step"] == 2:
            raise OSError("the disk is gone")
        return put(config, checkpoint, metadata, versions)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saver, "put", die_after_the_tool)
        with pytest.raises(OSError, match="the disk is gone"):
            ada.send("Is there an order 1?")

    assert ada.retry().text == "It exists."
    assert len(ada.history()) == 4
    with pytest.raises(NothingWaits, match="the last turn has ended"):
        ada.retry()


def test_a_stream_yields_the_text_of_the_agent_and_not_of_a_model_in_a_tool(saver: HoldfastSaver) -> None:
    inner = ScriptedModel(lines=[AIMessage("secret thoughts")])

    def think() -> str:
        """Think."""
        return f"thought of {len(inner.invoke('think').text)} letters"

    model = ScriptedModel(lines=[calls(("think", {})), AIMessage("Done.")])
    ada = Conversation(build_graph(model=model, tools=[think], checkpointer=saver), "ada-1")
    said = list(ada.stream("Think!"))
    assert [event.text for event in said if isinstance(event, Token)] == ["Done."], "also of a model that never streams"
    assert [event.text for event in said if isinstance(event, ToolAnswered)] == ["thought of 15 letters"]


@pytest.mark.sweep
async def test_many_callers_that_wait_for_one_thread_do_not_delay_callers_of_another(saver: HoldfastSaver) -> None:
    ada, alan = (Conversation(build_graph(checkpointer=saver), name) for name in ("ada-1", "alan-1"))
    crowd = (os.cpu_count() or 1) + 6  # more than an event loop has threads
    with saver.lease("ada-1"):
        waiting = [asyncio.ensure_future(ada.asend(f"message {number}")) for number in range(crowd)]
        await asyncio.sleep(0.1)  # time for them to enter the queue
        await asyncio.wait_for(alan.asend("Hello"), 10)
        assert not any(turn.done() for turn in waiting)
    await asyncio.wait_for(asyncio.gather(*waiting), 50)
    assert len([m for m in await ada.ahistory() if isinstance(m, HumanMessage)]) == crowd


async def test_a_stream_yields_each_result_once_however_the_calls_are_answered(saver: HoldfastSaver) -> None:
    @needs_approval()
    @tool
    def act(number: int) -> str:
        """Act."""
        return f"acted on {number}"

    wanted = calls(*(("act", {"number": number}) for number in range(3)))
    model = ScriptedModel(lines=[wanted, AIMessage("Done.")])
    ada = Conversation(build_graph(model=model, tools=[act], checkpointer=saver), "ada-1")
    ada.send("Act!")
    told = []
    for call in reversed(ada.pending()):
        answer = {"type": "approve"}
        seen = [event async for event in ada.astream_answer(answer, call.interrupt_id)]
        told.append([event.text for event in seen if isinstance(event, ToolAnswered)])
    assert told == [["acted on 2"], ["acted on 1"], ["acted on 0"]]


async def test_an_answer_that_is_no_dict_is_refused(ada: Conversation) -> None:
    ada.send(ASKED)
    for answer in (None, "yes", ["approve"], {}):
        with pytest.raises(BadAnswer):
            list(ada.stream_answer(answer))  # type: ignore[arg-type]
    assert len(ada.pending()) == 1
