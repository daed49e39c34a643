"""Routes of threads: lists, searches, transcripts, and what is done with a thread as a whole."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Literal

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from pydantic import BaseModel, ConfigDict, Field

from holdfast.checkpoints import Hit, Page, Status, Thread
from holdfast.checkpoints.errors import InvalidArgument, ThreadNotEmpty
from holdfast.checkpoints.transcript import export
from holdfast.server.web.api import Call, Count, Here
from holdfast.server.web.problems import ProblemRoute

routes = APIRouter(route_class=ProblemRoute, tags=["threads"])

_FORMATS: dict[str, tuple[Any, str]] = {
    "jsonl": (export.jsonl, "application/jsonl"),
    "markdown": (export.markdown, "text/markdown"),
    "html": (export.html, "text/html"),
}


class NewThread(BaseModel):
    """A thread that is about to begin."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"members": ["grace"]}]})
    thread_id: str | None = Field(
        None, min_length=1, max_length=1024, pattern=r"^[^\x00]*$", description="By default a random one."
    )
    members: list[str] = Field([], description="The users with whom it is shared.")


class Title(BaseModel):
    """A new title."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"title": "A refund"}]})
    title: str | None = Field(description="`null` for the first words that were said.")


class Fork(BaseModel):
    """Where a fork begins."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"message_id": "3f0c…"}]})
    thread_id: str | None = Field(None, description="The id of the new thread; by default a random one.")
    checkpoint_id: str | None = Field(None, description="By default the newest.")
    message_id: str | None = Field(None, description="In its place, the last message of the new thread.")


class Copy(BaseModel):
    """A copy of a whole thread."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}]})
    thread_id: str | None = Field(None, description="The id of the new thread; by default a random one.")


# --- reading


@routes.get("/threads")
async def list_threads(
    call: Here,
    status: Status | None = None,
    text: str | None = None,
    since: str | None = None,
    until: str | None = None,
    limit: Count = 20,
    cursor: str | None = None,
) -> Page:
    """List the threads of the user, and those that are shared with the user, the most recently written one first."""
    return await call.saver.threads.alist(
        user_id=call.caller.reads_as, status=status, text=text, since=since, until=until, limit=limit, cursor=cursor
    )


@routes.get("/search")
async def search(
    call: Here,
    q: str,
    thread_id: str | None = None,
    since: str | None = None,
    until: str | None = None,
    limit: Count = 20,
) -> list[Hit]:
    """Find messages by their words, best first."""
    return await call.saver.search.afind(
        q, user_id=call.caller.reads_as, thread_id=thread_id, since=since, until=until, limit=limit
    )


@routes.get("/threads/{thread_id}")
async def get_thread(call: Here, thread_id: str) -> Thread:
    """Return a thread's entry in the list."""
    return await call.saver.threads.aget(thread_id, user_id=call.caller.reads_as)


@routes.get("/threads/{thread_id}/messages")
async def messages(call: Here, thread_id: str) -> list[dict[str, Any]]:
    """Return what was said, oldest first, without what was undone or came before a restart."""
    await get_thread(call, thread_id)
    return [_shown(message) for message in await call.conversation(thread_id).ahistory()]


@routes.get("/threads/{thread_id}/transcript", response_class=StreamingResponse)
async def transcript(
    call: Here, thread_id: str, last: int | None = None, format: Literal["jsonl", "markdown", "html"] | None = None
) -> StreamingResponse:
    """Stream all messages and events of a thread, one JSON object a line; or as an export with a head and a seal.

    `last` restricts it to the last messages, and `format` makes it an export.
    """
    found = await call.saver.atranscript(thread_id, user_id=call.caller.reads_as)
    if last is not None:
        found = await call.saver.run_in_executor(found.last, last)
    write, media_type = (export.lines, "application/jsonl") if format is None else _FORMATS[format]
    # The generator blocks, so each part is made in a thread.
    return StreamingResponse(write(found), media_type=media_type)


# --- changing


