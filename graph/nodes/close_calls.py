"""The step that closes the gaps of a thread before the model sees it: calls without an answer, and lost messages.

When a new message arrives before a step has ended, LangGraph drops that step: its pending calls, and answers whose
process died before the checkpoint was made. Results that did come exist only as pending writes of the checkpoint
before. This step finds them there, closes the other calls with the truth about them, and puts each result directly
behind the message that asked for it, and each lost message behind the one that it follows.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from threading import Event

from langchain_core.messages import AIMessage, AnyMessage, RemoveMessage, ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Command, Send

from holdfast.checkpoints import Ended, HoldfastSaver, InDoubt
from holdfast.checkpoints.effects import effect_key
from holdfast.checkpoints.langgraph_internals import CHECKPOINT_MAP, DURABILITY, graph_ns
from holdfast.checkpoints.runtime import running_saver
from holdfast.graph.approvals.policy import approval_policy, keeps
from holdfast.graph.kept import KeptCall, as_outcome, is_waiting, kept_calls, waiting_answer
from holdfast.graph.messages import (
    Call,
    DoubtTask,
    call_groups,
    close_calls,
    doubts_among,
    unclosed_calls,
)
from holdfast.graph.nodes.base import CLOSE_CALLS, DOUBT, TOOL, Step
from holdfast.graph.nodes.evidence import CallKey, Evidence, MessageOf, search_checkpoints
from holdfast.graph.plans import Io
from holdfast.graph.state import State
from holdfast.graph.tools.execute import answer_id, effect_of
from holdfast.graph.tools.once import run_policy
from holdfast.graph.tools.results import (
    Ready,
    Update,
    answer_in,
    closed_message,
    doubt_message,
    unreadable_message,
)
from holdfast.graph.tools.settle import as_approved

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
        messages = state["messages"]
        # A call that was kept open so far is looked at as one without an answer.
        before = {(kept.message_id, kept.call["id"] or ""): kept.interrupt_id for kept in kept_calls(messages)}
        bare = [message for message in messages if not is_waiting(message)] if before else messages
        evidence = await evidence_about(io, bare, config, tools, _message_of)
        evidence.waiting = {**before, **evidence.waiting}
        evidence.approvals.update(before.values())
        await io.call(_keep_requests, bare, evidence, tools, config)
        closed = _in_place(without_gaps(bare, evidence, tools, clock), before)
        doubts = [Send(DOUBT, task) for task in new_doubts(closed, evidence)]
        # A gap can be filled only by a new list. Ids and order stay, so it is the same thread.
        update = {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), *closed]}
        return Command(update={} if closed == list(messages) else update, goto=doubts or then(closed))

    return Step(close, name=CLOSE_CALLS)


def _in_place(messages: Sequence[AnyMessage], before: Mapping[CallKey, str]) -> list[AnyMessage]:
    """Return the messages, with the answers to calls that had been kept open under the ids that they had."""
    if not before:
        return list(messages)
    changed: dict[int, AnyMessage] = {}
    for group in call_groups(messages):
        for position, answer in group.answers.items():
            message_id, call_id = group.message.id or "", group.calls[position]["id"] or ""
            interrupt_id = before.get((message_id, call_id))
            if interrupt_id is not None and not is_waiting(answer):
                changed[id(answer)] = as_outcome(answer, message_id, interrupt_id)
    return [changed.get(id(message), message) for message in messages]


def _keep_requests(
    messages: Sequence[AnyMessage], evidence: Evidence, tools: Mapping[str, BaseTool], config: RunnableConfig
) -> None:
    """Find the calls that stay open: as was noted for the message, or as their tools declare. It blocks."""
    if not evidence.waiting:
        return
    waiting = {
        key: (interrupt_id, call)
        for group in unclosed_calls(messages)
        for call in (group.calls[position] for position in group.open)
        if (interrupt_id := evidence.waiting.get(key := (group.message.id or "", call["id"] or ""))) is not None
        and interrupt_id in evidence.approvals
        and key not in evidence.results
    }
    saver, thread_id = running_saver(config), str(config["configurable"].get("thread_id", ""))
    noted = saver.interrupts.held(thread_id) if isinstance(saver, HoldfastSaver) else {}
    evidence.kept = {
        key for key, (id_, call) in waiting.items() if noted.get(id_, keeps(tools.get(call["name"] or "")))
    }
    # What the message closes stays noted: this step may be cut off, and begin again.
    if isinstance(saver, HoldfastSaver) and (evidence.kept or any(noted.values())):
        saver.interrupts.hold(thread_id, keep=[waiting[key][0] for key in evidence.kept])


def _message_of(send: Send) -> str | None:
    return str(send.arg.get("message_id")) if send.node == TOOL else None


async def evidence_about(
    io: Io,
    messages: Sequence[AnyMessage],
    config: RunnableConfig,
    tools: Mapping[str, BaseTool],
    message_of: MessageOf,
) -> Evidence:
    """Collect what the checkpoints and the ledger say about the open calls among the messages.

    Args:
        messages: the messages of the thread.
        config: the config of the task that asks.
        tools: the agent's tools, by name.
        message_of: finds the message whose call is the input of a task.
    """
    saver = running_saver(config)

    async def get_tuple(at: RunnableConfig) -> CheckpointTuple | None:
        return None if saver is None else await io.either(saver.get_tuple, saver.aget_tuple, at)

    evidence = await search_checkpoints(get_tuple, messages, config, message_of)
    if isinstance(saver, HoldfastSaver):
        await io.wait(lambda give_up: _ask_ledger(saver, messages, evidence, tools, config, give_up))
    return evidence


def _ask_ledger(
    saver: HoldfastSaver,
    messages: Sequence[AnyMessage],
    evidence: Evidence,
    tools: Mapping[str, BaseTool],
    config: RunnableConfig,
    give_up: Event | None,
) -> None:
    """Add the ledger's evidence about the open calls without a result. It blocks, and waits for running tools."""
    effects = [
        (Ready(tool, call), key)
        for group in unclosed_calls(messages)
        for call in (group.calls[position] for position in group.open)
        if (key := (group.message.id or "", call["id"] or "")) not in evidence.results
        and (tool := tools.get(call["name"] or "")) is not None
        and run_policy(tool).once
        and call["type"] == "tool_call"
    ]
    if effects and not evidence.run_is_saved:
        # Only then a run that went on from before is kept from starting one of them.
        evidence.run_is_saved = _is_saved(saver, config, give_up)
    for ready, key in effects:
        _ask_ledger_about(saver, ready, key, evidence, config, give_up)


