"""An agent of LangChain's `create_agent`, whose refunds wait for a person and are made once.

pip install langchain, then: python create_agent_approvals.py "Refund order 1001"
and now, or next month: python create_agent_approvals.py approve
"""

import sys
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import tool

from holdfast import Conversation, HoldfastSaver, needs_approval, open_checkpointer
from holdfast.graph.models import chat_model
from holdfast.middleware import HoldfastMiddleware


@tool
def find_order(order_id: int) -> str:
    """Look up an order."""
    return f"Order {order_id}: a brass calculator, 49.00 EUR, not refunded."


@needs_approval(description="Refund order {order_id} in full")
@tool
def refund_order(order_id: int) -> str:
    """Refund an order in full."""
    with Path("refunds.txt").open("a", encoding="utf-8") as refunds:
        refunds.write(f"{order_id}\n")
    return f"Order {order_id} is refunded."


def support(checkpointer: HoldfastSaver) -> Any:
    return create_agent(
        chat_model("offline"),  # or any chat model of LangChain
        [find_order, refund_order],
        middleware=[HoldfastMiddleware()],
        checkpointer=checkpointer,
    )


def main(said: str) -> None:
    with open_checkpointer("sqlite:///support.db") as checkpointer:
        ada = Conversation(support(checkpointer), "ada-1", user_id="ada")
        if said != "approve":
            print(ada.send(said).text)
        for request in ada.pending():
            print(f"{request.description}? {request.name} {request.args}")
            if said == "approve":
                print(ada.approve(request.interrupt_id, by="Grace").text)


if __name__ == "__main__":
    main(sys.argv[1])
