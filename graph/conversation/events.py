"""The parts of a turn that an application shows: its reply, and events as they come. Pure, no I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage, ToolMessage
from langgraph.types import StateSnapshot

from holdfast.graph.conversation.agents import AgentProfile
from holdfast.graph.conversation.answer import Recorded
from holdfast.graph.conversation.requests import Pending, pending_of
from holdfast.graph.kept import is_waiting


@dataclass(frozen=True)
class Reply:
    """The outcome of a turn."""

    text: str
    """The agent's last text of the turn; empty if it has written none yet."""
    messages: list[AnyMessage]
    """The messages of the agent and its tools since the user's last message."""
    pending: list[Pending]
    """The requests that wait for a person now."""

    def without_messages(self) -> Reply:
        """Return the outcome for a person who may decide in the thread, and may not read it."""
        return Reply("", [], self.pending)


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
    """The end of a turn at a request that waits for a person. There is one for each such request."""

    pending: Pending


@dataclass(frozen=True)
class Done:
    """The end of a turn, and the last event of its stream. A stream without it was cut off."""

    reply: Reply
    """The outcome, as `send` returns it."""

    @property
    def text(self) -> str:
        """The whole text of the reply."""
        return self.reply.text


Event: TypeAlias = Token | ToolCalled | ToolAnswered | Paused | Done


def reply(messages: Sequence[AnyMessage], pending: list[Pending]) -> Reply:
    """Return the outcome of the last turn of a thread.

    Args:
        messages: all messages of the thread.
        pending: the requests that wait.
    """
    turn = since_person(messages)
    texts = (str(message.text) for message in reversed(turn) if isinstance(message, AIMessage) and message.text)
    return Reply(next(texts, ""), turn, pending)


def since_person(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Return the messages after the last one of a person."""
    start = max((place for place, message in enumerate(messages) if isinstance(message, HumanMessage)), default=-1)
    return list(messages[start + 1 :])


def unfinished(state: StateSnapshot, answered: Collection[str] = ()) -> bool:
    """Return whether tasks are left that do not wait for a person. `answered`: see `pending_of`.

    A run died or failed, or another run took one of two answers, or an answer is not carried out yet.
    """
    # Not `next`, which leaves out a task whose writes are saved although the step has not ended.
    pauses = {pause.id for pause in state.interrupts}
    return bool(state.tasks) and (not pauses or not pauses.isdisjoint(answered))


class Look(NamedTuple):
    """The present state of a thread."""

    state: StateSnapshot
    recorded: Recorded
    """The answers on record that are not carried out yet; none if nothing waits."""
    input: Any
    """The input of a run that goes on from here."""
    kept: Sequence[Pending] = ()
    """The requests that wait and that the state does not show, because a message has not been answered yet."""


@dataclass
class Turn:
    """The progress of a turn: whether it goes on, and which messages its events have reported."""

    profile: AgentProfile
    state: StateSnapshot | None = None
    """The state after the last run; `None` before the first."""
    answered: Collection[str] = ()
    """See `pending_of`."""
    kept: Sequence[Pending] = ()
    """See `Look`."""
    _progress: object = None
    _runs: int = 0
    _reported: set[str | None] = field(default_factory=set)

    def goes_on(self) -> bool:
        """Return whether another run is needed.

        Two answers that come at the same moment can leave tasks that no run takes. So a turn goes on while tasks are
        left, and while the last run has changed something. At a breakpoint of the graph it ends: what is left waits
        there.
        """
        self._runs += 1
        if self.state is None:
            return True
        pauses = frozenset(pause.id for pause in self.state.interrupts)
        before = self._progress
        self._progress = (self.state.config["configurable"].get("checkpoint_id"), pauses, frozenset(self.answered))
        is_stopped = self.profile.has_breakpoints and self._runs > 1
        return unfinished(self.state, self.answered) and self._progress != before and not is_stopped

    def take(self, look: Look) -> Any:
        """Take the state after a run into account, and return the input of a further run."""
        self.state, self.answered, self.kept = look.state, look.recorded, look.kept
        return look.input

    @property
    def reply(self) -> Reply:
        """The outcome."""
        if self.state is None:
            raise RuntimeError("The turn has made no run yet. Ask for its reply when it is over.")
        return reply(self.profile.messages(self.state), [*pending_of(self.state, self.answered), *self.kept])

    def resume(self, state: StateSnapshot) -> None:
        """Go on from a state. LangGraph's stream repeats the results that its step already has; they are not new."""
        self._reported.update(message.id for message in self.profile.messages(state) if not is_waiting(message))

    def events(self, mode: str, chunk: Any) -> Iterator[Event]:
        """Yield the new events in a chunk of LangGraph's stream in the modes "messages" and "updates"."""
        if mode == "messages":
            message, metadata = chunk
            # The agent's text only: a tool may call a model too. A model that does not stream gives one whole message.
            is_text = isinstance(message, AIMessage) and message.text
            if is_text and self.profile.speaks(metadata.get("langgraph_node", "")):
                yield Token(message.text)
            return
        for update in _updates_in(chunk):
            for message in self._new_messages(update.get(self.profile.messages_key)):
                yield from _events_of(message)

    def _new_messages(self, written: Any) -> Iterator[AnyMessage]:
        messages = written if isinstance(written, list) else [written]
        if any(isinstance(message, RemoveMessage) for message in messages):
            # The whole thread, with its gaps closed or shortened. What is new in it is at its end.
            messages = since_person(messages)
        for message in messages:
            if isinstance(message, AIMessage | ToolMessage) and (
                message.id is None or message.id not in self._reported
            ):
                self._reported.add(message.id)
                yield message


def _updates_in(chunk: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield what the nodes of a chunk have written. A node that runs more than once has a list."""
    for written in chunk.values():
        for update in written if isinstance(written, list) else [written]:
            if isinstance(update, Mapping):
                yield update


def _events_of(message: AnyMessage) -> Iterator[Event]:
    if isinstance(message, AIMessage):
        for call in message.tool_calls:
            yield ToolCalled(call["name"], call["args"], call["id"])
    elif isinstance(message, ToolMessage):
        yield ToolAnswered(message.name, message.text, message.status == "error", message.tool_call_id)