def _is_saved(saver: HoldfastSaver, config: RunnableConfig, give_up: Event | None) -> bool:
    """Return whether the checkpoint of a run is saved; wait for it, unless the run saves nothing before its end."""
    configurable = config["configurable"]
    if configurable.get(DURABILITY) == "exit":
        return False
    ns = graph_ns(configurable.get("checkpoint_ns", ""))
    checkpoint_id = configurable.get(CHECKPOINT_MAP, {}).get(ns, "")
    return saver.effects.is_saved(str(configurable["thread_id"]), ns, checkpoint_id, give_up)


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
        case _ if not evidence.run_is_saved:
            pass  # it may still begin
        case _:
            evidence.never_begun.add(key)
            interrupt_id = evidence.waiting.get(key)
            decided = None if interrupt_id is None else saver.interrupts.recorded(thread_id, interrupt_id)
            if decided is not None and not decided.expired:
                evidence.decided.add(key)


def new_doubts(closed: Sequence[AnyMessage], evidence: Evidence) -> list[DoubtTask]:
    """Return a task for each call that this step found to be in doubt."""
    return [
        task
        for group in call_groups(closed)
        for task in doubts_among(group.message, list(group.answers.values()))
        if (task["message_id"], task["call"]["id"] or "") in evidence.in_doubt
    ]


def without_gaps(
    messages: Sequence[AnyMessage], evidence: Evidence, tools: Mapping[str, BaseTool], clock: Callable[[], datetime]
) -> list[AnyMessage]:
    """Return the messages with every call answered, by what is known about it, and with the lost messages."""

    def answer(message: AIMessage, call: Call) -> ToolMessage:
        key = (message.id or "", call["id"] or "")
        if key in evidence.results:
            return evidence.results[key]
        if key in evidence.kept and call["type"] == "tool_call":
            return waiting_answer(KeptCall(call, key[0], evidence.waiting[key]))
        if key in evidence.waiting:
            known = NEVER_CARRIED_OUT if key in evidence.decided else NEVER_APPROVED
            text = known if key in evidence.never_begun else WAITING
        else:
            text = IN_DOUBT if may_have_run(message, call) else NEVER_MADE
        return closed_message(call, text, clock())

    def may_have_run(message: AIMessage, call: Call) -> bool:
        tool = tools.get(call["name"] or "")
        if tool is None or (message.id or "", call["id"] or "") in evidence.never_begun:
            return False
        # A call that needs an approval and has no pause on record was cut off before it could ask.
        return message.id in evidence.handed_out and approval_policy(tool) is None

    restored = [item for message in messages for item in (message, *evidence.lost.get(message.id or "", []))]
    return close_calls(restored, answer)
