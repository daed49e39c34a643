"""The step that makes a thread whole before the model sees it: no call without its answer, and nothing said forgotten.

When a new message arrives before a step is through, LangGraph drops that step: calls that were pending, and answers
whose process died before the checkpoint was made. What did finish then exists only as pending writes of the checkpoint
before. This step finds it there, closes the other calls with the truth about them, and puts each result directly behind
the message that asked, and each lost answer behind what it answers.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event
from typing import Any, TypeAlias, TypeVar

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, RemoveMessage, ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Command, Interrupt, Send

from holdfast.checkpoints import HoldfastSaver, apart
from holdfast.checkpoints.effects import effect_key
from holdfast.checkpoints.effects.states import Ended, InDoubt
from holdfast.checkpoints.langgraph_internals import CHECKPOINT_MAP, INTERRUPT, TASKS, graph_ns
from holdfast.graph.approvals.policy import approval_policy
from holdfast.graph.messages import (
    Call,
    CallGroup,
    answered,
    close_calls,
    read,
    unclosed_calls,
)
from holdfast.graph.nodes.base import Step
from holdfast.graph.nodes.in_doubt import DoubtTask, as_approved, doubts_among
from holdfast.graph.state import State
from holdfast.graph.tools.execute import answer_id, effect_of
from holdfast.graph.tools.once import running_of
from holdfast.graph.tools.results import (
    EFFECT,
    Ready,
    Update,
    answer_in,
    doubt_message,
    error_message,
    unreadable_message,
)

# Older checkpoints are not looked at: nobody waits for a thread that has dangled for so long, and each is a query.
_FURTHEST = 50

M = TypeVar("M", bound=BaseMessage)

# Asks for checkpoints by yielding their config; whoever drives it does the I/O, with or without `await`.
Search: TypeAlias = Generator[RunnableConfig, CheckpointTuple | None, "Found"]

WAITING = (
    "Closed: this call was waiting for a person's approval when the conversation went on, and neither a result nor a "
    "refusal is on record. Take it as not done, and look before making it again."
)
NEVER_APPROVED = (
    "Not run: this call was waiting for a person's approval when the conversation went on, and nobody had given it."
)
NEVER_CARRIED_OUT = (
    "Not run: a person had decided about this call, but the conversation went on before that was carried out."
)
NEVER_MADE = "Not run: the conversation went on before this call was made."
IN_DOUBT = (
    "No result: the run ended while this call was being made, so nobody knows whether it took effect. "
    "Check before making it again."
)


@dataclass
class Found:
    """What the checkpoints before this run say; about calls by (id of the message that asked, id of the call)."""

    results: dict[tuple[str, str], ToolMessage] = field(default_factory=dict)
    # Calls that had paused, with the id of the pause.
    waiting: dict[tuple[str, str], str] = field(default_factory=dict)
    # Ids of the messages whose calls were handed out to tool tasks.
    started: set[str] = field(default_factory=set)
    # Calls of which the ledger says that nobody knows, or that they never began.
    doubts: set[tuple[str, str]] = field(default_factory=set)
    never_begun: set[tuple[str, str]] = field(default_factory=set)
    # Of the latter, those that a person had decided about.
    decided: set[tuple[str, str]] = field(default_factory=set)
    # What the agent said in steps that were dropped, each under the id of the message that it follows.
    lost: dict[str, list[AIMessage]] = field(default_factory=dict)


def close_calls_node(
    tools: Mapping[str, BaseTool],
    saver_of_run: Callable[[], BaseCheckpointSaver[Any] | None],
    clock: Callable[[], datetime],
    then: Callable[[Sequence[AnyMessage]], str],
) -> Runnable[State, Update]:
    """Answer every open call of the thread, and bring back what was lost, with one checkpoint.

    `then(messages)` is the step that the thread goes on with once it is whole.
    """

    def whole(messages: Sequence[AnyMessage], found: Found) -> Update:
        closed = _whole(messages, found, tools, clock)
        doubts = [
            Send("doubt", task)
            for item in read(closed)
            if isinstance(item, CallGroup)
            for task in _new_doubts(item, found)
        ]
        # Ids and order stay, so this is the same thread with the gaps closed. Only a new list can fill a gap.
        update = {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), *closed]}
        return Command(update={} if closed == list(messages) else update, goto=doubts or then(closed))

    def step(state: State, config: RunnableConfig) -> Update:
        saver, search = saver_of_run(), find(state["messages"], config)
        try:
            wanted = next(search)
            while True:
                wanted = search.send(saver.get_tuple(wanted) if saver is not None else None)
        except StopIteration as end:
            found: Found = end.value
        if isinstance(saver, HoldfastSaver):
            _consult(saver, state["messages"], found, tools, config)
        return whole(state["messages"], found)

    async def astep(state: State, config: RunnableConfig) -> Update:
        saver, search = saver_of_run(), find(state["messages"], config)
        try:
            wanted = next(search)
            while True:
                wanted = search.send(await saver.aget_tuple(wanted) if saver is not None else None)
        except StopIteration as end:
            found: Found = end.value
        if isinstance(saver, HoldfastSaver):
            ours, messages = saver, state["messages"]
            await apart(lambda give_up: _consult(ours, messages, found, tools, config, give_up))
        return whole(state["messages"], found)

    return Step(step, astep, name="settle")


def _consult(
    saver: HoldfastSaver,
    messages: Sequence[AnyMessage],
    found: Found,
    tools: Mapping[str, BaseTool],
    config: RunnableConfig,
    give_up: Event | None = None,
) -> None:
    """Ask the ledger about the open calls whose results are not in a checkpoint; waits for what is running."""
    for asked in unclosed_calls(messages):
        for call in (asked.calls[position] for position in asked.open):
            tool = tools.get(call["name"] or "")
            key = (asked.message.id or "", call["id"] or "")
            if key not in found.results and tool is not None and running_of(tool).once and call["type"] == "tool_call":
                _consult_about(saver, Ready(tool, call), key, found, config, give_up)


def _consult_about(
    saver: HoldfastSaver,
    ready: Ready,
    key: tuple[str, str],
    found: Found,
    config: RunnableConfig,
    give_up: Event | None,
) -> None:
    thread_id = str(config["configurable"]["thread_id"])
    entry = saver.effects.entry(thread_id, effect_key(*key))
    if entry is not None:
        ready = as_approved(saver, ready, entry)
    effect = effect_of(ready, key[0], config)
    match saver.effects.outcome(effect, give_up):
        case Ended(value=value) if (answer := answer_in(value, ready.call)) is not None:
            found.results[key] = answer
        case Ended():
            found.results[key] = unreadable_message(ready)
        case InDoubt(why=why):
            found.results[key] = doubt_message(ready, why, answer_id(effect))
            found.doubts.add(key)
        case _:
            found.never_begun.add(key)
            decided = saver.interrupts.recorded(thread_id, found.waiting[key]) if key in found.waiting else None
            if decided is not None and not decided.expired:
                found.decided.add(key)


def _new_doubts(asked: CallGroup, found: Found) -> list[DoubtTask]:
    """What a person is asked about a message's calls: those that were found to be in doubt just now."""
    tasks = doubts_among(asked.message, list(asked.answers.values()))
    return [task for task in tasks if (task["message_id"], task["call"]["id"] or "") in found.doubts]


def _whole(
    messages: Sequence[AnyMessage], found: Found, tools: Mapping[str, BaseTool], clock: Callable[[], datetime]
) -> list[AnyMessage]:
    def answer(message: AIMessage, call: Call) -> ToolMessage:
        key = (message.id or "", call["id"] or "")
        if key in found.results:
            return found.results[key]
        if key in found.waiting:
            at = clock().astimezone(UTC).isoformat(timespec="seconds")
            known = NEVER_CARRIED_OUT if key in found.decided else NEVER_APPROVED
            text = known if key in found.never_begun else WAITING
            return error_message(call, text, {"decision": "closed", "by": None, "at": at})
        return error_message(call, IN_DOUBT if may_have_run(message, call) else NEVER_MADE)

    def may_have_run(message: AIMessage, call: Call) -> bool:
        tool = tools.get(call["name"] or "")
        if tool is None or (message.id or "", call["id"] or "") in found.never_begun:
            return False
        # A call that needs an approval and has no pause on record was cut off before it could ask.
        return message.id in found.started and approval_policy(tool) is None

    return close_calls(
        [item for message in messages for item in (message, *found.lost.get(message.id or "", []))], answer
    )


def find(messages: Sequence[AnyMessage], config: RunnableConfig) -> Search:
    """Walk back from this run's first checkpoint to those on which the open calls were handed out, and to the last one
    that the agent had answered.

    That is two steps (the input, and its merge into the state), and more if an earlier run died before this node was
    through. Yields the config of each checkpoint that it needs, and is sent the checkpoint, or None if there is none.
    """
    found = Found()
    wanted = {asked.message.id or "" for asked in unclosed_calls(messages) if asked.open}
    known = {message.id for message in messages}
    tuple_ = yield from _before_this_run(config)
    # A run that was sent to an old checkpoint has dropped nothing there: what followed it is another branch.
    addressed = config.get("metadata", {}).get("checkpoint_id")
    dropped = True
    for _ in range(_FURTHEST):
        if tuple_ is None:
            break
        then: list[AnyMessage] = tuple_.checkpoint["channel_values"].get("messages", [])
        if dropped and then and tuple_.checkpoint["id"] != addressed:
            said = [message for message in _written(tuple_, AIMessage) if message.id not in known]
            found.lost.setdefault(then[-1].id or "", []).extend(said)
        for message_id in _handed_out(tuple_) & wanted:
            _read_writes(found, message_id, tuple_)
            wanted.discard(message_id)
        if wanted.isdisjoint(message.id for message in then) and answered(then):
            break
        dropped = tuple_.metadata.get("source") == "input"  # else its step followed from its parent's, and is kept
        tuple_ = (yield tuple_.parent_config) if tuple_.parent_config else None
    return found


