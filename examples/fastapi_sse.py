"""A chat over HTTP: send a message and read the reply as server-sent events, see what waits for a person, decide.

pip install fastapi uvicorn, then: uvicorn fastapi_sse:app
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Request
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel

from holdfast import Conversation, Done, Pending, Reply, build_graph, open_checkpointer
from holdfast.background import BackgroundTurns
from holdfast.errors import BadAnswer, NothingWaits, ThreadBusy, UnknownThread
from holdfast.worker import Worker


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with open_checkpointer(os.environ.get("DATABASE", "sqlite:///chat.db")) as checkpointer:
        app.state.agent = build_graph(checkpointer=checkpointer)  # or your own graph
        async with BackgroundTurns() as app.state.turns, Worker(app.state.agent):
            yield


app = FastAPI(lifespan=lifespan)


def conversation(thread_id: str, request: Request, user: Annotated[str, Header()]) -> Conversation:
    """Return the user's conversation. Put your authentication here, in place of the header."""
    return Conversation(request.app.state.agent, thread_id, user_id=user)


Talk = Annotated[Conversation, Depends(conversation)]


class Message(BaseModel):
    text: str


@app.post("/threads/{thread_id}/messages", response_class=EventSourceResponse)
async def send(message: Message, talk: Talk, request: Request) -> AsyncIterator[ServerSentEvent]:
    """Send a message, and stream the turn. The turn goes on when the client goes away."""
    try:
        async for event in request.app.state.turns.astream(talk.astream(message.text)):
            yield ServerSentEvent(event=type(event).__name__, data=shown(event))
    except Exception as error:  # too late for a status
        yield ServerSentEvent(event=type(error).__name__, data={"detail": str(error)})


def shown(event: Any) -> Any:
    """Return what a client is told of an event. Each is a dataclass, so it is JSON with names as it is."""
    return {"text": event.text} if isinstance(event, Done) else event


@app.get("/threads/{thread_id}/messages")
async def messages(talk: Talk) -> list[dict[str, str]]:
    """Return what was said."""
    return [{"role": message.type, "text": message.text} for message in await talk.ahistory()]


@app.get("/threads/{thread_id}/pending")
async def pending(talk: Talk) -> list[Pending]:
    """Return what waits for a person."""
    return await talk.apending()


@app.post("/threads/{thread_id}/pending/{interrupt_id}")
async def decide(interrupt_id: str, answer: dict[str, Any], talk: Talk) -> Reply:
    """Decide: {"type": "approve"}, or "edit", "reject" or "respond"."""
    return await talk.aanswer(answer, interrupt_id, by=talk.user_id)


STATUS = {UnknownThread: 404, NothingWaits: 409, BadAnswer: 422, ThreadBusy: 503}


async def refuse(_: Request, error: Exception) -> JSONResponse:
    status = next(status for kind, status in STATUS.items() if isinstance(error, kind))
    return JSONResponse({"detail": str(error)}, status)


for kind in STATUS:
    app.add_exception_handler(kind, refuse)
