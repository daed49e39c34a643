"""The step that lets older messages leave the live state, into the summary."""

import logging
from collections.abc import Generator
from typing import Any, TypeAlias

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, RemoveMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.constants import TAG_NOSTREAM
from langgraph.types import Command

from holdfast.graph.context import Context, leaving, tokens
from holdfast.graph.context.summary import parts, request, summary_message
from holdfast.graph.messages import unclosed_calls
from holdfast.graph.nodes.base import Step
from holdfast.graph.state import State, summary_of
from holdfast.graph.tools.results import Update

# Summaries that one turn makes. A thread that grew before there was a limit catches up over some turns, and nobody
# waits for all of it before they get an answer.
_MOST_PARTS = 4

# How many times the limit a thread may grow to while no summary can be made.
_MOST_UNTOLD = 3

# Asks for summaries by yielding what the model is to be asked, and is sent its text, empty if there is none; whoever
# drives it does the I/O, with or without `await`.
Shortening: TypeAlias = Generator[list[BaseMessage], str, Update]

_log = logging.getLogger(__name__)


def trim_node(model: Runnable[LanguageModelInput, AIMessage], context: Context) -> Runnable[State, Update]:
    """Let what is beyond the limit leave, in one step.

    Args:
        model: makes the summary; without tools. If it fails, what it was asked about stays until the next turn.
        context: the limit.
    """
    # Its words are no part of the answer.
    quiet = model.with_config(tags=[TAG_NOSTREAM])

    def step(state: State, config: RunnableConfig) -> Update:
        work = _shortening(state, context)
        try:
            asked = next(work)
            while True:
                try:
                    text = _said(quiet.invoke(asked, config), config)
                except Exception as error:  # noqa: BLE001 - whatever a client raises, the turn is not lost for a summary
                    text = _failed(type(error).__name__, config)
                asked = work.send(text)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def astep(state: State, config: RunnableConfig) -> Update:
        work = _shortening(state, context)
        try:
            asked = next(work)
            while True:
                try:
                    text = _said(await quiet.ainvoke(asked, config), config)
                except Exception as error:  # noqa: BLE001 - see above
                    text = _failed(type(error).__name__, config)
                asked = work.send(text)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    return Step(step, astep, name="shorten")


def _shortening(state: State, context: Context) -> Shortening:
    messages = state["messages"]
    # Calls that somebody left open by hand just now; `after_model` sees to them, and the next turn to this.
    gone = [] if unclosed_calls(messages) else leaving(messages, context)
    if context.mode == "trim":
        return _without([message for block in gone for message in block])
    summary = summary_of(state)
    done: list[AnyMessage] = []
    for number, part in enumerate(parts(gone, context.most)):
        if number == _MOST_PARTS:
            break
        text = yield request(summary, part, context.most)
        if not text:
            break
        summary = summary_message(text)
        done += part
    if not done and tokens(messages) > _MOST_UNTOLD * context.most:
        # Notes that a model refuses to make would keep a thread growing for ever; what leaves is on record.
        return _without([message for block in gone for message in block])
    return _without(done, summary)


def _without(messages: list[AnyMessage], summary: SystemMessage | None = None) -> Update:
    removed = [RemoveMessage(id=message.id) for message in messages if message.id]
    if not removed:
        return {}
    # As pairs: LangGraph's stream of messages tells every message that it finds in a mapping, and these say nothing.
    update: list[tuple[str, Any]] = [("messages", removed)]
    return Command(update=update if summary is None else [*update, ("summary", summary)])


def _said(answer: AIMessage, config: RunnableConfig) -> str:
    return answer.text.strip() or _failed("the model said nothing", config)


def _failed(why: str, config: RunnableConfig) -> str:
    # Of an error only its name: some endpoints quote what they refuse.
    _log.warning(
        "No summary of thread %r was made (%s). Its older messages stay in the state, and the next turn tries again.",
        config["configurable"].get("thread_id"),
        why,
    )
    return ""
