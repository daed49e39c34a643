"""Make the checkpointer and the agent from the settings, for the command line and the server alike."""

from __future__ import annotations

from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.graph import Context, build_graph
from holdfast.graph.agent import PROMPT, Agent
from holdfast.graph.models import chat_model
from holdfast.graph.shop import shop_tools
from holdfast.settings import Settings


def make_checkpointer(settings: Settings) -> HoldfastSaver:
    """Make the checkpointer. Open it by `with` or `async with`."""
    return open_checkpointer(settings.database)


def make_agent(settings: Settings, saver: BaseCheckpointSaver[Any] | None = None) -> Agent:
    """Make the agent, with the model and the shop of the settings.

    Raises:
        ImportError: the model needs a package that is not installed.
        ValueError: the model cannot be made from the settings.
    """
    key = settings.openai_api_key
    model = chat_model(
        settings.model_name,
        api_key=key.get_secret_value() if key else None,
        base_url=settings.openai_base_url,
        retries=settings.model_retries,
        timeout=settings.model_timeout,
    )
    context = Context(settings.context, settings.context_budget, settings.context_limit)
    return build_graph(model=model, tools=shop_tools(settings.shop), prompt=PROMPT, checkpointer=saver, context=context)
