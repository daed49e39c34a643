"""A chat over HTTP, with streams and approvals, and a route of your own beside them.

With the extra `web`: uvicorn fastapi_sse:app
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, Header, Request

from holdfast import Conversation, build_graph, open_checkpointer
from holdfast.server import router

checkpointer = open_checkpointer(os.environ.get("DATABASE", "sqlite:///chat.db"))
agent = build_graph(checkpointer=checkpointer)  # or your own graph


def user_of(request: Request) -> str | None:
    """Return the user of a request. Put your authentication here, in place of the header."""
    return request.headers.get("user")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with checkpointer:
        yield


app = FastAPI(lifespan=lifespan)
app.include_router(router(agent, user=user_of))


@app.post("/orders/{order}/complaint", status_code=202)
async def complain(order: int, user: Annotated[str, Header()]) -> dict[str, str]:
    """Let the agent look into an order, in a thread of its own. The same complaint twice is one."""
    talk = Conversation(agent, f"order-{order}", user_id=user)
    run = await talk.asubmit(f"Please refund order {order}.", key="complaint")
    return {"thread": run.thread_id, "run": run.run_id}
