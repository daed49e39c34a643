"""Tool calls and their answers in a list of messages. Pure functions, no I/O.

Providers refuse a history in which a tool call has no answer directly behind it. Endpoints may number their calls from
`call_0` in every turn, so an id alone does not say which call an answer belongs to; its position does.

A call is in doubt when it was started and its outcome is unknown. Its answer says so until a person has settled it.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, InvalidToolCall, ToolCall, ToolMessage
from typing_extensions import TypedDict

Call = ToolCall | InvalidToolCall

APPROVAL: Final = "approval"
"""Key of a ToolMessage's `additional_kwargs` for the decision about its call: {"decision", "by", "at"}, and "args" if
the call was edited: the arguments that ran in place of the model's."""

EFFECT: Final = "effect"
"""Key of a ToolMessage's `additional_kwargs` for a call that is or was in doubt: {"state": "in_doubt", "why"}, or after
the verdict {"state": "settled", "decision", "by", "at"}."""


SPEAKER: Final = "user_id"
"""Key of a HumanMessage's `additional_kwargs` for the user who said it, in a thread that several users share."""


@dataclass
class CallGroup:
    """An AIMessage with its tool calls and the answers to them, by the position of the call."""

    message: AIMessage
    calls: list[Call]
    answers: dict[int, ToolMessage] = field(default_factory=dict)
    displaced: bool = False
    """Whether other messages stand between the calls and one of their answers."""

    @property
    def open(self) -> list[int]:
        """The positions of the calls without an answer."""
        return [position for position in range(len(self.calls)) if position not in self.answers]

    def take(self, answer: ToolMessage) -> bool:
        """Assign the answer to the first open call with its id. Return False if there is none."""
        for position, call in enumerate(self.calls):
            if position not in self.answers and call["id"] == answer.tool_call_id:
                self.answers[position] = answer
                return True
        return False


def with_speaker(message: HumanMessage, user_id: str) -> HumanMessage:
    """Return the message with a note of the user who said it."""
    return message.model_copy(update={"additional_kwargs": {**message.additional_kwargs, SPEAKER: user_id}})


def calls_of(message: AIMessage) -> list[Call]:
    """Return all calls of a message: the valid ones, then those whose arguments are not valid JSON."""
    return [*message.tool_calls, *message.invalid_tool_calls]


def with_unique_ids(message: AIMessage) -> AIMessage:
    """Return the message with an id of its own for itself and for each of its calls.

    Some endpoints leave ids out or give two calls of a message the same id, and then an answer cannot be matched to its
    call. The first call with an id keeps it.
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


def group_calls(messages: Sequence[AnyMessage]) -> list[AnyMessage | CallGroup]:
    """Return the messages with each message that calls tools and its answers as one group.

    An answer belongs to the nearest earlier message that made a call with its id. An answer to no call stays where it
    is, because dropping it would lose a message.
    """
    items: list[AnyMessage | CallGroup] = []
    latest: dict[str | None, CallGroup] = {}  # the nearest group with a call of this id
    adjacent: CallGroup | None = None  # the group whose answers may stand at this position
    for message in messages:
        if isinstance(message, AIMessage) and (calls := calls_of(message)):
            adjacent = CallGroup(message, calls)
            items.append(adjacent)
            latest.update((call["id"], adjacent) for call in calls)
            continue
        if isinstance(message, ToolMessage):
            group = latest.get(message.tool_call_id)
            if group is not None and group.take(message):
                group.displaced |= group is not adjacent
                continue
        adjacent = None
        items.append(message)
    return items


def call_groups(messages: Sequence[AnyMessage]) -> list[CallGroup]:
    """Return the messages that call tools, each with its answers."""
    return [item for item in group_calls(messages) if isinstance(item, CallGroup)]


def unclosed_calls(messages: Sequence[AnyMessage]) -> list[CallGroup]:
    """Return the groups with a call that has no answer, or an answer that is not directly behind the calls."""
    return [group for group in call_groups(messages) if group.open or group.displaced]


def looks_closed(messages: Sequence[AnyMessage]) -> bool:
    """Return whether the messages have no unclosed calls, at a glance. It may say no where `unclosed_calls` finds none.

    It takes a third of the time, and is called before each call of a model.
    """
    waiting: set[str | None] = set()
    for message in messages:
        if isinstance(message, ToolMessage):
            if waiting and message.tool_call_id not in waiting:
                return False
            waiting.discard(message.tool_call_id)
        elif waiting:
            return False
        elif isinstance(message, AIMessage) and (message.tool_calls or message.invalid_tool_calls):
            calls = calls_of(message)
            waiting = {call["id"] for call in calls}
            if len(waiting) < len(calls):
                return False
    return not waiting


def close_calls(messages: Sequence[AnyMessage], answer: Callable[[AIMessage, Call], ToolMessage]) -> list[AnyMessage]:
    """Return the messages with every call answered directly behind it, in call order.

    `answer(message, call)` makes the missing answers. Every other message keeps its id and its order.
    """
    closed: list[AnyMessage] = []
    for item in group_calls(messages):
        if not isinstance(item, CallGroup):
            closed.append(item)
            continue
        closed.append(item.message)
        missing = set(item.open)
        if missing:
            closed.extend(
                answer(item.message, call) if position in missing else item.answers[position]
                for position, call in enumerate(item.calls)
            )
        else:
            # In their present order, so that a history without gaps does not change.
            closed.extend(item.answers.values())
    return closed


def ends_with_agent(messages: Sequence[AnyMessage]) -> bool:
    """Return whether the agent has answered the last message, or there is none."""
    return not messages or isinstance(messages[-1], AIMessage)


def lacks_answer_before(messages: Sequence[AnyMessage]) -> bool:
    """Return whether the message before the newest one is still without the agent's answer."""
    return len(messages) > 1 and isinstance(messages[-2], HumanMessage | ToolMessage)


