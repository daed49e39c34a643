"""The step that closes the gaps of a thread before the model sees it: calls without an answer, and lost messages.

When a new message arrives before a step has ended, LangGraph drops that step: its pending calls, and answers whose
process died before the checkpoint was made. Results that did come exist only as pending writes of the checkpoint
before. This step finds them there, closes the other calls with the truth about them, and puts each result directly
behind the message that asked for it, and each lost message behind the one that it follows.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event
from typing import Any, Final, TypeAlias, TypeVar

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, RemoveMessage, ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Command, Interrupt, Send

from holdfast.checkpoints import Ended, HoldfastSaver, InDoubt
from holdfast.checkpoints.effects import effect_key
from holdfast.checkpoints.langgraph_internals import CHECKPOINT_MAP, INTERRUPT, TASKS, graph_ns
from holdfast.checkpoints.runtime import running_saver
from holdfast.graph.approvals.policy import approval_policy
from holdfast.graph.messages import (
    Call,
    DoubtTask,
    call_groups,
    close_calls,
    doubts_among,
    ends_with_agent,
    is_in_doubt,
    unclosed_calls,
)
from holdfast.graph.nodes.base import CLOSE_CALLS, DOUBT, TOOL, Step
from holdfast.graph.plans import Io
from holdfast.graph.state import State
from holdfast.graph.tools.execute import answer_id, effect_of
from holdfast.graph.tools.once import run_policy
from holdfast.graph.tools.results import (
    Ready,
    Update,
    answer_in,
    doubt_message,
    error_message,
    unreadable_message,
)
from holdfast.graph.tools.settle import as_approved

# Older checkpoints are not searched: each one is a query, and calls do not stay open for that long.
_FURTHEST: Final = 50

M = TypeVar("M", bound=BaseMessage)

CallKey: TypeAlias = tuple[str, str]
"""The id of the message that made a call, and the id of the call."""

GetTuple: TypeAlias = Callable[[RunnableConfig], Awaitable[CheckpointTuple | None]]

WAITING = (
    "Closed: this call was waiting for a person's approval when the conversation went on, and neither a result nor a "
    "refusal is on record. Take it as not done, and look before making it again."
)
NEVER_APPROVED = (
    "Not run: this call was waiting for a person's approval when the conversation went on, and had not been approved."
)
NEVER_CARRIED_OUT = (
    "Not run: a person had decided about this call, but the conversation went on before that was carried out."
)
NEVER_MADE = "Not run: the conversation went on before this call was made."
IN_DOUBT = (
    "No result: the run ended while this call was being made, so it is not known whether it took effect. "
    "Check before making it again."
)


@dataclass
class Evidence:
    """The findings about the open calls, from the checkpoints before this run and from the ledger."""

    results: dict[CallKey, ToolMessage] = field(default_factory=dict)
    waiting: dict[CallKey, str] = field(default_factory=dict)
    """The calls that had paused, with the id of the pause."""
    handed_out: set[str] = field(default_factory=set)
    """The ids of the messages whose calls had become tool tasks."""
    in_doubt: set[CallKey] = field(default_factory=set)
    never_begun: set[CallKey] = field(default_factory=set)
    """The calls that are not in the ledger."""
    decided: set[CallKey] = field(default_factory=set)
    """The calls among these that a person had decided about."""
    lost: dict[str, list[AIMessage]] = field(default_factory=dict)
    """The agent's messages from steps that were dropped, by the id of the message that they follow."""


def close_calls_step(
    tools: Mapping[str, BaseTool], clock: Callable[[], datetime], then: Callable[[Sequence[AnyMessage]], str]
) -> Runnable[State, Update]:
    """Make the step that answers all open calls of the thread and restores lost messages, in one checkpoint.

    Args:
        tools: the agent's tools, by name.
        clock: returns the present time.
        then: returns the node that comes next for a history without gaps.
    """

    async def close(io: Io, state: State, config: RunnableConfig) -> Update:
        saver, messages = running_saver(config), state["messages"]

        async def get_tuple(at: RunnableConfig) -> CheckpointTuple | None:
            return None if saver is None else await io.either(saver.get_tuple, saver.aget_tuple, at)

        evidence = await search_checkpoints(get_tuple, messages, config)
        if isinstance(saver, HoldfastSaver):
            await io.wait(lambda give_up: _ask_ledger(saver, messages, evidence, tools, config, give_up))
        closed = _without_gaps(messages, evidence, tools, clock)
        doubts = [Send(DOUBT, task) for task in _new_doubts(closed, evidence)]
        # A gap can be filled only by a new list. Ids and order stay, so it is the same thread.
        update = {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), *closed]}
        return Command(update={} if closed == list(messages) else update, goto=doubts or then(closed))

    return Step(close, name=CLOSE_CALLS)


def _ask_ledger(
    saver: HoldfastSaver,
    messages: Sequence[AnyMessage],
    evidence: Evidence,
    tools: Mapping[str, BaseTool],
    config: RunnableConfig,
    give_up: Event | None,
) -> None:
    """Add the ledger's evidence about the open calls without a result. It blocks, and waits for running tools."""
    for group in unclosed_calls(messages):
        for call in (group.calls[position] for position in group.open):
            tool = tools.get(call["name"] or "")
            key = (group.message.id or "", call["id"] or "")
            if (
                key not in evidence.results
                and tool is not None
                and run_policy(tool).once
                and call["type"] == "tool_call"
            ):
                _ask_ledger_about(saver, Ready(tool, call), key, evidence, config, give_up)


def _ask_ledger_about(
    saver: HoldfastSaver,
    ready: Ready,
    key: CallKey,
    evidence: Evidence,
    config: RunnableConfig,
    give_up: Event | None,
) -> None:
    thread_id = str(config["configurable"]["thread_id"])
    entry = saver.effects.entry(thread_id, effect_key(*key))
    if entry is not None:
        ready = as_approved(saver, ready, entry.interrupt_id, entry.thread_id)
    effect = effect_of(ready, key[0], config)
    match saver.effects.outcome(effect, give_up):
        case Ended(value=value) if (answer := answer_in(value, ready.call)) is not None:
            evidence.results[key] = answer
        case Ended():
            evidence.results[key] = unreadable_message(ready)
        case InDoubt(why=why):
            evidence.results[key] = doubt_message(ready, why, answer_id(effect))
            evidence.in_doubt.add(key)
        case _:
            evidence.never_begun.add(key)
            interrupt_id = evidence.waiting.get(key)
            decided = None if interrupt_id is None else saver.interrupts.recorded(thread_id, interrupt_id)
            if decided is not None and not decided.expired:
                evidence.decided.add(key)


def _new_doubts(closed: Sequence[AnyMessage], evidence: Evidence) -> list[DoubtTask]:
    """Return a task for each call that this step found to be in doubt."""
    return [
        task
        for group in call_groups(closed)
        for task in doubts_among(group.message, list(group.answers.values()))
        if (task["message_id"], task["call"]["id"] or "") in evidence.in_doubt
    ]


def _without_gaps(
    messages: Sequence[AnyMessage], evidence: Evidence, tools: Mapping[str, BaseTool], clock: Callable[[], datetime]
) -> list[AnyMessage]:
    def answer(message: AIMessage, call: Call) -> ToolMessage:
        key = (message.id or "", call["id"] or "")
        if key in evidence.results:
            return evidence.results[key]
        if key in evidence.waiting:
            at = clock().astimezone(UTC).isoformat(timespec="seconds")
            known = NEVER_CARRIED_OUT if key in evidence.decided else NEVER_APPROVED
            text = known if key in evidence.never_begun else WAITING
            return error_message(call, text, {"decision": "closed", "by": None, "at": at})
        return error_message(call, IN_DOUBT if may_have_run(message, call) else NEVER_MADE)

    def may_have_run(message: AIMessage, call: Call) -> bool:
        tool = tools.get(call["name"] or "")
        if tool is None or (message.id or "", call["id"] or "") in evidence.never_begun:
            return False
        # A call that needs an approval and has no pause on record was cut off before it could ask.
        return message.id in evidence.handed_out and approval_policy(tool) is None

    restored = [item for message in messages for item in (message, *evidence.lost.get(message.id or "", []))]
    return close_calls(restored, answer)


