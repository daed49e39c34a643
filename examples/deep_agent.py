"""An agent of deepagents with a subagent, whose refunds wait for a person and are made once.

pip install deepagents, then: python deep_agent.py
"""

from typing import Any

from deepagents import create_deep_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.tools import tool

from holdfast import Conversation, HoldfastSaver, once, open_checkpointer
from holdfast.graph.models import chat_model
from holdfast.middleware import HoldfastMiddleware


@tool
def find_order(order_id: int) -> str:
    """Look up an order."""
    return f"Order {order_id}: a brass calculator, 49.00 EUR, not refunded."


@once
@tool
def refund_order(order_id: int) -> str:
    """Refund an order in full."""
    return f"Order {order_id} is refunded."


def deep_agent(model: BaseChatModel, checkpointer: HoldfastSaver) -> Any:
    """Make the agent. The middleware goes into each agent that has tools: here the main one and its subagent."""
    guard = HoldfastMiddleware(interrupt_on=["refund_order"])
    accounts = {
        "name": "accounts",
        "description": "Looks after refunds.",
        "system_prompt": "You refund orders.",
        "tools": [find_order, refund_order],
        "middleware": [guard],
    }
    return create_deep_agent(
        model=model,
        tools=[find_order, refund_order],
        subagents=[accounts],
        middleware=[guard],
        checkpointer=checkpointer,
    )


def main() -> None:
    with open_checkpointer("sqlite:///deep.db") as checkpointer:
        ada = Conversation(deep_agent(chat_model("offline"), checkpointer), "ada-1", user_id="ada")
        print(ada.send("Please refund order 1001.").text)
        for request in ada.pending():
            print(f"{request.description}?")
            print(ada.approve(request.interrupt_id, by="Grace").text)


if __name__ == "__main__":
    main()
