"""What a transcript consists of: messages, events, and decisions of people. Pure, no I/O.

Messages come back as they were saved, without being validated again, and anybody may have saved them. So what is read
off a message here may be of any type, and what does not fit counts as not said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

# Where a message for a tool's result says who decided about the call; the agent in `graph/` does.
_APPROVAL: Final = "approval"
_EFFECT: Final = "effect"


class Tokens(NamedTuple):
    """What a model counted."""

    input: int
    output: int
    total: int


class CalledTool(NamedTuple):
    """A tool call that a model asked for."""

    id: str | None
    name: str
    args: Any
    """A dict, or the text that the model wrote where that is no JSON object."""
    problem: str | None = None
    """Why the call cannot be read."""


@dataclass(frozen=True, kw_only=True)
class MessageEntry:
    """A message that was said."""

    kind: Literal["message"] = field(default="message", init=False)
    seq: int
    """Its row, and so its place in the order."""
    at: float
    """When it was saved first: epoch seconds, by the database's clock."""
    user_id: str | None
    """In whose run it was said."""
    run_id: str | None
    role: str
    """LangChain's type of the message, such as "human", "ai" or "tool"."""
    name: str | None
    message_id: str | None
    message: BaseMessage | None
    """A new object; `None` if it cannot be made, and then `problem` says why."""
    column: str
    """The text that the database has of it."""
    live: bool | None
    """Whether the newest checkpoint's state still has it. `None`: only the graph could say, because it keeps its
    messages in a `DeltaChannel`; or that checkpoint cannot be read."""
    replaced: bool
    """Whether it was edited: the same message was said again later, in another wording."""
    redacted_at: float | None
    problem: str | None = None

    @cached_property
    def text(self) -> str:
        """Its text, without what else is in it."""
        try:
            return self.column if self.message is None else str(self.message.text)
        except (TypeError, AttributeError, LookupError, ValueError):  # its content is none
            return self.column

    @property
    def blocks(self) -> list[Any] | None:
        """Its content, if that is more than a text."""
        content = getattr(self.message, "content", None)
        return content if isinstance(content, list) else None

    @property
    def model(self) -> str | None:
        """The model that said it."""
        return _text(_mapping(self.message, "response_metadata").get("model_name"))

    @property
    def tokens(self) -> Tokens | None:
        """What the model counted, if it did."""
        usage = _mapping(self.message, "usage_metadata")
        counts = [usage.get(f"{name}_tokens") for name in Tokens._fields]
        return Tokens(*(count if type(count) is int else 0 for count in counts)) if usage else None

    @property
    def tool_calls(self) -> list[CalledTool]:
        """The calls that it asks for, also those that cannot be read."""
        if not isinstance(self.message, AIMessage):
            return []
        calls = [*_mappings(self.message, "tool_calls"), *_mappings(self.message, "invalid_tool_calls")]
        return [
            CalledTool(_text(call.get("id")), str(call.get("name")), call.get("args"), _text(call.get("error")))
            for call in calls
        ]

    @property
    def tool_call_id(self) -> str | None:
        """Which call it is the result of."""
        return _text(getattr(self.message, "tool_call_id", None))

    @property
    def status(self) -> str | None:
        """Of a tool's result: "success" or "error"."""
        return _text(getattr(self.message, "status", None)) if isinstance(self.message, ToolMessage) else None

    @property
    def approval(self) -> Mapping[str, Any] | None:
        """Who decided about the call that it is the result of, if it says so: "decision", "by", "at" (ISO 8601), and
        "args" where a person changed them."""
        return self._record(_APPROVAL)

    @property
    def effect(self) -> Mapping[str, Any] | None:
        """Of a call whose outcome was not known, if it says so: "state", "why"; or "decision", "by" and "at"."""
        return self._record(_EFFECT)

    def _record(self, key: str) -> Mapping[str, Any] | None:
        found = _mapping(self.message, "additional_kwargs").get(key) if isinstance(self.message, ToolMessage) else None
        return found if isinstance(found, Mapping) else None


@dataclass(frozen=True, kw_only=True)
class EventEntry:
    """Something that happened in the thread besides."""

    kind: Literal["event"] = field(default="event", init=False)
    seq: int
    """The message that it comes after; 0: the beginning."""
    no: int
    at: float
    event: str
    """What happened: "prompt", the system prompt from here on; "restart", "undo", "fork", "import", and others."""
    by: str | None
    data: Any
    """What JSON has of it; a "prompt" has its "text"."""


@dataclass(frozen=True, kw_only=True)
class ApprovalEntry:
    """A question of the graph that was answered, where no message says so itself."""

    kind: Literal["approval"] = field(default="approval", init=False)
    seq: int
    """The message that it comes after; 0: the beginning."""
    interrupt_id: str
    asked_at: float
    at: float
    by: str | None
    answer: Any
    """As it was given; `None` if nobody answered in time, or if it cannot be read."""
    expired: bool
    """Nobody answered in time."""
    run_id: str | None
    problem: str | None = None

    @property
    def decision(self) -> str | None:
        """What was decided, in a word, if the answer has one: "approve", "reject", "expired", …"""
        if self.expired:
            return "expired"
        return _text(self.answer.get("type")) if isinstance(self.answer, Mapping) else None


Entry: TypeAlias = MessageEntry | EventEntry | ApprovalEntry


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _mapping(message: BaseMessage | None, name: str) -> Mapping[str, Any]:
    found = getattr(message, name, None)
    return found if isinstance(found, Mapping) else {}


def _mappings(message: BaseMessage, name: str) -> Sequence[Mapping[str, Any]]:
    found = getattr(message, name, None)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []
