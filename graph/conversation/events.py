"""The parts of a turn that an application shows: replies, pauses, and events as they come. Pure, no I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.types import StateSnapshot

from holdfast.graph.nodes.base import CLOSE_CALLS, MODEL


@dataclass(frozen=True)
class Pending:
    """A call that waits for a person: for an approval, or, with `kind` "doubt", for a verdict on what happened."""

    interrupt_id: str
    tool_call_id: str
    name: str
    args: dict[str, Any]
    description: str
    asked_at: str | None
    """ISO 8601, UTC."""
    kind: Literal["approval", "doubt"] = "approval"


@dataclass(frozen=True)
class Reply:
    """The outcome of a turn."""

    messages: list[AnyMessage]
    """The messages of the agent and its tools since the user's last message."""
    pending: list[Pending]
    """The calls that wait for a person now."""

    @property
    def text(self) -> str:
        """The agent's last text of the turn; empty if it has written none yet."""
        return next((m.text for m in reversed(self.messages) if isinstance(m, AIMessage) and m.text), "")


@dataclass(frozen=True)
class Token:
    """A piece of the agent's text, as the model wrote it."""

    text: str


@dataclass(frozen=True)
class ToolCalled:
    """A call of a tool by the model."""

    name: str
    args: dict[str, Any]
    tool_call_id: str | None


@dataclass(frozen=True)
class ToolAnswered:
    """The answer to a call: the tool's result, or the reason why it did not run."""

    name: str | None
    text: str
    failed: bool
    tool_call_id: str


@dataclass(frozen=True)
class Paused:
    """The end of a turn at a call that waits for a person. There is one for each such call."""

    pending: Pending


_KINDS: Final[Mapping[str, Literal["approval", "doubt"]]] = {"tool_approval": "approval", "effect_in_doubt": "doubt"}

Event: TypeAlias = Token | ToolCalled | ToolAnswered | Paused


def pending_of(state: StateSnapshot, answered: Collection[str] = ()) -> list[Pending]:
    """Return the calls of a state that wait for a person, in the order of the calls.

    Args:
        state: the state of the thread.
        answered: the ids of the pauses whose answers are on record, but not carried out yet.
    """
    calls = [
        pending_call(pause.id, pause.value, state.created_at)
        for pause in state.interrupts
        if pause.id not in answered
    ]  # fmt: skip
    return [call for call in calls if call is not None]


def pending_call(interrupt_id: str, value: Any, asked_at: str | None) -> Pending | None:
    """Return the call that a pause is about; `None` if it is about something else.

    Args:
        interrupt_id: the id of the pause.
        value: the value of the interrupt.
        asked_at: ISO 8601, UTC.
    """
    if not isinstance(value, Mapping) or value.get("type") not in _KINDS:
        return None
    return Pending(
        interrupt_id=interrupt_id,
        tool_call_id=str(value["tool_call_id"]),
        name=str(value["name"]),
        args=dict(value["args"]),
        description=str(value["description"]),
        asked_at=asked_at,
        kind=_KINDS[value["type"]],
    )


def reply(state: StateSnapshot, answered: Collection[str] = ()) -> Reply:
    """Return the outcome of the last turn of a thread. `answered`: see `pending_of`."""
    messages = messages_of(state)
    start = max((place for place, message in enumerate(messages) if isinstance(message, HumanMessage)), default=-1)
    return Reply(messages[start + 1 :], pending_of(state, answered))


def unfinished(state: StateSnapshot, answered: Collection[str] = ()) -> bool:
    """Return whether tasks are left that do not wait for a person. `answered`: see `pending_of`.

    A run died or failed, or another run took one of two answers, or an answer is not carried out yet.
    """
    # Not `next`, which leaves out a task whose writes are saved although the step has not ended.
    pauses = {pause.id for pause in state.interrupts}
    return bool(state.tasks) and (not pauses or not pauses.isdisjoint(answered))


def messages_of(state: StateSnapshot) -> list[AnyMessage]:
    """Return the messages of a state."""
    messages: list[AnyMessage] = state.values.get("messages", []) if isinstance(state.values, Mapping) else []
    return messages


@dataclass
class Turn:
    """The progress of a turn: whether it goes on, and which answers its events have reported."""

    state: StateSnapshot | None = None
    """The state after the last run; `None` before the first."""
    answered: Collection[str] = ()
    """See `pending_of`."""
    _progress: object = None
    _reported: set[str | None] = field(default_factory=set)

    def goes_on(self) -> bool:
        """Return whether another run is needed.

        Two answers that come at the same moment can leave tasks that no run takes. So a turn goes on while tasks are
        left, and while the last run has changed something.
        """
        if self.state is None:
            return True
        pauses = frozenset(pause.id for pause in self.state.interrupts)
        before = self._progress
        self._progress = (self.state.config["configurable"].get("checkpoint_id"), pauses, self.answered)
        return unfinished(self.state, self.answered) and self._progress != before

    @property
    def reply(self) -> Reply:
        """The outcome."""
        if self.state is None:
            raise RuntimeError("The turn has made no run yet. Ask for its reply when it is over.")
        return reply(self.state, self.answered)

    def resume(self, state: StateSnapshot) -> None:
        """Go on from a state. LangGraph's stream repeats the results that its step already has; they are not new."""
        self._reported.update(message.id for message in messages_of(state))

    def events(self, mode: str, chunk: Any) -> Iterator[Event]:
        """Yield the new events in a chunk of LangGraph's stream in the modes "messages" and "updates"."""
        for event, message_id in _events(mode, chunk):
            if message_id is None or message_id not in self._reported:
                yield event
            self._reported.add(message_id)


def _events(mode: str, chunk: Any) -> Iterator[tuple[Event, str | None]]:
    """Yield each event with the id of its message, if it reports a whole message."""
    if mode == "messages":
        message, metadata = chunk
        # The agent's text only: a tool may call a model too. A model that does not stream gives one whole message.
        if metadata.get("langgraph_node") == MODEL and isinstance(message, AIMessage) and message.text:
            yield Token(message.text), None
        return
    for node, update in chunk.items():
        if node == CLOSE_CALLS:
            continue  # it returns the whole thread, with the gaps closed
        for message in update.get("messages", []) if isinstance(update, Mapping) else []:
            if isinstance(message, AIMessage):
                for call in message.tool_calls:
                    yield ToolCalled(call["name"], call["args"], call["id"]), None
            elif isinstance(message, ToolMessage):
                answer = ToolAnswered(message.name, message.text, message.status == "error", message.tool_call_id)
                yield answer, message.id
