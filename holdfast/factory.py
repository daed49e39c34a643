"""Make the checkpointer and the agent from the settings, for the command line and the server alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from holdfast.agents import check_shop_thread, load_agent, load_served_agent
from holdfast.checkpoints import HoldfastSaver, open_checkpointer, urls
from holdfast.checkpoints.store.service import HoldfastStore, open_store
from holdfast.graph import Context, build_graph
from holdfast.graph.agent import PROMPT
from holdfast.graph.conversation.agents import AnyAgent
from holdfast.graph.models import chat_model
from holdfast.graph.shop import shop_tools
from holdfast.settings import InvalidSettings, Settings


def make_checkpointer(settings: Settings) -> HoldfastSaver:
    """Make Holdfast's checkpointer. Open it by `with` or `async with`.

    Raises:
        InvalidURL: the database is one of another checkpointer.
        InvalidKeys: the keys of the settings cannot be used.
    """
    return open_checkpointer(
        settings.database,
        pool_size=settings.pool_size,
        redact=settings.redaction,
        keys=settings.master_keys(),
        keys_database=settings.keys_database,
    )


def make_store(settings: Settings) -> HoldfastStore:
    """Make the long-term memory, on the same database. Open it by `with` or `async with`."""
    return open_store(settings.database, pool_size=settings.pool_size)


def open_any_saver(settings: Settings) -> AbstractContextManager[BaseCheckpointSaver[Any]]:
    """Return the context of the checkpointer of the database, which may be another one than Holdfast's.

    Raises:
        InvalidSettings: it is another one, which cannot redact what it stores.
    """
    if not isinstance(urls.parse_any(settings.database), urls.OtherURL):
        return make_checkpointer(settings)
    if settings.redaction:
        raise InvalidSettings(
            "HOLDFAST_REDACT or HOLDFAST_REDACT_PATTERN is set, and the database is one of another checkpointer, which "
            "stores everything as it is. Unset them, or set HOLDFAST_DATABASE to a database of Holdfast's own."
        )
    from holdfast.savers import open_saver  # few programs open another one

    return open_saver(settings.database, keys=settings.master_keys())


@asynccontextmanager
async def aopen_any_saver(settings: Settings) -> AsyncIterator[BaseCheckpointSaver[Any]]:
    """Do as `open_any_saver`, on an event loop, which the drivers of other databases would block."""
    if not isinstance(urls.parse_any(settings.database), urls.OtherURL):
        async with make_checkpointer(settings) as own:
            yield own
        return
    opened = open_any_saver(settings)
    saver = await asyncio.to_thread(opened.__enter__)
    try:
        yield saver
    finally:
        await asyncio.to_thread(opened.__exit__, None, None, None)


def make_agent(settings: Settings, saver: BaseCheckpointSaver[Any] | None = None) -> AnyAgent:
    """Make the agent that the settings name: the user's own, or else that of the example shop.

    Args:
        settings: the settings.
        saver: the checkpointer; `None` for the server, which brings it.

    Raises:
        ImportError: the model needs a package that is not installed.
        ValueError: the model cannot be made from the settings, or the user's agent cannot be used.
    """
    if settings.agent is None:
        return _shop_agent(settings, saver)
    if saver is None:
        return load_served_agent(settings.agent)
    agent = load_agent(settings.agent, saver)
    if agent.store is not None or not isinstance(saver, HoldfastSaver):  # another one's database has no store
        return agent
    # The store opens with its first use: an agent without memory has no second connection.
    return agent.copy(update={"store": make_store(settings)})


def check_thread(settings: Settings, saver: BaseCheckpointSaver[Any], agent: AnyAgent, thread_id: str) -> None:
    """Refuse a thread that the agent of the settings does not write to. With an agent of their own, users decide.

    Raises:
        AnotherAgent: the agent is the example shop's, and the thread is another one's.
    """
    if settings.agent is None:
        check_shop_thread(saver, agent, thread_id)


def _shop_agent(settings: Settings, saver: BaseCheckpointSaver[Any] | None) -> AnyAgent:
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
