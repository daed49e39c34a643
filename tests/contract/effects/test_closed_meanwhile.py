"""A call is closed as not run, because the conversation goes on, while another run is about to start it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Thread
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langgraph.types import Command

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.effects import Effects
from holdfast.checkpoints.effects.states import Effect, Started
from holdfast.checkpoints.sql import Statement
from holdfast.errors import EffectClosed, ThreadConflict
from holdfast.graph.nodes.close_calls import WAITING
from tests.support.graph_kit import Desk, Talk, calls, says
from tests.support.kit import change, checkpoint, elsewhere, put, rows, thread
from tests.support.middleware_kit import Shop
from tests.support.world import ledger

REFUND = calls(("refund", {"order": 1}))


class Langchain:
    """The agent of `create_agent`, over two checkpointers of one database."""

    def __init__(self, saver: HoldfastSaver) -> None:
        self._shop = Shop(saver, REFUND, says("done"), says("well"))
        self.agent, self.done = self._shop.agent, self._shop.refunded
        self._model = self._shop.model

    def say_nothing_first(self) -> None:
        """Let the model go on with the line after the call."""
        self._model.lines[:] = [says("gone on"), says("well")]


class Ours(Langchain):
    """The agent of `build_graph`."""

    def __init__(self, saver: HoldfastSaver) -> None:
        desk = Desk()
        talk = Talk(saver, calls(("refund", {"order_id": 1})), says("done"), says("well"), tools=desk.tools())
        self.agent, self.done, self._model = talk.agent, desk.refunded, talk.model


AGENTS = pytest.mark.parametrize("kind", [Langchain, Ours])

GO = {"messages": [("user", "go")]}
NEXT = {"messages": [("user", "never mind")]}


@contextmanager
def just_before_a_claim(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> Iterator[None]:
    """Do something once, in a thread of its own, when the first effect is to be claimed."""
    claim, begun = Effects._claim, [work]

    def claim_after(self: Effects, *args: Any) -> Any:
        while begun:
            elsewhere(begun.pop())
        return claim(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Effects, "_claim", claim_after)
        yield


def answers(agent: Any) -> list[ToolMessage]:
    messages = agent.get_state(thread()).values["messages"]
    return [message for message in messages if isinstance(message, ToolMessage)]


@AGENTS
def test_a_call_that_was_closed_is_not_started(
    saver: HoldfastSaver, other: HoldfastSaver, kind: Callable[[HoldfastSaver], Langchain], monkeypatch: Any
) -> None:
    first, second = kind(saver), kind(other)
    first.agent.invoke(GO, thread())
    second.say_nothing_first()
    [request] = saver.interrupts.waiting()
    approve = Command(resume={request.interrupt_id: {"type": "approve"}})

    with (
        just_before_a_claim(monkeypatch, lambda: second.agent.invoke(NEXT, thread())),
        pytest.raises(EffectClosed, match=r"refund was not run.*gone on with a new message") as refused,
    ):
        first.agent.invoke(approve, thread())

    assert isinstance(refused.value, ThreadConflict)
    assert (first.done, second.done, ledger(saver)) == ([], [], [])
    assert [answer.text[:7] for answer in answers(second.agent)] == ["Not run"]


@pytest.mark.sweep(every=2)
@AGENTS
def test_on_a_branch_from_before_it_may_still_run(
    saver: HoldfastSaver, other: HoldfastSaver, kind: Callable[[HoldfastSaver], Langchain]
) -> None:
    agents = [kind(saver), kind(other)]
    agents[0].agent.invoke(GO, thread())
    asked = agents[0].agent.get_state(thread())
    agents[1].say_nothing_first()
    agents[1].agent.invoke(NEXT, thread())
    assert [answer.text[:7] for answer in answers(agents[0].agent)] == ["Not run"]

    # In a copy that goes on from there, and by a run that is sent there.
    checkpoint_id = asked.config["configurable"]["checkpoint_id"]
    saver.threads.fork("ada-1", "ada-2", checkpoint_id=checkpoint_id)
    approve = Command(resume={asked.interrupts[0].id: {"type": "approve"}})
    agents[0].agent.invoke(approve, thread("ada-2"))
    assert agents[0].done == [1]

    saver.delete_thread("ada-2")
    change(saver, "DELETE FROM holdfast_effects")
    branch = kind(saver)
    branch.say_nothing_first()
    branch.agent.invoke(approve, asked.config)
    assert branch.done == [1]


@pytest.mark.sweep(every=2)
@AGENTS
def test_a_run_that_saves_at_its_end_does_not_say_that_it_was_not_run(
    saver: HoldfastSaver, kind: Callable[[HoldfastSaver], Langchain]
) -> None:
    first = kind(saver)
    first.agent.invoke(GO, thread())
    first.say_nothing_first()
    first.agent.invoke(NEXT, thread(), durability="exit")
    assert [answer.text for answer in answers(first.agent)] == [WAITING]


@pytest.mark.parametrize(
    ("metadata", "closes"),
    [
        ({"source": "input"}, True),
        ({"source": "loop"}, False),
        ({"source": "update"}, False),
        ({"source": "input", "holdfast_within": "here"}, False),
        ({"source": "input", "holdfast_refused": "there"}, False),
    ],
    ids=["message", "step", "update", "sub-agent", "refused"],
)
def test_only_a_new_message_of_another_run_closes_a_call(
    saver: HoldfastSaver, metadata: dict[str, Any], closes: bool
) -> None:
    root_id = put(saver, thread(), checkpoint([]))["configurable"]["checkpoint_id"]
    effect = Effect("ada-1", "key", "refund", b"args", "", root_id, root_id=root_id)
    put(saver, thread(), checkpoint([]), **metadata)
    if closes:
        with pytest.raises(EffectClosed):
            saver.effects.begin(effect)
        effect = replace(effect, root_id=None)  # a run that was sent there on purpose
    assert isinstance(saver.effects.begin(effect), Started)


def test_an_effect_that_has_begun_is_waited_for_by_the_run_that_closes_its_call(
    saver: HoldfastSaver, other: HoldfastSaver
) -> None:
    first, second = Langchain(saver), Langchain(other)
    first.agent.invoke(GO, thread())
    second.say_nothing_first()
    [request] = saver.interrupts.waiting()
    said: list[Thread] = []

    def say_meanwhile() -> None:
        said.append(Thread(target=second.agent.invoke, args=(NEXT, thread())))
        said[0].start()
        while not rows(saver, "SELECT 1 FROM checkpoints WHERE checkpoint_id > :at", at=asked_at):
            time.sleep(0.001)  # until its message is saved

    first._shop.behave = say_meanwhile
    asked_at = first.agent.get_state(thread()).config["configurable"]["checkpoint_id"]
    with pytest.raises(ThreadConflict):
        first.agent.invoke(Command(resume={request.interrupt_id: {"type": "approve"}}), thread())
    said[0].join()
    assert [answer.text for answer in answers(second.agent)] == ["order 1 refunded"]


def test_a_claim_waits_for_a_message_that_is_being_saved(
    saver: HoldfastSaver, other: HoldfastSaver, dialect: str
) -> None:
    root_id = put(saver, thread(), checkpoint([]))["configurable"]["checkpoint_id"]
    effect = Effect("ada-1", "key", "refund", b"args", "", root_id, root_id=root_id)
    ends: list[Any] = []

    def begin() -> None:
        try:
            ends.append(other.effects.begin(effect))
        except EffectClosed as closed:
            ends.append(closed)

    lock, claim = saver._backend.sql["lock_thread"], Thread(target=begin)
    with saver._backend.writing() as transaction:
        transaction.run([(lock, {"thread_id": "ada-1"}), (Statement("test", NEWER[dialect]), {})])
        claim.start()
        while dialect == "postgres" and not rows(saver, WAITS) and not ends:
            time.sleep(0.001)  # until it waits for the thread
    claim.join()
    assert [type(end) for end in ends] == [EffectClosed]


WAITS = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

# A copy of the checkpoint as that of a new message.
NEWER = {
    "sqlite": """
        INSERT INTO checkpoints
        SELECT thread_id, checkpoint_ns, '9' || checkpoint_id, checkpoint_id, type, checkpoint, '{"source": "input"}'
        FROM checkpoints WHERE thread_id = 'ada-1'""",
    "postgres": """
        INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata)
        SELECT thread_id, checkpoint_ns, '9' || checkpoint_id, checkpoint_id, checkpoint, '{"source": "input"}'
        FROM checkpoints WHERE thread_id = 'ada-1'""",
}
