"""The plainest route that makes a turn: what FastAPI and an event loop cost, without a record of what was accepted.

`uvicorn bench.plain_route:app`, with the database in HOLDFAST_DATABASE.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Body, FastAPI

from bench.thinking import make_agent
from holdfast.checkpoints import open_checkpointer
from holdfast.graph import Conversation


@asynccontextmanager
async def _running(app: FastAPI) -> AsyncIterator[None]:
    async with open_checkpointer(os.environ["HOLDFAST_DATABASE"]) as saver:
        app.state.agent = make_agent(saver)
        yield


app = FastAPI(lifespan=_running)


@app.post("/threads/{thread_id}/messages/wait")
async def send_and_wait(thread_id: str, text: Annotated[str, Body(embed=True)]) -> dict[str, str]:
    """Make a turn. It is lost with its connection."""
    reply = await Conversation(app.state.agent, thread_id).asend(text)
    return {"text": reply.text}


@app.get("/readyz")
async def ready() -> None:
    """Answer as soon as the database is open."""