async def search_checkpoints(get_tuple: GetTuple, messages: Sequence[AnyMessage], config: RunnableConfig) -> Evidence:
    """Collect the evidence from the checkpoints before this run.

    The search goes back to the checkpoints on which the open calls became tasks, and to the last one that ended with
    the agent's answer. That is two steps (the input, and its merge into the state), and more if an earlier run died
    before this node had ended.

    Args:
        get_tuple: loads a checkpoint; None if it does not exist.
        messages: the messages of the thread.
        config: the config of this node's task.
    """
    evidence = Evidence()
    wanted = {group.message.id or "" for group in unclosed_calls(messages) if group.open}
    known = {message.id for message in messages}
    saved = await _before_this_run(get_tuple, config)
    # A run that was sent to an older checkpoint dropped nothing there: what followed it is another branch.
    addressed = config.get("metadata", {}).get("checkpoint_id")
    dropped = True
    for _ in range(_FURTHEST):
        if saved is None:
            break
        then: list[AnyMessage] = saved.checkpoint["channel_values"].get("messages", [])
        if dropped and then and saved.checkpoint["id"] != addressed:
            lost = [message for message in _written(saved, AIMessage) if message.id not in known]
            evidence.lost.setdefault(then[-1].id or "", []).extend(lost)
        for message_id in _handed_out(saved) & wanted:
            _read_writes(evidence, message_id, saved)
            wanted.discard(message_id)
        if wanted.isdisjoint(message.id for message in then) and ends_with_agent(then):
            break
        # Any other checkpoint follows from the writes of its parent, so these were not dropped.
        dropped = saved.metadata.get("source") == "input"
        saved = await get_tuple(saved.parent_config) if saved.parent_config else None
    return evidence


async def _before_this_run(get_tuple: GetTuple, config: RunnableConfig) -> CheckpointTuple | None:
    """Load the checkpoint that this run went on from. None on a new thread, or without a checkpointer."""
    configurable = config["configurable"]
    thread_id = str(configurable.get("thread_id", ""))
    namespace = graph_ns(configurable.get("checkpoint_ns", ""))
    current = configurable.get(CHECKPOINT_MAP, {}).get(namespace)
    if not thread_id or current is None:
        return None

    def at(checkpoint_id: str | None) -> RunnableConfig:
        place = {"thread_id": thread_id, "checkpoint_ns": namespace}
        return {"configurable": place if checkpoint_id is None else {**place, "checkpoint_id": checkpoint_id}}

    saved = await get_tuple(at(current))
    if saved is None:
        # The checkpoint of the input is still being written (durability "async") or will not be ("exit"). Its parent is
        # the one that the caller addressed, or else the newest.
        addressed = config.get("metadata", {}).get("checkpoint_id") if namespace == "" else None
        saved = await get_tuple(at(addressed))
    if saved is None or saved.checkpoint["id"] != current:
        return saved
    return await get_tuple(saved.parent_config) if saved.parent_config else None


def _handed_out(saved: CheckpointTuple) -> set[str]:
    """Return the ids of the messages whose calls are tasks of this checkpoint: one, or none."""
    sends = saved.checkpoint["channel_values"].get(TASKS, [])
    return {str(send.arg.get("message_id")) for send in sends if isinstance(send, Send) and send.node == TOOL}


def _read_writes(evidence: Evidence, message_id: str, saved: CheckpointTuple) -> None:
    evidence.handed_out.add(message_id)
    for message in _written(saved, ToolMessage):
        evidence.results[message_id, message.tool_call_id] = message
        if is_in_doubt(message):
            # Its step was dropped before a person could be asked.
            evidence.in_doubt.add((message_id, message.tool_call_id))
    for _, channel, value in saved.pending_writes or []:
        if channel == INTERRUPT:
            for pause in value if isinstance(value, Sequence) else [value]:
                if isinstance(pause, Interrupt) and isinstance(pause.value, dict):
                    evidence.waiting[message_id, str(pause.value.get("tool_call_id"))] = pause.id


def _written(saved: CheckpointTuple, kind: type[M]) -> list[M]:
    """Return the messages of a kind that tasks of this checkpoint added to the thread."""
    messages: list[M] = []
    for _, channel, value in saved.pending_writes or []:
        written: list[Any] = value if isinstance(value, list) else [value]
        # An earlier run of this node wrote the whole thread, with the evidence of that time. It is found again.
        if channel == "messages" and not any(isinstance(message, RemoveMessage) for message in written):
            messages.extend(message for message in written if isinstance(message, kind))
    return messages
