"""An agent that asks for refunds, and what becomes of its questions."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.tools import tool

from holdfast.checkpoints import HoldfastSaver
from holdfast.graph import Conversation, build_graph, needs_approval
from tests.support.graph_kit import ScriptedModel, calls, says

APPROVE = {"type": "approve"}
REJECT = {"type": "reject", "message": "no"}


class Desk:
    """An agent that asks for refunds, and how many were made."""

    def __init__(self, saver: HoldfastSaver, *orders: int, **approval: Any) -> None:
        self.refunded: list[int] = []
        self.saver = saver
        self.orders = orders or (1, 2)
        self.approval = approval
        self.agent = self._build()
        self.ada = Conversation(self.agent, "ada-1")

    def _build(self) -> Any:
        @needs_approval(**self.approval)
        @tool
        def refund(order_id: int) -> str:
            """Refund an order."""
            self.refunded.append(order_id)
            return f"order {order_id} refunded"

        wanted = calls(*(("refund", {"order_id": order}) for order in self.orders))
        model = ScriptedModel(lines=[wanted, says("done"), says("later")])
        return build_graph(model=model, tools=[refund], checkpointer=self.saver)

    def ids(self) -> list[str]:
        self.ada.send("Refund, please.")
        return [call.interrupt_id for call in self.ada.pending()]

    def record(self, interrupt_id: str, answer: Any, by: str | None = None) -> None:
        self.saver.interrupts.answer("ada-1", interrupt_id, answer, by)

    @property
    def answers(self) -> list[ToolMessage]:
        return [message for message in self.ada.history() if isinstance(message, ToolMessage)]
