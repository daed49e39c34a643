"""What a turn of a conversation is made of, for who shows it: replies, pauses, and events as they come. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.types import StateSnapshot


@dataclass(frozen=True)
class Pending:
    """A call that waits for a person: for their approval, or, with `kind` "doubt", for what they know about it."""

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
    """What a turn came to."""

    messages: list[AnyMessage]
    """What the agent and its tools have said since the user's last message."""
    pending: list[Pending]
    """What waits for a person now."""

    @property
    def text(self) -> str:
        """The agent's last words of the turn; empty if it has said nothing yet."""
        return next((m.text for m in reversed(self.messages) if isinstance(m, AIMessage) and m.text), "")


@dataclass(frozen=True)
class Token:
    """A piece of the agent's text, as the model wrote it."""

    text: str


@dataclass(frozen=True)
class ToolCalled:
    """The model has asked for a tool."""

    name: str
    args: dict[str, Any]
    tool_call_id: str | None


@dataclass(frozen=True)
class ToolAnswered:
    """A call has its answer: the tool's result, or why it was not run."""

    name: str | None
    text: str
    failed: bool
    tool_call_id: str


@dataclass(frozen=True)
class Paused:
    """The turn ends here until a person has answered; comes once for each call that waits."""

    pending: Pending


_KINDS: Final[Mapping[str, Literal["approval", "doubt"]]] = {"tool_approval": "approval", "effect_in_doubt": "doubt"}

Event: TypeAlias = Token | ToolCalled | ToolAnswered | Paused


def pending_of(state: StateSnapshot, answered: Collection[str] = ()) -> list[Pending]:
    """The calls that wait in a state, in the order of the calls.

    Args:
        state: of the thread.
        answered: the ids of the pauses whose answers are on record, but not carried out yet.
    """
    found = [
        call_that_waits(pause.id, pause.value, state.created_at)
        for pause in state.interrupts
        if pause.id not in answered
    ]
    return [call for call in found if call is not None]


def call_that_waits(interrupt_id: str, value: Any, asked_at: str | None) -> Pending | None:
    """The call that a pause is about; `None` if it is about something else.

    Args:
        interrupt_id: of the pause.
        value: what a person is shown.
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
    """What the last turn of a thread came to. `answered`: see `pending_of`."""
    said = messages_of(state)
    asked = max((place for place, message in enumerate(said) if isinstance(message, HumanMessage)), default=-1)
    return Reply(said[asked + 1 :], pending_of(state, answered))


def unfinished(state: StateSnapshot, answered: Collection[str] = ()) -> bool:
    """Whether something is still to be done that waits for nobody: a run died, or failed, or another one answered, or
    an answer is not carried out. `answered`: see `pending_of`."""
    # Not `next`, which leaves out a task whose writes are saved: the step is not made yet.
    asked = {pause.id for pause in state.interrupts}
    return bool(state.tasks) and (not asked or not asked.isdisjoint(answered))


def messages_of(state: StateSnapshot) -> list[AnyMessage]:
    found: list[AnyMessage] = state.values.get("messages", []) if isinstance(state.values, Mapping) else []
    return found


@dataclass
class Turn:
    """A turn on its way: whether it goes on, and what was told of it."""

    state: StateSnapshot | None = None
    """After the last run; `None` before the first."""
    answered: Collection[str] = ()
    """See `pending_of`."""
    _mark: object = None
    _told: set[str | None] = field(default_factory=set)

    def goes_on(self) -> bool:
        """Whether a run is to be made. Two answers that were given at the same moment can leave tasks that nobody runs,
        so a turn goes on while some remain, and while that leads somewhere."""
        if self.state is None:
            return True
        left = frozenset(pause.id for pause in self.state.interrupts)
        before, self._mark = self._mark, (self.state.config["configurable"].get("checkpoint_id"), left, self.answered)
        return unfinished(self.state, self.answered) and self._mark != before

    @property
    def reply(self) -> Reply:
        """What it came to."""
        return reply(self.end, self.answered)

    @property
    def end(self) -> StateSnapshot:
        """Where the last run has left the thread."""
        if self.state is None:
            raise RuntimeError("No run was made yet.")
        return self.state

    def resumes(self, state: StateSnapshot) -> None:
        """The turn goes on from here: LangGraph's stream tells the results that this step already has once more."""
        self._told.update(message.id for message in messages_of(state))

    def events(self, mode: str, chunk: Any) -> Iterator[Event]:
        """What one chunk of LangGraph's stream, in the modes "messages" and "updates", says to a person."""
        for event, message_id in _events(mode, chunk):
            if message_id is None or message_id not in self._told:
                yield event
            self._told.add(message_id)


def _events(mode: str, chunk: Any) -> Iterator[tuple[Event, str | None]]:
    """Each with the id of the message, where that is told as a whole."""
    if mode == "messages":
        message, metadata = chunk
        # Only what the agent says: a tool may ask a model too. A model that does not stream gives a whole message.
        if metadata.get("langgraph_node") == "model" and isinstance(message, AIMessage) and message.text:
            yield Token(message.text), None
        return
    for node, update in chunk.items():
        if node == "settle":
            continue  # it gives the whole thread back, with what was missing
        for message in update.get("messages", []) if isinstance(update, Mapping) else []:
            if isinstance(message, AIMessage):
                for call in message.tool_calls:
                    yield ToolCalled(call["name"], call["args"], call["id"]), None
            elif isinstance(message, ToolMessage):
                answered = ToolAnswered(message.name, message.text, message.status == "error", message.tool_call_id)
                yield answered, message.id
