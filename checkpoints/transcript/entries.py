"""The entries of a transcript: messages, events, and people's decisions. Pure, no I/O.

Messages come back as they were saved, without a new validation, and any program may have saved them. So a field of a
message may have any type here, and a value of the wrong type counts as absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, TypeAlias

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from holdfast.checkpoints.interrupts.decisions import APPROVAL_NOTE, EFFECT_NOTE, KEPT_NOTE, decision_word
from holdfast.checkpoints.serde.messages import source_of
from holdfast.checkpoints.transcript.blocks import Attachment, attachment_of, reasoning_beside, reasoning_of
from holdfast.checkpoints.transcript.undone import Undone


@dataclass(frozen=True, slots=True)
class Tokens:
    """The token counts that a model reported."""

    input: int
    output: int
    total: int


@dataclass(frozen=True, slots=True)
class CalledTool:
    """A tool call in a model's message."""

    id: str | None
    name: str
    args: Any
    """A dict, or the model's text if it is no JSON object."""
    problem: str | None = None
    """The reason why the call cannot be read."""


@dataclass(frozen=True, kw_only=True)
class MessageEntry:
    """A message."""

    kind: Literal["message"] = field(default="message", init=False)
    seq: int
    """The number of its row, which is its place in the order."""
    at: datetime
    """The time of its first save, in UTC, by the database's clock."""
    user_id: str | None
    """The user of the run that saved it."""
    run_id: str | None
    role: str
    """LangChain's type of the message, such as "human", "ai" or "tool"."""
    name: str | None
    message_id: str | None
    message: BaseMessage | None
    """A new object; `None` if the row cannot be read, and then `problem` says why."""
    column: str
    """The text of the message as the database has it in a column."""
    live: bool | None
    """True if the newest checkpoint's state still has the message. `None` if that is unknown: the messages are in a
    `DeltaChannel`, whose value only the graph can compute, or that checkpoint cannot be read."""
    replaced: bool
    """True if the message was edited: a later row has the same message with another text."""
    redacted_at: datetime | None
    undone: Undone | None = None
    """Who took it back, and when, if the turn was undone and the message is not live."""
    problem: str | None = None

    @cached_property
    def text(self) -> str:
        """The text of the message, without its other content."""
        try:
            return self.column if self.message is None else str(self.message.text)
        except (TypeError, AttributeError, LookupError, ValueError):  # its content is no content
            return self.column

    @property
    def blocks(self) -> list[Any] | None:
        """The content, if it is more than a text."""
        content = getattr(self.message, "content", None)
        return content if isinstance(content, list) else None

    @property
    def source(self) -> str | None:
        """What added a message in the role of a person, such as "summarization"; `None` for the words of a person."""
        return source_of(self.message)

    @property
    def attachments(self) -> list[Attachment]:
        """The images, recordings and other files in it."""
        return [attachment for block in self.blocks or () if (attachment := attachment_of(block)) is not None]

    @property
    def reasoning(self) -> str | None:
        """The reasoning that the model wrote, or a summary of it, if there is one."""
        within = [text for block in self.blocks or () if (text := reasoning_of(block))]
        return "\n\n".join(within) or reasoning_beside(_mapping(self.message, "additional_kwargs"))

    @property
    def model(self) -> str | None:
        """The name of the model that wrote it."""
        return _text(_mapping(self.message, "response_metadata").get("model_name"))

    @property
    def tokens(self) -> Tokens | None:
        """The model's token counts, if it reported any."""
        usage = _mapping(self.message, "usage_metadata")
        counts = [usage.get(f"{name}_tokens") for name in ("input", "output", "total")]
        return Tokens(*(count if type(count) is int else 0 for count in counts)) if usage else None

    @property
    def tool_calls(self) -> list[CalledTool]:
        """The tool calls in the message, including those that cannot be read."""
        if not isinstance(self.message, AIMessage):
            return []
        calls = [*_mappings(self.message, "tool_calls"), *_mappings(self.message, "invalid_tool_calls")]
        return [
            CalledTool(_text(call.get("id")), str(call.get("name")), call.get("args"), _text(call.get("error")))
            for call in calls
        ]

    @property
    def tool_call_id(self) -> str | None:
        """The call whose result this is."""
        return _text(getattr(self.message, "tool_call_id", None))

    @property
    def status(self) -> str | None:
        """The status of a tool's result, "success" or "error"; `None` for other messages."""
        return _text(getattr(self.message, "status", None)) if isinstance(self.message, ToolMessage) else None

    @property
    def approval(self) -> Mapping[str, Any] | None:
        """A person's decision about the call of this result: "decision", "by", "at" (ISO 8601), and "args" if the
        person changed them."""
        return self._note(APPROVAL_NOTE)

    @property
    def effect(self) -> Mapping[str, Any] | None:
        """The doubt about a call: "state" and "why", and after a person's decision "decision", "by" and "at"."""
        return self._note(EFFECT_NOTE)

    @property
    def waits(self) -> bool:
        """True for a tool's result that only says that its call waits for a person."""
        note = self._note(KEPT_NOTE)
        return note is not None and note.get("decided") is False

    def _note(self, key: str) -> Mapping[str, Any] | None:
        note = _mapping(self.message, "additional_kwargs").get(key) if isinstance(self.message, ToolMessage) else None
        return note if isinstance(note, Mapping) else None


@dataclass(frozen=True, kw_only=True)
class EventEntry:
    """An event in the thread that is no message."""

    kind: Literal["event"] = field(default="event", init=False)
    seq: int
    """The number of the message before it; 0 at the beginning."""
    no: int
    at: datetime
    event: str
    """The kind of event: "prompt" (the system prompt from here on), "restart", "undo", "fork", "import", and others."""
    by: str | None
    data: Any
    """Details as JSON; those of a "prompt" have its "text"."""


@dataclass(frozen=True, kw_only=True)
class ApprovalEntry:
    """An answer to a request of the graph, if no message has a note of it."""

    kind: Literal["approval"] = field(default="approval", init=False)
    seq: int
    """The number of the message before it; 0 at the beginning."""
    interrupt_id: str
    asked_at: datetime
    at: datetime
    by: str | None
    answer: Any
    """The answer as it was given; `None` if the request expired, or if the answer cannot be read."""
    expired: bool
    """True if no answer came in time."""
    run_id: str | None
    problem: str | None = None

    @property
    def decision(self) -> str | None:
        """The decision in one word, if the answer has one: "approve", "reject", "expired", …"""
        return "expired" if self.expired else decision_word(self.answer)


Entry: TypeAlias = MessageEntry | EventEntry | ApprovalEntry


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _mapping(message: BaseMessage | None, name: str) -> Mapping[str, Any]:
    found = getattr(message, name, None)
    return found if isinstance(found, Mapping) else {}


def _mappings(message: BaseMessage, name: str) -> Sequence[Mapping[str, Any]]:
    found = getattr(message, name, None)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []
