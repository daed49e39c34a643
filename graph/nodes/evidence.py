"""What the checkpoints before a run say about calls without an answer, and about lost messages.

When a new message arrives before a step has ended, LangGraph drops that step. The results of its tasks exist only as
pending writes of the checkpoint before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, RemoveMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.types import Interrupt, Send

from holdfast.checkpoints.langgraph_internals import CHECKPOINT_MAP, INTERRUPT, TASKS, graph_ns
from holdfast.graph.kept import kept_answer_id
from holdfast.graph.messages import ends_with_agent, is_in_doubt, unclosed_calls
from holdfast.graph.nodes.base import TOOL

# Older checkpoints are not searched: each one is a query, and calls do not stay open for that long.
_FURTHEST: Final = 50

M = TypeVar("M", bound=BaseMessage)

CallKey: TypeAlias = tuple[str, str]
"""The id of the message that made a call, and the id of the call."""

GetTuple: TypeAlias = Callable[[RunnableConfig], Awaitable[CheckpointTuple | None]]

MessageOf: TypeAlias = Callable[[Send], str | None]
"""Returns the id of the message whose call is the input of a task; `None` for another task."""


@dataclass
class Evidence:
    """The findings about the open calls, from the checkpoints before this run and from the ledger."""

    results: dict[CallKey, ToolMessage] = field(default_factory=dict)
    waiting: dict[CallKey, str] = field(default_factory=dict)
    """The calls that had paused, with the id of the pause."""
    approvals: set[str] = field(default_factory=set)
    """The ids of the pauses among these that ask for an approval."""
    kept: set[CallKey] = field(default_factory=set)
    """The calls whose requests stay open."""
    handed_out: set[str] = field(default_factory=set)
    """The ids of the messages whose calls had become tool tasks."""
    in_doubt: set[CallKey] = field(default_factory=set)
    never_begun: set[CallKey] = field(default_factory=set)
    """The calls that are not in the ledger."""
    decided: set[CallKey] = field(default_factory=set)
    """The calls among these that a person had decided about."""
    asked_about: set[str] = field(default_factory=set)
    """The ids of the calls in doubt that a person had been asked about."""
    run_is_saved: bool = False
    """Whether the checkpoint of this run was found. An effect that has not begun then cannot begin any more."""
    lost: dict[str, list[AIMessage]] = field(default_factory=dict)
    """The agent's messages from steps that were dropped, by the id of the message that they follow."""


async def search_checkpoints(
    get_tuple: GetTuple, messages: Sequence[AnyMessage], config: RunnableConfig, message_of: MessageOf
) -> Evidence:
    """Collect the evidence from the checkpoints before this run.

    The search goes back to the checkpoints on which the open calls became tasks, and to the last one that ended with
    the agent's answer. That is two steps (the input, and its merge into the state), and more if an earlier run died
    before this node had ended.

    Args:
        get_tuple: loads a checkpoint; None if it does not exist.
        messages: the messages of the thread.
        config: the config of this node's task.
        message_of: finds the message whose call is the input of a task.
    """
    evidence = Evidence()
    wanted = {group.message.id or "" for group in unclosed_calls(messages) if group.open}
    known = {message.id for message in messages}
    evidence.run_is_saved, saved = await _before_this_run(get_tuple, config)
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
        evidence.asked_about.update(_doubts_asked_in(saved))
        for message_id in _handed_out(saved, message_of) & wanted:
            _read_writes(evidence, _Handed.of(saved, message_of, message_id), saved)
            wanted.discard(message_id)
        if wanted.isdisjoint(message.id for message in then) and ends_with_agent(then):
            break
        # Any other checkpoint follows from the writes of its parent, so these were not dropped.
        dropped = saved.metadata.get("source") == "input"
        saved = await get_tuple(saved.parent_config) if saved.parent_config else None
    return evidence


async def _before_this_run(get_tuple: GetTuple, config: RunnableConfig) -> tuple[bool, CheckpointTuple | None]:
    """Load the checkpoint that this run went on from. None on a new thread, or without a checkpointer.

    Returns:
        Whether the checkpoint of this run itself is saved, and the one before it.
    """
    configurable = config["configurable"]
    thread_id = str(configurable.get("thread_id", ""))
    namespace = graph_ns(configurable.get("checkpoint_ns", ""))
    current = configurable.get(CHECKPOINT_MAP, {}).get(namespace)
    if not thread_id or current is None:
        return False, None

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
        return False, saved
    return True, await get_tuple(saved.parent_config) if saved.parent_config else None


def _handed_out(saved: CheckpointTuple, message_of: MessageOf) -> set[str]:
    """Return the ids of the messages whose calls are tasks of this checkpoint."""
    found = (message_of(send) for send in _sends(saved))
    return {message_id for message_id in found if message_id is not None}


def _sends(saved: CheckpointTuple) -> list[Send]:
    return [send for send in saved.checkpoint["channel_values"].get(TASKS, []) if isinstance(send, Send)]


@dataclass(frozen=True)
class _Handed:
    """The calls of a message that are tasks of a checkpoint.

    Beside new calls there may be calls of earlier messages, whose requests were kept open. Some endpoints give the
    calls of two messages the same id, so what a task has written is told by the ids of its answer and its request.
    """

    message_id: str
    is_new: bool
    """Whether the calls are tasks for the first time."""
    kept: Mapping[str, str]
    """The kept calls of all messages: the message's id by the id of the answer, and by that of the request."""

    @classmethod
    def of(cls, saved: CheckpointTuple, message_of: MessageOf, message_id: str) -> _Handed:
        sends = _sends(saved)
        kept: dict[str, str] = {}
        for arg in (send.arg for send in sends if _is_kept(send)):
            kept[arg["interrupt_id"]] = kept[kept_answer_id(arg["message_id"], arg["call"]["id"])] = arg["message_id"]
        is_new = any(message_of(send) == message_id for send in sends if not _is_kept(send))
        return cls(message_id, is_new, kept)

    def wrote(self, id_: str | None) -> bool:
        """Return whether an answer or a request with this id is about one of the calls."""
        owner = self.kept.get(id_ or "")
        return self.is_new if owner is None else owner == self.message_id


def _is_kept(send: Send) -> bool:
    return (
        send.node == TOOL
        and isinstance(send.arg, Mapping)
        and send.arg.keys() >= {"call", "message_id", "interrupt_id"}
    )


def _read_writes(evidence: Evidence, handed: _Handed, saved: CheckpointTuple) -> None:
    message_id = handed.message_id
    evidence.handed_out.add(message_id)
    for message in (message for message in _written(saved, ToolMessage) if handed.wrote(message.id)):
        evidence.results[message_id, message.tool_call_id] = message
        if is_in_doubt(message):
            # Its step was dropped before a person could be asked.
            evidence.in_doubt.add((message_id, message.tool_call_id))
    for pause in (pause for pause in _pauses(saved) if handed.wrote(pause.id)):
        evidence.waiting[message_id, str(pause.value.get("tool_call_id"))] = pause.id
        if pause.value.get("type") == "tool_approval":
            evidence.approvals.add(pause.id)


def _doubts_asked_in(saved: CheckpointTuple) -> Iterator[str]:
    for pause in _pauses(saved):
        if pause.value.get("type") == "effect_in_doubt":
            yield str(pause.value.get("tool_call_id"))


def _pauses(saved: CheckpointTuple) -> Iterator[Interrupt[Any]]:
    for _, channel, value in saved.pending_writes or []:
        if channel == INTERRUPT:
            for pause in value if isinstance(value, Sequence) else [value]:
                if isinstance(pause, Interrupt) and isinstance(pause.value, dict):
                    yield pause


def _written(saved: CheckpointTuple, kind: type[M]) -> list[M]:
    """Return the messages of a kind that tasks of this checkpoint added to the thread."""
    messages: list[M] = []
    for _, channel, value in saved.pending_writes or []:
        written: list[Any] = value if isinstance(value, list) else [value]
        # An earlier run of this node wrote the whole thread, with the evidence of that time. It is found again.
        if channel == "messages" and not any(isinstance(message, RemoveMessage) for message in written):
            messages.extend(message for message in written if isinstance(message, kind))
    return messages
