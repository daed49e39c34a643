"""The names of the graph's nodes, and the form in which LangGraph runs them."""

from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import Any, Final

from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda

from holdfast.checkpoints.runtime import running_saver
from holdfast.graph.plans import BLOCKING, Io, OnLoop, run

# Databases hold these names: a checkpoint has them in the channels that say which node is next. They never change, so
# that a thread that stopped before a node goes on there. Two are older than the words for what the nodes do.
MODEL: Final = "model"
TOOL: Final = "tool"
DOUBT: Final = "doubt"
CLOSE_CALLS: Final = "settle"
TRIM: Final = "shorten"


class Step(RunnableLambda[Any, Any]):
    """A plan as a node of the graph.

    Args:
        plan: takes an `Io`, the node's input and the config of its task.
        name: the node's name.
    """

    def __init__(self, plan: Callable[[Io, Any, RunnableConfig], Coroutine[Any, Any, Any]], name: str) -> None:
        def step(value: Any, config: RunnableConfig) -> Any:
            return run(plan(BLOCKING, value, config))

        async def astep(value: Any, config: RunnableConfig) -> Any:
            return await plan(OnLoop(running_saver(config)), value, config)

        super().__init__(step, astep, name=name)

    @cached_property
    def deps(self) -> list[Runnable[Any, Any]]:
        """The graphs inside the step, for LangGraph: none.

        To find that out, LangChain would read and parse the source of each step, which took half of the time that
        building the agent takes.
        """
        return []
