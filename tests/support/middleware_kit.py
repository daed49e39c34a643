"""Agents of LangChain's `create_agent` with the middleware, and programs that run one in a process of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import BaseTool, tool
from langgraph.types import Command

from holdfast.checkpoints import HoldfastSaver, Waiting, open_checkpointer, times
from holdfast.middleware import HoldfastMiddleware
from tests.support.children import die
from tests.support.graph_kit import ScriptedModel, calls, says
from tests.support.kit import thread


class Shop:
    """An agent of `create_agent` with one tool, `refund`, and what the tool has done."""

    def __init__(
        self,
        saver: Any,
        *lines: AIMessage,
        declare: Callable[[BaseTool], BaseTool] = lambda tool: tool,
        tools: Sequence[BaseTool] = (),
        middleware: Sequence[Any] | None = None,
        behave: Callable[[], Any] = lambda: None,
    ) -> None:
        self.saver = saver
        self.refunded: list[int] = []
        self.behave = behave

        @tool
        def refund(order: int) -> Any:
            """Refund an order."""
            self.refunded.append(order)
            return self.behave() or f"order {order} refunded"

        self.refund = declare(refund)
        self.model = ScriptedModel(lines=[*(lines or (calls(("refund", {"order": 1})), says("done")))])
        wrapped = [HoldfastMiddleware(interrupt_on=["refund"])] if middleware is None else middleware
        self.agent = create_agent(self.model, [self.refund, *tools], middleware=wrapped, checkpointer=saver)

    def say(self, text: str = "go", **kwargs: Any) -> dict[str, Any]:
        return self.agent.invoke({"messages": [("user", text)]}, thread(), **kwargs)  # type: ignore[call-overload, no-any-return]

    def go_on(self, **resume: Any) -> dict[str, Any]:
        """Go on, with an answer to the only request if there is one."""
        answer = Command(resume={self.asked().interrupt_id: resume}) if resume else None
        return self.agent.invoke(answer, thread())  # type: ignore[call-overload, no-any-return]

    def waiting(self) -> list[Waiting]:
        return self.saver.interrupts.waiting(thread_id="ada-1")  # type: ignore[no-any-return]

    def asked(self) -> Waiting:
        [request] = self.waiting()
        return request

    def record(self, by: str = "Ada", **answer: Any) -> None:
        """Answer the only request from the inbox, and do not carry the answer out."""
        self.saver.interrupts.answer("ada-1", self.asked().interrupt_id, answer, by=by)

    @property
    def messages(self) -> list[Any]:
        return list(self.agent.get_state(thread()).values["messages"])  # type: ignore[arg-type]

    @property
    def answers(self) -> list[ToolMessage]:
        return [message for message in self.messages if isinstance(message, ToolMessage)]

    @property
    def ended(self) -> bool:
        return not self.agent.get_state(thread()).next  # type: ignore[arg-type]


# --- programs for processes of their own


def shop_in_file(saver: HoldfastSaver, effects: str, *, dies: bool = False) -> Any:
    """A shop whose refunds are lines in a file."""

    def refund() -> None:
        with Path(effects).open("a") as file:
            file.write("refund\n")
        if dies:
            die()

    return Shop(saver, behave=refund)


def ask(url: str, effects: str) -> str:
    """Say something, and return the id of the request."""
    with open_checkpointer(url) as saver:
        shop = shop_in_file(saver, effects)
        shop.say()
        return shop.asked().interrupt_id


def carry_out(url: str, effects: str, dies: bool) -> list[str]:
    """Go on with the thread, die in the tool if so wanted, and return the types of the requests that wait then."""
    times.EFFECT_TTL, times.EFFECT_RENEWAL = 0.3, 0.1  # type: ignore[misc]
    with open_checkpointer(url) as saver:
        shop = shop_in_file(saver, effects, dies=dies)
        shop.model.lines[:] = [says("done")]
        shop.go_on()
        return [request.value["type"] for request in shop.waiting()]
