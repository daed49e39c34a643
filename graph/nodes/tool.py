"""The step of one tool call."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NotRequired

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from typing_extensions import TypedDict

from holdfast.graph.approvals.ask import AnswerForms
from holdfast.graph.kept import as_outcome
from holdfast.graph.messages import Call
from holdfast.graph.nodes.base import TOOL, Step
from holdfast.graph.plans import Io
from holdfast.graph.tools.guard import CallGuard
from holdfast.graph.tools.results import Update, with_answer


class ToolTask(TypedDict):
    """The input of a tool task: a call, and the id of the message that made it."""

    call: Call
    message_id: str
    interrupt_id: NotRequired[str]
    """The request about the call, if an earlier task has asked and it was kept open."""


class ToolStep(Step):
    """Answer one call: with its result, or with the reason why it did not run. Or pause for a person."""

    def __init__(self, tools: Mapping[str, BaseTool], clock: Callable[[], datetime]) -> None:
        super().__init__(self._answer_call, name=TOOL)
        self.forms = AnswerForms(tools)
        """A conversation checks an answer by these before it is recorded."""
        self._guard = CallGuard(self.forms, clock)

    async def _answer_call(self, io: Io, task: ToolTask, config: RunnableConfig) -> Update:
        call, message_id, kept_id = task["call"], task["message_id"], task.get("interrupt_id")
        update = await self._guard.answer(io, call, message_id, config, kept_id)
        if kept_id is None:
            return update
        return with_answer(update, call, lambda answer: as_outcome(answer, message_id, kept_id))