@routes.post("/threads", status_code=201)
async def create_thread(call: Here, new: NewThread) -> dict[str, Any]:
    """Return the id of a thread that begins with its first message, and share it with its members."""
    thread_id = str(uuid.uuid4()) if new.thread_id is None else new.thread_id
    talk = call.conversation(thread_id, writes=True)
    if talk.user_id is not None:
        standing = await call.saver.run_in_executor(call.saver.threads.check_user, thread_id, talk.user_id)
        if standing.exists:
            raise ThreadNotEmpty(thread_id)
    elif new.members:
        raise InvalidArgument(
            "There are members and no user who could share the thread. Leave them out, or set `user=`."
        )
    if new.members:
        await call.saver.threads.ashare(thread_id, *new.members, user_id=talk.user_id, not_begun=True)
    return {"thread_id": thread_id, "members": new.members}


@routes.patch("/threads/{thread_id}")
async def rename_thread(call: Here, thread_id: str, new: Title) -> Thread:
    """Set the title of a thread."""
    return await call.saver.threads.arename(thread_id, new.title, user_id=_writer(call))


@routes.delete("/threads/{thread_id}", status_code=204)
async def delete_thread(call: Here, thread_id: str) -> Response:
    """Delete all data of a thread, and the messages that were accepted for it. Only its own user may."""
    await call.conversation(thread_id, writes=True).adelete()
    call.api.worker.turns.stop_turns_of(thread_id)
    return Response(status_code=204)


@routes.post("/threads/{thread_id}/restart")
async def restart_thread(call: Here, thread_id: str) -> Thread:
    """Begin anew, without messages. The transcript stays."""
    await call.conversation(thread_id, writes=True).arestart()
    return await get_thread(call, thread_id)


@routes.post("/threads/{thread_id}/undo")
async def undo_turn(call: Here, thread_id: str) -> Thread:
    """Remove the last turn. The effects of its tools are not undone."""
    await call.conversation(thread_id, writes=True).aundo()
    return await get_thread(call, thread_id)


@routes.post("/threads/{thread_id}/fork", status_code=201)
async def fork_thread(call: Here, thread_id: str, new: Fork) -> Thread:
    """Branch a new thread off, from the present or an earlier state."""
    talk = call.conversation(thread_id, writes=True)
    forked = await talk.afork(new.thread_id, checkpoint_id=new.checkpoint_id, message_id=new.message_id)
    return await get_thread(call, forked.thread_id)


@routes.post("/threads/{thread_id}/copy", status_code=201)
async def copy_thread(call: Here, thread_id: str, new: Copy) -> Thread:
    """Copy a whole thread."""
    return await call.saver.threads.acopy(thread_id, new.thread_id, user_id=_writer(call))


# --- members


@routes.get("/threads/{thread_id}/members")
async def members(call: Here, thread_id: str) -> Sequence[str]:
    """Return the users with whom a thread is shared."""
    return await call.saver.threads.amembers(thread_id, user_id=call.caller.reads_as)


@routes.put("/threads/{thread_id}/members/{member}")
async def share_thread(call: Here, thread_id: str, member: str) -> Sequence[str]:
    """Share a thread with a user. Only its own user may. Return all members now."""
    return await call.saver.threads.ashare(thread_id, member, user_id=_writer(call))


@routes.delete("/threads/{thread_id}/members/{member}")
async def unshare_thread(call: Here, thread_id: str, member: str) -> Sequence[str]:
    """Share a thread no more with a user. Return all members now."""
    return await call.saver.threads.aunshare(thread_id, member, user_id=_writer(call))


def _writer(call: Call) -> str | None:
    """Return the user on whose behalf something is changed.

    Raises:
        NotPermitted: the caller only reads.
    """
    call.caller.check_may_write()
    return call.user_id


def _shown(message: BaseMessage) -> dict[str, Any]:
    """Return a message as JSON for a client."""
    shown: dict[str, Any] = {"id": message.id, "role": message.type, "text": str(message.text)}
    if message.name:
        shown["name"] = message.name
    if not isinstance(message.content, str):
        shown["content"] = message.content
    if isinstance(message, AIMessage) and message.tool_calls:
        shown["tool_calls"] = [
            {"id": call["id"], "name": call["name"], "args": call["args"]} for call in message.tool_calls
        ]
    if isinstance(message, ToolMessage):
        shown |= {"tool_call_id": message.tool_call_id, "failed": message.status == "error"}
    return shown
