"""The step of the model, and the routes before and behind it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.graph import END
from langgraph.types import Send

from holdfast.checkpoints.runtime import note_prompt
from holdfast.graph.approvals.policy import approval_policy
from holdfast.graph.context import Context, leaving_blocks, visible_messages, with_named_speakers
from holdfast.graph.context.summary import opening_messages
from holdfast.graph.kept import (
    is_waiting,
    kept_calls,
    note_message,
    outcome_note,
    telling,
    untold_outcomes,
    waiting_note,
    with_notes,
)
from holdfast.graph.messages import (
    Call,
    all_doubts,
    ended_before_verdict,
    ends_with_agent,
    lacks_answer_before,
    newest_doubts,
    unclosed_calls,
    with_unique_ids,
)
from holdfast.graph.nodes.base import CLOSE_CALLS, DOUBT, MODEL, TOOL, TRIM, Step
from holdfast.graph.nodes.tool import ToolTask
from holdfast.graph.plans import Io
from holdfast.graph.state import State, summary_of
from holdfast.graph.tools.results import Update


def before_model(context: Context) -> Callable[[State], str]:
    """Return the route from the start of a run: to the model, or first to what the history needs."""

    def route(state: State) -> str:
        messages = state["messages"]
        if not messages:
            return END
        if unclosed_calls(messages) or lacks_answer_before(messages) or any(map(is_waiting, messages)):
            return CLOSE_CALLS
        return after_close_calls(context)(messages)

    return route


def after_close_calls(context: Context) -> Callable[[Sequence[AnyMessage]], Literal["shorten", "model"]]:
    """Return the route from a history without gaps."""
    return lambda messages: TRIM if leaving_blocks(messages, context) else MODEL


def after_model(tools: Mapping[str, BaseTool]) -> Callable[[State], list[Send] | str]:
    """Return the route from the model: a task for each call of its message, or the end of the turn if there is none.

    A person is asked again about the calls that wait when the turn ends, or when it pauses for another call.
    """

    def route(state: State) -> list[Send] | str:
        messages = state["messages"]
        if doubts := newest_doubts(messages):
            return [Send(DOUBT, task) for task in doubts]
        match unclosed_calls(messages):
            case []:
                return [*_asked_again(messages), *(Send(DOUBT, task) for task in all_doubts(messages))] or END
            case [group] if group.message is messages[-1]:
                message_id = group.message.id or ""
                sends = [Send(TOOL, ToolTask(call=call, message_id=message_id)) for call in group.calls]
                return [*sends, *_asked_again(messages)] if any(map(pauses, group.calls)) else sends
            case _:
                # The model was not called, because the calls were left open by a change of the state from outside.
                return CLOSE_CALLS

    def pauses(call: Call) -> bool:
        tool = tools.get(call["name"] or "")
        return tool is not None and approval_policy(tool) is not None

    return route


def _asked_again(messages: Sequence[AnyMessage]) -> list[Send]:
    """Return a task for each call that was kept open."""
    return [
        Send(TOOL, ToolTask(call=kept.call, message_id=kept.message_id, interrupt_id=kept.interrupt_id))
        for kept in kept_calls(messages)
    ]


def model_step(
    model: Runnable[LanguageModelInput, AIMessage], prompt: str | None, context: Context
) -> Runnable[State, Update]:
    """Make the step that calls the model with the prompt, the summary, and the newest messages that fit.

    The prompt is not kept in the thread.
    """

    async def call_model(io: Io, state: State, config: RunnableConfig) -> Update:
        messages = state["messages"]
        # No provider takes a call without its answer, and a call that a person is asked about has none yet. The route
        # from here, `after_model`, knows what comes next.
        outcomes = untold_outcomes(messages)
        if unclosed_calls(messages) or newest_doubts(messages) or (ended_before_verdict(messages) and not outcomes):
            return {}
        if prompt:
            note_prompt(config, prompt)
        notes = [waiting_note(messages), outcome_note(messages, outcomes)]
        last = [note_message(notes.pop())] if outcomes and ends_with_agent(messages) else []
        visible = with_notes(with_named_speakers(visible_messages(messages, context)))
        view = [*opening_messages(prompt, summary_of(state), *notes), *visible, *last]
        message: AIMessage = await io.either(model.invoke, model.ainvoke, view, config)
        return {"messages": [with_unique_ids(telling(message, outcomes))]}

    return Step(call_model, name=MODEL)
