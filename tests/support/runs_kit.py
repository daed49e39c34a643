"""An agent that books something once, and processes that carry out its accepted turns and may be killed."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatResult
from langchain_core.tools import tool
from pydantic import PrivateAttr

from holdfast.checkpoints import HoldfastSaver, Run, open_checkpointer
from holdfast.graph import Conversation, build_graph, once
from holdfast.graph.conversation.agents import AnyAgent
from holdfast.worker import TurnListener, TurnWorker, Worker
from tests.support.children import DieBeforeCommit
from tests.support.graph_kit import ScriptedModel, StrictModel, calls, says
from tests.support.kit import change


class Booking(StrictModel):
    """Books for each message, and says so."""

    def line(self, messages: list[BaseMessage]) -> AIMessage:
        if isinstance(messages[-1], HumanMessage):
            return calls(("book", {"what": messages[-1].text}))
        return says("booked")


def booking_agent(saver: HoldfastSaver, effects: Path, model: StrictModel) -> AnyAgent:
    """An agent whose bookings are lines of a file."""

    @once
    @tool
    def book(what: str) -> str:
        """Book something."""
        with effects.open("a") as file:
            file.write(f"{what}\n")
        return "done"

    return build_graph(model=model, tools=[book], checkpointer=saver)


def booking(saver: HoldfastSaver, effects: Path, thread_id: str = "ada-1") -> Conversation:
    """A conversation whose bookings are lines of a file."""
    return Conversation(booking_agent(saver, effects, Booking()), thread_id)


def work_or_die(url: str, effects: str, commit: int) -> list[str]:
    """Carry out what was accepted, and die before that commit. Return the threads, if there were not that many."""
    with open_checkpointer(url) as saver:
        talk = booking(saver, Path(effects))
        saver._backend.on_statement = DieBeforeCommit(commit)
        return Worker(talk._agent, turns=TurnWorker(talk._agent, attempts=1000)).run_once().carried_out


def accept_and_work_or_die(url: str, effects: str, commit: int) -> str:
    """Accept a turn beside a worker, which begins it at once, and die before that commit. Return how the run ended.

    A file beside `effects` says that the turn was accepted.
    """

    async def work() -> str:
        async with open_checkpointer(url) as saver:
            talk, listener = booking(saver, Path(effects), Path(effects).name), Ending()
            async with TurnWorker(talk._agent, period=3600, listener=listener):
                saver._backend.on_statement = DieBeforeCommit(commit)
                await talk.asubmit("room 7")
                await asyncio.to_thread(Path(f"{effects}.accepted").touch)
                await listener.has_ended.wait()
                return listener.outcome

    return asyncio.run(work())


class Ending(TurnListener):
    """Learns that a turn has ended."""

    def __init__(self) -> None:
        self.has_ended = asyncio.Event()
        self.outcome = ""

    def ended(self, run: Run, outcome: str | None, seconds: float) -> None:
        self.outcome = f"{outcome}"
        self.has_ended.set()


def send_or_die(url: str, effects: str, thread_id: str, commit: int) -> str:
    """Send a message, and die before that commit. Return the reply, if there were not that many."""
    with open_checkpointer(url) as saver:
        talk = booking(saver, Path(effects), thread_id)
        saver._backend.on_statement = DieBeforeCommit(commit)
        return talk.send("room 7").text


def begin_and_die(talk: Conversation, text: str) -> None:
    """Begin a turn, and leave it before its first step, with its lease, as a process that dies."""
    said = {"messages": [HumanMessage(text)]}
    talk._agent.invoke(said, talk._config, interrupt_before="*", durability="sync")
    leave_lease(talk._agent.checkpointer, talk.thread_id, f"a turn of {talk._agent.get_name()}")


def leave_lease(saver: Any, thread_id: str, purpose: str, ended: float = 1) -> None:
    """Leave a lease as a process that died, and whose lease has ended some seconds ago."""
    take = "UPDATE holdfast_threads SET next_ticket = next_ticket + 1 WHERE thread_id = :thread_id"
    leave = (
        "INSERT INTO holdfast_leases (thread_id, ticket, owner, purpose, asked_at, held_at, expires_at) "
        "SELECT thread_id, next_ticket - 1, 'a dead process', CAST(:purpose AS TEXT), :at, :at, :at "
        "FROM holdfast_threads WHERE thread_id = :thread_id"
    )
    change(saver, take, thread_id=thread_id)
    change(saver, leave, thread_id=thread_id, purpose=purpose, at=time.time() - ended)


def let_leases_expire(saver: HoldfastSaver) -> None:
    """Make it later: the leases of dead processes have ended."""
    change(saver, "UPDATE holdfast_leases SET expires_at = expires_at - 15, held_at = held_at - 15")
    change(saver, "UPDATE holdfast_effects SET alive_until = 0")


def let_claims_expire(saver: HoldfastSaver) -> None:
    """Make it later: what a dead process held is free."""
    change(saver, "UPDATE holdfast_runs SET alive_until = 0 WHERE state = 'running'")
    change(saver, "UPDATE holdfast_effects SET alive_until = 0")
    change(saver, "DELETE FROM holdfast_leases")


class Thinking(ScriptedModel):
    """Never answers."""

    _thinks: asyncio.Event = PrivateAttr(default_factory=asyncio.Event)

    async def _agenerate(self, messages: list[BaseMessage], *_: object, **kwargs: object) -> ChatResult:
        self._thinks.set()
        await asyncio.Event().wait()
        raise AssertionError


class SlowBooking(Booking):
    """Thinks for a moment, so that a process can be killed meanwhile."""

    def line(self, messages: list[BaseMessage]) -> AIMessage:
        time.sleep(0.1)  # so that it can be killed meanwhile
        return super().line(messages)


def slow_agent(checkpointer: HoldfastSaver) -> AnyAgent:
    """An agent for `holdfast serve --router --agent`. Its bookings are lines of the file that the environment names."""
    return booking_agent(checkpointer, Path(os.environ["BOOKINGS"]), SlowBooking())
