"""A world that tools change, and talks with agents that have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, tool

from holdfast.checkpoints import HoldfastSaver
from holdfast.graph import IdempotencyKey, once
from tests.support.graph_kit import Talk, calls, says
from tests.support.kit import rows


class World:
    """A world that tools change: the changes made, and the idempotency keys they were made under."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.keys: list[str] = []
        self.behave: Callable[[], Any] = lambda: None
        """Called by the tool after it has changed the world."""

    def tool(self, **declared: Any) -> BaseTool:
        @once(**declared)
        @tool
        def pay(order_id: int, key: IdempotencyKey) -> Any:
            """Pay."""
            self.done.append(order_id)
            self.keys.append(key)
            return self.behave() or f"order {order_id} is paid"

        return pay


def talk_with(saver: HoldfastSaver, *tools: BaseTool, lines: int = 1) -> Talk:
    asked = [calls(("pay", {"order_id": number})) for number in range(1, lines + 1)]
    said = [line for call in asked for line in (call, says("so be it"))]
    return Talk(saver, *said, tools=tools)


def ledger(saver: HoldfastSaver) -> list[str]:
    return [state for (state,) in rows(saver, "SELECT state FROM holdfast_effects ORDER BY started_at")]


def asked(talk: Talk) -> dict[str, Any]:
    [pause] = talk.agent.get_state(talk.thread).interrupts
    return dict(pause.value)


def settle(talk: Talk, **answer: Any) -> ToolMessage:
    [pause] = talk.agent.get_state(talk.thread).interrupts
    talk.answer(pause.id, **answer)
    return talk.answers[-1]


def crash() -> None:
    raise KeyboardInterrupt
