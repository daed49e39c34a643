"""The steps of the graph, as LangGraph runs them."""

from functools import cached_property
from typing import Any

from langchain_core.runnables import Runnable, RunnableLambda


class Step(RunnableLambda[Any, Any]):
    """A function, and its twin for event loops, as a step of the graph."""

    @cached_property
    def deps(self) -> list[Runnable[Any, Any]]:
        """What LangGraph searches for graphs: nothing, for no step has one in it.

        To find that out, LangChain reads and parses the source of each step, which was half of what it takes to build
        the agent.
        """
        return []
