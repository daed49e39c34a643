"""The step of one tool call."""

from collections.abc import Callable, Mapping
from datetime import datetime

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from typing_extensions import TypedDict

from holdfast.graph.approvals.ask import AnswerForms
from holdfast.graph.messages import Call
from holdfast.graph.nodes.base import TOOL, Step
from holdfast.graph.plans import Io
from holdfast.graph.tools.guard import CallGuard
from holdfast.graph.tools.results import Update


class ToolTask(TypedDict):
    """The input of a tool task: a call, and the id of the message that made it."""

    call: Call
    message_id: str


class ToolStep(Step):
    """Answer one call: with its result, or with the reason why it did not run. Or pause for a person."""

    def __init__(self, tools: Mapping[str, BaseTool], clock: Callable[[], datetime]) -> None:
        super().__init__(self._answer_call, name=TOOL)
        self.forms = AnswerForms(tools)
        """A conversation checks an answer by these before it is recorded."""
        self._guard = CallGuard(self.forms, clock)

    async def _answer_call(self, io: Io, task: ToolTask, config: RunnableConfig) -> Update:
        return await self._guard.answer(io, task["call"], task["message_id"], config)
