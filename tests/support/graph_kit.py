"""Shared by the tests of graph/: a model with a script, and a strict check of the history it is shown."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import Field

from holdfast.checkpoints import open_checkpointer
from holdfast.graph import build_graph, needs_approval

THREAD = {"configurable": {"thread_id": "ada-1"}}


class StrictModel(BaseChatModel):
    """Refuses a history as providers do."""

    def line(self, messages: list[BaseMessage]) -> AIMessage:
        """Return its answer to these messages."""
        raise NotImplementedError

    @property
    def _llm_type(self) -> str:
        return "strict"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **kwargs: Any) -> ChatResult:
        refuse_as_providers_do(messages)
        return ChatResult(generations=[ChatGeneration(message=self.line(messages))])


class ScriptedModel(StrictModel):
    """Says its lines one after the other."""

    lines: list[AIMessage]
    seen: list[list[BaseMessage]] = Field(default_factory=list)

    def line(self, messages: list[BaseMessage]) -> AIMessage:
        said = self.lines[len(self.seen)]
        self.seen.append(list(messages))
        return said.model_copy()


def refuse_as_providers_do(messages: Sequence[BaseMessage]) -> None:
    """Every call is answered right behind its message, and nothing else is answered."""
    open_ids: list[str | None] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            assert message.tool_call_id in open_ids, f"an answer to nothing: {message!r}"
            open_ids.remove(message.tool_call_id)
            continue
        assert not open_ids, f"calls without an answer: {open_ids}"
        if isinstance(message, AIMessage):
            open_ids = [call["id"] for call in [*message.tool_calls, *message.invalid_tool_calls]]
            assert len(set(open_ids)) == len(open_ids)
    assert not open_ids, f"calls without an answer: {open_ids}"


def says(text: str) -> AIMessage:
    return AIMessage(text)


def calls(*wanted: tuple[str, dict[str, Any]], ids: Sequence[str | None] | None = None) -> AIMessage:
    """An AIMessage that calls tools, numbered from call_0 as some endpoints do in every turn."""
    numbers = ids or [f"call_{position}" for position in range(len(wanted))]
    return AIMessage(
        "",
        tool_calls=[
            {"name": name, "args": args, "id": number, "type": "tool_call"}
            for (name, args), number in zip(wanted, numbers, strict=True)
        ],
    )


# The agent works on any LangGraph saver, and on ours.
SAVERS = ["InMemorySaver", "memory://"]


@contextmanager
def opened(saver: str) -> Iterator[Any]:
    if saver == "InMemorySaver":
        yield InMemorySaver()
    else:
        with open_checkpointer(saver) as checkpointer:
            yield checkpointer


class Desk:
    """Tools whose effects can be counted, and a saver for threads that use them."""

    def __init__(self, saver: Any = None) -> None:
        self.saver = saver
        self.looked_up: list[int] = []
        self.refunded: list[int] = []

    def tools(self, **approval: Any) -> list[BaseTool]:
        @tool
        def look(order_id: int) -> str:
            """Look an order up."""
            self.looked_up.append(order_id)
            return f"order {order_id} exists"

        @needs_approval(**approval)
        @tool
        def refund(order_id: int, reason: str = "") -> str:
            """Refund an order."""
            self.refunded.append(order_id)
            return f"order {order_id} refunded"

        @tool
        def explode() -> str:
            """Always fails."""
            raise RuntimeError("the fuse blew")

        return [look, refund, explode]


class Talk:
    """A thread with a scripted model: say something, answer what waits, read what is there."""

    def __init__(self, saver: Any, *lines: AIMessage, tools: Sequence[BaseTool | Callable[..., Any]], **config: Any):
        self.model = ScriptedModel(lines=list(lines))
        self.agent = build_graph(model=self.model, tools=tools, checkpointer=saver)
        self.thread: dict[str, Any] = {"configurable": {"thread_id": "ada-1", **config}}

    def say(self, text: str, **kwargs: Any) -> dict[str, Any]:
        return self.agent.invoke({"messages": [{"role": "user", "content": text}]}, self.thread, **kwargs)

    def answer(self, interrupt_id: str, **answer: Any) -> dict[str, Any]:
        return self.agent.invoke(Command(resume={interrupt_id: answer}), self.thread)

    @property
    def pending(self) -> dict[str, str]:
        """The id of each pause, by the order that it is about."""
        state = self.agent.get_state(self.thread)
        return {f"{i.value['name']} {i.value['args']['order_id']}": i.id for i in state.interrupts}

    @property
    def messages(self) -> list[Any]:
        return list(self.agent.get_state(self.thread).values.get("messages", []))

    @property
    def answers(self) -> list[ToolMessage]:
        return [message for message in self.messages if isinstance(message, ToolMessage)]

    @property
    def kinds(self) -> str:
        """The messages as one letter each: h, a, t."""
        return "".join(message.type[0] for message in self.messages)
