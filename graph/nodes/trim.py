"""The step that lets older messages leave the live state, and summarises them."""

import logging
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, RemoveMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.constants import TAG_NOSTREAM
from langgraph.types import Command

from holdfast.graph.context import Context, leaving_blocks, tokens
from holdfast.graph.context.summary import batches, summary_message, summary_request
from holdfast.graph.messages import unclosed_calls
from holdfast.graph.nodes.base import TRIM, Step
from holdfast.graph.plans import Io
from holdfast.graph.state import State, summary_of
from holdfast.graph.tools.results import Update

# The summaries that one turn makes. A thread that is far above the limit catches up over several turns, so that no
# answer has to wait for all of it.
_MOST_BATCHES = 4

# The multiple of the limit to which a thread may grow while summaries fail.
_MOST_UNSUMMARISED = 3

_log = logging.getLogger(__name__)


def trim_step(model: Runnable[LanguageModelInput, AIMessage], context: Context) -> Runnable[State, Update]:
    """Make the step that removes the messages beyond the limit from the state.

    Args:
        model: makes the summary; without tools. If it fails, the messages of that summary stay until the next turn.
        context: the limit, and whether a summary is made.
    """
    # The text of a summary is no part of the answer that clients see.
    quiet = model.with_config(tags=[TAG_NOSTREAM])

    async def trim(io: Io, state: State, config: RunnableConfig) -> Update:
        messages = state["messages"]
        # With calls left open by a change of the state from outside, `after_model` acts first, and the next turn trims.
        leaving = [] if unclosed_calls(messages) else leaving_blocks(messages, context)
        if context.mode == "trim":
            return _without([message for block in leaving for message in block])
        summary = summary_of(state)
        summarised: list[AnyMessage] = []
        for number, batch in enumerate(batches(leaving, context.most)):
            if number == _MOST_BATCHES:
                break
            text = await summarise(io, summary_request(summary, batch, context.most), config)
            if not text:
                break
            summary = summary_message(text)
            summarised += batch
        if not summarised and tokens(messages) > _MOST_UNSUMMARISED * context.most:
            # A model that refuses to summarise must not keep a thread growing for ever; the messages are on record.
            return _without([message for block in leaving for message in block])
        return _without(summarised, summary)

    async def summarise(io: Io, request: list[BaseMessage], config: RunnableConfig) -> str:
        """Ask the model for a summary. Return an empty text if it makes none."""
        try:
            answer: AIMessage = await io.either(quiet.invoke, quiet.ainvoke, request, config)
            text = answer.text.strip()
        except Exception as error:  # noqa: BLE001 - a turn does not fail for a summary, whatever the client raises
            # The error's name only: some endpoints quote what they refuse.
            return _failed(type(error).__name__, config)
        return text or _failed("the model said nothing", config)

    return Step(trim, name=TRIM)


def _without(messages: list[AnyMessage], summary: SystemMessage | None = None) -> Update:
    removed = [RemoveMessage(id=message.id) for message in messages if message.id]
    if not removed:
        return {}
    # As pairs: LangGraph's stream of messages reports every message that it finds in a mapping, and these say nothing.
    update: list[tuple[str, Any]] = [("messages", removed)]
    return Command(update=update if summary is None else [*update, ("summary", summary)])


def _failed(why: str, config: RunnableConfig) -> str:
    _log.warning(
        "No summary of thread %r was made (%s). Its older messages stay in the state, and the next turn tries again.",
        config["configurable"].get("thread_id"),
        why,
    )
    return ""
