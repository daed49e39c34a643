"""The server's worker starts a run that carries out what is on record."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import Conversation, HoldfastSaver, open_checkpointer
from holdfast.server.langgraph import registry, runtime
from holdfast.server.langgraph.worker import ServerWorker
from tests.support.kept_kit import in_file

THREAD = "3f1f8a52-5a0e-4c5e-8f0a-0b3a5a2f9d11"
APPROVE = {"type": "approve"}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The runs that were started."""
    started: list[Any] = []

    async def begin(thread_id: str, graph_id: str, **command: Any) -> None:
        started.append((thread_id, graph_id, command))

    async def restore(_: str) -> None:
        pass

    monkeypatch.setattr(runtime, "begin_run", begin)
    monkeypatch.setattr(registry, "restore", restore)
    monkeypatch.setattr(registry, "metadata_of", lambda _: {"graph_id": "agent"})
    return started


def asked(saver: HoldfastSaver, effects: str) -> tuple[Conversation, str]:
    ada = in_file(saver, effects, THREAD)
    [request] = ada.send("Refund order 1").pending
    return ada, request.interrupt_id


async def test_a_pause_is_resumed_with_its_answer_once(runs: list[Any], tmp_path: Any) -> None:
    async with open_checkpointer("memory://") as saver:
        _, interrupt_id = asked(saver, str(tmp_path / "effects"))
        saver.interrupts.answer(THREAD, interrupt_id, APPROVE)
        worker = ServerWorker(saver)
        assert (await worker.arun_once()).carried_out == [THREAD]
        assert (await worker.arun_once()).carried_out == []
    assert runs == [(THREAD, "agent", {"command": {"resume": {interrupt_id: APPROVE}}})]


async def test_a_turn_that_stopped_while_a_request_was_kept_goes_on_without_an_input(
    runs: list[Any], tmp_path: Any
) -> None:
    async with open_checkpointer("memory://") as saver:
        _, interrupt_id = asked(saver, str(tmp_path / "effects"))
        saver.interrupts.hold(THREAD, keep=[interrupt_id])
        saver.interrupts.answer(THREAD, interrupt_id, APPROVE)
        await ServerWorker(saver).arun_once()
    assert runs == [(THREAD, "agent", {"input": None})]


async def test_a_thread_that_the_server_cannot_have_is_left(runs: list[Any], tmp_path: Any) -> None:
    async with open_checkpointer("memory://") as saver:
        [request] = in_file(saver, str(tmp_path / "effects"), "ada-1").send("Refund order 1").pending
        saver.interrupts.answer("ada-1", request.interrupt_id, APPROVE)
        assert (await ServerWorker(saver).arun_once()).left == {"ada-1": "the server takes UUIDs only"}
    assert runs == []
