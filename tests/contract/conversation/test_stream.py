"""A pause that a stream yields can be answered inside the loop over the stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.checkpoints import HoldfastSaver
from holdfast.graph import Conversation, Event, Paused, build_graph
from holdfast.graph.shop import Shop, shop_tools

ASKED = "Please refund order 1001. Please refund order 1002."
APPROVE = {"type": "approve"}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return tmp_path / "shop.db"


@pytest.fixture
def ada(saver: HoldfastSaver, shop: Path) -> Conversation:
    agent = build_graph(tools=shop_tools(shop), checkpointer=saver)
    return Conversation(agent, "ada-1", "ada", wait=0.1)  # a stream that keeps the thread's lease fails fast


def refunds(shop: Path) -> int:
    return Shop(shop).count("refunds")


def approve_each(ada: Conversation, events: Iterator[Event]) -> None:
    for event in events:
        if isinstance(event, Paused):
            ada.approve(event.pending.interrupt_id)


async def aapprove_each(ada: Conversation, events: AsyncIterator[Event]) -> None:
    async for event in events:
        if isinstance(event, Paused):
            await ada.aapprove(event.pending.interrupt_id)


@pytest.mark.sweep(on="postgres")
def test_each_pause_of_a_stream_is_approved_inside_the_loop(ada: Conversation, shop: Path) -> None:
    approve_each(ada, ada.stream(ASKED))
    assert (refunds(shop), ada.pending()) == (2, [])


async def test_each_pause_of_an_asynchronous_stream_is_approved_inside_the_loop(ada: Conversation, shop: Path) -> None:
    await aapprove_each(ada, ada.astream(ASKED))
    assert (refunds(shop), ada.pending()) == (2, [])


@pytest.mark.sweep
def test_a_pause_that_follows_an_answer_is_approved_inside_the_loop(ada: Conversation, shop: Path) -> None:
    first, _ = ada.send(ASKED).pending
    approve_each(ada, ada.stream_answer(APPROVE, first.interrupt_id))
    assert (refunds(shop), ada.pending()) == (2, [])


async def test_a_pause_that_follows_an_answer_on_an_event_loop_is_approved_inside_the_loop(
    ada: Conversation, shop: Path
) -> None:
    first, _ = ada.send(ASKED).pending
    await aapprove_each(ada, ada.astream_answer(APPROVE, first.interrupt_id))
    assert (refunds(shop), ada.pending()) == (2, [])


@pytest.fixture
def fail_once(ada: Conversation, saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Leave a turn unfinished that will pause: the checkpoint of its first step cannot be saved."""

    def fail() -> None:
        put = saver.put

        def refuse_the_first_step(config: Any, checkpoint: Any, metadata: Any, versions: Any) -> Any:
            if metadata["step"] == 1:
                raise OSError("the disk is gone")
            return put(config, checkpoint, metadata, versions)

        with monkeypatch.context() as patch:
            patch.setattr(saver, "put", refuse_the_first_step)
            with pytest.raises(OSError, match="the disk is gone"):
                ada.send(ASKED)

    return fail


def test_a_pause_of_a_retried_stream_is_approved_inside_the_loop(
    ada: Conversation, shop: Path, fail_once: Callable[[], None]
) -> None:
    fail_once()
    approve_each(ada, ada.stream_retry())
    assert (refunds(shop), ada.pending()) == (2, [])


@pytest.mark.sweep
async def test_a_pause_of_an_asynchronous_retried_stream_is_approved_inside_the_loop(
    ada: Conversation, shop: Path, fail_once: Callable[[], None]
) -> None:
    fail_once()
    await aapprove_each(ada, ada.astream_retry())
    assert (refunds(shop), ada.pending()) == (2, [])
