"""A turn whose client has gone away is finished in the background."""

from __future__ import annotations

import asyncio
from threading import Event
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from holdfast.background import BackgroundTurns
from holdfast.checkpoints import HoldfastSaver
from holdfast.graph import Conversation, Done, Token, ToolCalled, build_graph
from tests.support.graph_kit import ScriptedModel, calls, says


class Slow:
    """A conversation with a tool that waits until it may go on."""

    def __init__(self, saver: HoldfastSaver) -> None:
        self.may_go_on = Event()

        def look() -> str:
            """Look."""
            assert self.may_go_on.wait(60)
            return "seen"

        model = ScriptedModel(lines=[calls(("look", {})), says("It is there."), says("No.")])
        self.ada = Conversation(build_graph(model=model, tools=[look], checkpointer=saver), "ada-1")


@pytest.fixture
def slow(saver: HoldfastSaver) -> Slow:
    return Slow(saver)


def test_a_turn_whose_reader_has_left_is_finished_before_stop_returns(slow: Slow) -> None:
    with BackgroundTurns() as turns:
        events = turns.stream(slow.ada.stream("Look."))
        assert isinstance(next(events), ToolCalled)
        del events
        assert not turns.stop(wait=0)
        slow.may_go_on.set()
    assert slow.ada.history()[-1].text == "It is there."
    with pytest.raises(RuntimeError, match="stopped"):
        turns.stream(slow.ada.stream("Look."))


async def test_a_task_whose_request_was_cancelled_is_finished_before_stop_returns(slow: Slow) -> None:
    async with BackgroundTurns() as turns:
        begun = asyncio.Event()

        async def request() -> None:
            async for _ in turns.astream(slow.ada.astream("Look.")):
                begun.set()

        task = asyncio.create_task(request())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        slow.may_go_on.set()
    assert (await slow.ada.ahistory())[-1].text == "It is there."
    with pytest.raises(RuntimeError, match="stopped"):
        turns.astream(slow.ada.astream("Look."))


async def test_who_reads_to_the_end_gets_the_events_of_the_turn(slow: Slow) -> None:
    slow.may_go_on.set()
    async with BackgroundTurns() as turns:
        seen = [event async for event in turns.astream(slow.ada.astream("Look."))]
    assert [type(event) for event in seen[-2:]] == [Token, Done]
    with BackgroundTurns() as turns:
        assert [type(event) for event in turns.stream(slow.ada.stream("And?"))][-1] is Done


class Away(ScriptedModel):
    """A model that cannot be reached."""

    def line(self, messages: Any) -> AIMessage:
        raise ConnectionError("The model is away.")


@pytest.mark.sweep
async def test_the_error_of_a_turn_is_raised_where_it_is_read_and_logged(
    saver: HoldfastSaver, caplog: pytest.LogCaptureFixture
) -> None:
    ada = Conversation(build_graph(model=Away(lines=[]), tools=[], checkpointer=saver), "ada-1")
    with BackgroundTurns() as turns, pytest.raises(ConnectionError, match="away"):
        list(turns.stream(ada.stream("Hello")))
    async with BackgroundTurns() as turns:
        with pytest.raises(ConnectionError, match="away"):
            _ = [event async for event in turns.astream(ada.astream("Hello"))]
        turns.astream(ada.astream("Hello"))  # read by no one
    assert caplog.text.count("A turn in the background failed: ConnectionError in step 'model'") == 3


async def test_a_turn_that_is_too_long_for_the_stop_is_cancelled_and_retry_goes_on(saver: HoldfastSaver) -> None:
    begun = asyncio.Event()

    async def look() -> str:
        """Look."""
        if not begun.is_set():
            begun.set()
            await asyncio.Event().wait()
        return "seen"

    model = ScriptedModel(lines=[calls(("look", {})), says("It is there.")])
    ada = Conversation(build_graph(model=model, tools=[look], checkpointer=saver), "ada-1")
    turns = BackgroundTurns()
    turns.astream(ada.astream("Look."))
    await begun.wait()
    assert not await turns.astop(wait=0)
    assert (await ada.aretry()).text == "It is there."
    assert await turns.astop()