def _before_this_run(
    config: RunnableConfig,
) -> Generator[RunnableConfig, CheckpointTuple | None, CheckpointTuple | None]:
    """The checkpoint that this run went on from; None on a new thread or without a saver."""
    own = config["configurable"]
    thread_id = str(own.get("thread_id", ""))
    namespace = graph_ns(own.get("checkpoint_ns", ""))
    current = own.get(CHECKPOINT_MAP, {}).get(namespace)
    if not thread_id or current is None:
        return None

    def at(checkpoint_id: str | None) -> RunnableConfig:
        place = {"thread_id": thread_id, "checkpoint_ns": namespace}
        return {"configurable": place if checkpoint_id is None else {**place, "checkpoint_id": checkpoint_id}}

    tuple_ = yield at(current)
    if tuple_ is None:
        # The checkpoint of the input is still being written (durability "async") or will not be ("exit"). What it
        # stands on is what the caller addressed, or the newest one.
        addressed = config.get("metadata", {}).get("checkpoint_id") if namespace == "" else None
        tuple_ = yield at(addressed)
    if tuple_ is None or tuple_.checkpoint["id"] != current:
        return tuple_
    return (yield tuple_.parent_config) if tuple_.parent_config else None


def _handed_out(tuple_: CheckpointTuple) -> set[str]:
    """The ids of the messages whose calls are the tasks of this checkpoint: one, or none."""
    sends = tuple_.checkpoint["channel_values"].get(TASKS, [])
    return {str(send.arg.get("message_id")) for send in sends if isinstance(send, Send) and send.node == "tool"}


def _read_writes(found: Found, message_id: str, tuple_: CheckpointTuple) -> None:
    found.started.add(message_id)
    for message in _written(tuple_, ToolMessage):
        found.results[message_id, message.tool_call_id] = message
        if message.additional_kwargs.get(EFFECT, {}).get("state") == "in_doubt":
            # Its step was dropped before anybody could be asked.
            found.doubts.add((message_id, message.tool_call_id))
    for _, channel, value in tuple_.pending_writes or []:
        if channel == INTERRUPT:
            for pause in value if isinstance(value, Sequence) else [value]:
                if isinstance(pause, Interrupt) and isinstance(pause.value, dict):
                    found.waiting[message_id, str(pause.value.get("tool_call_id"))] = pause.id


def _written(tuple_: CheckpointTuple, kind: type[M]) -> list[M]:
    """The messages of a kind that tasks of this checkpoint have added to the thread."""
    found: list[M] = []
    for _, channel, value in tuple_.pending_writes or []:
        written = value if isinstance(value, list) else [value]
        # What this node wrote is the thread as it was, with what it found; it will be found again.
        if channel == "messages" and not any(isinstance(message, RemoveMessage) for message in written):
            found.extend(message for message in written if isinstance(message, kind))
    return found
