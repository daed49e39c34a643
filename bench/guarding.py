"""The cost of the middleware round the tool calls of `create_agent`, where no tool is declared."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool

from bench.peers import Peer
from bench.rounds import Meter, Step, compare
from bench.sizes import FULL, Sizes
from holdfast.middleware import HoldfastMiddleware


class Reader(BaseChatModel):
    """A model that looks something up, and then says what it has found."""

    @property
    def _llm_type(self) -> str:
        return "reader"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        call = {"name": "look", "args": {"order_id": 1001}, "id": str(uuid.uuid4()), "type": "tool_call"}
        done = messages[-1].type == "tool"
        answer = AIMessage("It is there.") if done else AIMessage("I look.", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=answer)])


@tool
def look(order_id: int) -> str:
    """Look an order up."""
    return f"Order {order_id} is there."


def guarding(peer: Peer, meter: Meter, sizes: Sizes = FULL) -> dict[str, Any]:
    """Compare turns of an agent that has the middleware with those of one that has not, over our checkpointer.

    `cpu` and the others are those of `invoke`; `loop` has those of `ainvoke`.
    """
    rounds: dict[str, Any] = {"rounds": sizes.guarded_rounds, "turns": 1, "meter": meter}
    with peer.opened() as (saver, _), asyncio.Runner() as runner:
        found = compare(_turns(saver, [HoldfastMiddleware()]), _turns(saver, []), **rounds)
        on_loop = compare(_turns(saver, [HoldfastMiddleware()], runner), _turns(saver, [], runner), **rounds)
    return {"database": peer.database, **found, "loop": on_loop}


def _turns(saver: Any, middleware: list[Any], runner: asyncio.Runner | None = None) -> Step:
    """Return the step that runs a turn: two calls of the model, and one of a tool. Every tenth begins a thread."""
    agent = create_agent(Reader(), [look], middleware=middleware, checkpointer=saver)
    turns = 0
    config: dict[str, Any] = {}

    def turn() -> None:
        nonlocal turns
        if turns % 10 == 0:
            config["configurable"] = {"thread_id": str(uuid.uuid4())}
        turns += 1
        said: Any = {"messages": [("user", "Look order 1001 up.")]}
        if runner is None:
            agent.invoke(said, config)  # type: ignore[call-overload]
        else:
            runner.run(agent.ainvoke(said, config))  # type: ignore[call-overload]

    return turn
