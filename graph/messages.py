"""Tool calls and their answers in a list of messages: pure functions, no I/O.

Providers refuse a history in which a tool call has no answer directly behind it. Endpoints may number their calls
from `call_0` in every turn, so an id alone does not say which call an answer belongs to: its place does.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, InvalidToolCall, ToolCall, ToolMessage

Call = ToolCall | InvalidToolCall


@dataclass
class CallGroup:
    """An AIMessage that calls tools, with the answers that its calls have, by position of the call."""

    message: AIMessage
    answers: dict[int, ToolMessage] = field(default_factory=dict)
    # An answer exists, but other messages stand between it and the call.
    displaced: bool = False

    @property
    def calls(self) -> list[Call]:
        return calls_of(self.message)

    @property
    def open(self) -> list[int]:
        """The positions of the calls without an answer."""
        return [position for position in range(len(self.calls)) if position not in self.answers]

    def take(self, answer: ToolMessage) -> bool:
        """Give the answer to the first open call of its id; False if there is none."""
        for position in self.open:
            if self.calls[position]["id"] == answer.tool_call_id:
                self.answers[position] = answer
                return True
        return False


def calls_of(message: AIMessage) -> list[Call]:
    """All calls of a message: those that could be read, then those whose arguments were not valid JSON."""
    return [*message.tool_calls, *message.invalid_tool_calls]


def with_unique_ids(message: AIMessage) -> AIMessage:
    """The message with an id of its own for each of its calls, and for itself.

    Some endpoints leave ids out or give two calls of one message the same id; then nobody can say which call an
    answer is for. The first call of an id keeps it.
    """
    seen: set[str] = set()

    def unique(call_id: str | None) -> str:
        name = call_id or f"call_{uuid.uuid4().hex[:12]}"
        while name in seen:
            name = f"{call_id}_{uuid.uuid4().hex[:6]}"
        seen.add(name)
        return name

    ids = [call["id"] for call in calls_of(message)]
    if message.id and None not in ids and "" not in ids and len(set(ids)) == len(ids):
        return message
    tool_calls = [ToolCall(**{**call, "id": unique(call["id"])}) for call in message.tool_calls]
    invalid = [InvalidToolCall(**{**call, "id": unique(call["id"])}) for call in message.invalid_tool_calls]
    return message.model_copy(
        update={"id": message.id or str(uuid.uuid4()), "tool_calls": tool_calls, "invalid_tool_calls": invalid}
    )


def read(messages: Sequence[AnyMessage]) -> list[AnyMessage | CallGroup]:
    """The messages with each call and its answers joined.

    An answer belongs to the nearest message before it that made a call of its id. One that answers nothing stays
    where it is: dropping it would lose what somebody wrote.
    """
    out: list[AnyMessage | CallGroup] = []
    latest: dict[str | None, CallGroup] = {}  # the nearest message that made a call of this id
    behind: CallGroup | None = None  # the message whose answers may stand here
    for message in messages:
        if isinstance(message, AIMessage) and calls_of(message):
            behind = CallGroup(message)
            out.append(behind)
            latest.update((call["id"], behind) for call in behind.calls)
            continue
        if isinstance(message, ToolMessage):
            owner = latest.get(message.tool_call_id)
            if owner is not None and owner.take(message):
                owner.displaced |= owner is not behind
                continue
        behind = None
        out.append(message)
    return out


def answered(messages: Sequence[AnyMessage]) -> bool:
    """Whether the agent has had the last word, or nobody a first one."""
    return not messages or isinstance(messages[-1], AIMessage)


def unanswered_before(messages: Sequence[AnyMessage]) -> bool:
    """Whether something was left without the agent's answer when the newest message came."""
    return len(messages) > 1 and isinstance(messages[-2], HumanMessage | ToolMessage)


def unclosed_calls(messages: Sequence[AnyMessage]) -> list[CallGroup]:
    """The messages whose calls have no answer, or one that does not stand directly behind them."""
    return [item for item in read(messages) if isinstance(item, CallGroup) and (item.open or item.displaced)]


def close_calls(messages: Sequence[AnyMessage], answer: Callable[[AIMessage, Call], ToolMessage]) -> list[AnyMessage]:
    """The messages with every call answered directly behind it, in call order.

    `answer(message, call)` supplies what is missing. Every other message keeps its id and its place among the others.
    """
    out: list[AnyMessage] = []
    for item in read(messages):
        if not isinstance(item, CallGroup):
            out.append(item)
            continue
        out.append(item.message)
        missing = set(item.open)
        if missing:
            out.extend(
                answer(item.message, call) if position in missing else item.answers[position]
                for position, call in enumerate(item.calls)
            )
        else:
            # In the order in which they already stand, so that a history that was in order stays as it was.
            out.extend(item.answers.values())
    return out