# --- calls in doubt


class DoubtTask(TypedDict):
    """The input of a doubt task: a call in doubt, with the arguments that it ran with."""

    call: ToolCall
    message_id: str
    approval: dict[str, Any] | None


def is_in_doubt(answer: ToolMessage) -> bool:
    """Return whether an answer says that its call is in doubt."""
    return bool(answer.additional_kwargs.get(EFFECT, {}).get("state") == "in_doubt")


def newest_doubts(messages: Sequence[AnyMessage]) -> list[DoubtTask]:
    """Return a task for each call of the newest step that is in doubt."""
    answers: list[ToolMessage] = []
    for message in reversed(messages):
        if not isinstance(message, ToolMessage):
            return doubts_among(message, answers) if isinstance(message, AIMessage) else []
        answers.append(message)
    return []


def all_doubts(messages: Sequence[AnyMessage]) -> list[DoubtTask]:
    """Return a task for each call that is in doubt. When a turn ends, a person is asked about all of them again."""
    if not any(isinstance(message, ToolMessage) and is_in_doubt(message) for message in messages):
        return []
    return [task for group in call_groups(messages) for task in doubts_among(group.message, [*group.answers.values()])]


def doubts_among(message: AIMessage, answers: Sequence[ToolMessage]) -> list[DoubtTask]:
    """Return a task for each call of a message whose answer says that it is in doubt."""
    doubts = {answer.tool_call_id: answer for answer in answers if is_in_doubt(answer)}
    tasks: list[DoubtTask] = []
    for call in calls_of(message) if doubts else []:
        if call["type"] == "tool_call" and (answer := doubts.get(call["id"] or "")):
            approval = answer.additional_kwargs.get(APPROVAL)
            args = (approval or {}).get("args", call["args"])
            edited = ToolCall(**{**call, "args": args})
            tasks.append(DoubtTask(call=edited, message_id=message.id or "", approval=approval))
    return tasks


def ended_before_verdict(messages: Sequence[AnyMessage]) -> bool:
    """Return whether the turn had ended already when a person settled an older call.

    The verdict takes the place of the call's answer, so the agent's last message stays the last one.
    """
    if not messages or not isinstance(messages[-1], AIMessage) or calls_of(messages[-1]):
        return False
    return any(isinstance(message, ToolMessage) and EFFECT in message.additional_kwargs for message in messages)
