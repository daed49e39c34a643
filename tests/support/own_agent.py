"""A program with agents of its own, as a user has it in a folder: `holdfast … --agent MODULE:NAME`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

PROGRAM: Final = """
from typing import TypedDict

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

from tests.support.graph_kit import StrictModel, calls, says


class Model(StrictModel):
    def line(self, messages):
        results = [message.text for message in messages if isinstance(message, ToolMessage)]
        if isinstance(messages[-1], ToolMessage):
            return says(f"Done: {results[-1]}")
        orders = [int(word) for word in messages[-1].text.split() if word.isdigit()]
        if not orders:
            return says(f"You said: {messages[-1].text}")
        ids = [f"call-{len(messages)}-{order}" for order in orders]
        return calls(*(("refund", {"order": order}) for order in orders), ids=ids)


@tool
def refund(order: int) -> str:
    "Refund an order."
    with open(__file__ + ".effects", "a") as file:
        file.write(f"refund {order}\\n")
    return f"order {order} refunded"


def make(checkpointer):
    asks = HumanInTheLoopMiddleware({"refund": {"allowed_decisions": ["approve", "edit", "reject"]}})
    return create_agent(Model(), [refund], middleware=[asks], checkpointer=checkpointer)


def ask(state):
    return {"messages": [AIMessage(f"You said: {interrupt({'question': 'Your name?'})}")]}


agent = make(None)
builder = StateGraph(MessagesState).add_node("ask", ask).add_edge(START, "ask")
class Numbers(TypedDict):
    numbers: list[int]


counting = StateGraph(Numbers).add_node("count", lambda state: {}).add_edge(START, "count")
stopping = create_agent(Model(), [refund], interrupt_before=["tools"])
number = 7


def make_nothing():
    return 7


def make_builder():
    return builder


def make_with(saver):
    return make(saver)


def make_with_config(config):
    return make(None)


async def make_later():
    return make(None)


def make_of_two(model, tools):
    raise AssertionError


def fails():
    raise OSError("the disk is gone")
"""


def install(folder: Path) -> str:
    """Write the program, and return the name of its module, which no other program has."""
    name = f"own_{abs(hash(folder))}"
    (folder / f"{name}.py").write_text(PROGRAM, "utf-8")
    return name


def effects(folder: Path) -> list[str]:
    """Return what the tool of the program in a folder has done."""
    found = [file.read_text("utf-8").splitlines() for file in folder.glob("*.effects")]
    return [line for lines in found for line in lines]
