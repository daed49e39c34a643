"""The long-term memory that `langgraph.json` names: LangGraph's own store on the database of the conversations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from holdfast import factory, settings
from holdfast.checkpoints.store.service import HoldfastStore


@asynccontextmanager
async def store() -> AsyncIterator[HoldfastStore]:
    """Open the store for as long as the server runs."""
    found = await asyncio.to_thread(settings.load)  # the server does not allow file I/O on its event loop
    async with factory.make_store(found) as opened:
        yield opened
