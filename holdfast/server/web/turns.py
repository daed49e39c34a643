"""Routes of turns: messages, answers, and the runs that carry them out."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator

from holdfast.checkpoints import Run, Waiting
from holdfast.graph import Pending
from holdfast.server.web.api import Call, Count, Here
from holdfast.server.web.problems import ProblemRoute, problem
from holdfast.server.web.streams import sse
from holdfast.server.web.streams.following import run_fields

routes = APIRouter(route_class=ProblemRoute)

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        description="The same request under the same key is one. Another one is refused with 422.",
    ),
]

LastEventId = Annotated[str | None, Header(description="The id of the last event that the client has.")]


class Message(BaseModel):
    """A message of a user."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"text": "I am Ada. Please refund order 1001."}]}
    )
    text: str | None = None
    content: list[dict[str, Any]] | None = Field(None, description="Content blocks, in place of the text.")
    pending: Literal["keep", "close"] | None = Field(
        None, description="What becomes of the approvals that still wait; by default what their tools declare."
    )

    @model_validator(mode="after")
    def _has_one_content(self) -> Message:
        if (self.text is None) == (self.content is None):
            raise ValueError("either text or content is needed")
        return self


class Answer(BaseModel):
    """An answer to a request."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"answer": {"type": "approve"}}]})
    answer: Any = Field(
        description='A decision, {"type": "approve" | "edit" | "reject" | "respond" | …}; a list with one for each '
        "call; or the value that the graph's `interrupt` returns."
    )


class RunInfo(BaseModel):
    """A turn that was accepted."""

    run_id: str
    thread_id: str
    user_id: str | None
    kind: Literal["message", "answer", "retry"]
    state: Literal["accepted", "running", "done", "failed", "cancelled"]
    attempts: int
    accepted_at: Any
    started_at: Any
    ended_at: Any
    is_cancelled: bool
    error_type: str | None
    error: str | None


class Outcome(BaseModel):
    """What came of a turn."""

    run: RunInfo
    text: str = Field(description="The agent's last text.")
    pending: list[Pending] = Field(description="The requests that wait for a person.")


# --- messages


async def _accept_message(call: Here, thread_id: str, message: Message, idempotency_key: IdempotencyKey = None) -> Run:
    talk = call.conversation(thread_id, writes=True)
    content: Any = message.content if message.text is None else message.text
    return call.accepted(await talk.asubmit(content, pending=message.pending, key=idempotency_key))


AcceptedMessage = Annotated[Run, Depends(_accept_message)]


@routes.post("/threads/{thread_id}/messages", status_code=202, tags=["turns"])
async def accept_message(run: AcceptedMessage, request: Request, response: Response) -> RunInfo:
    """Accept a message. It is in the database when this answers, and then it will be answered."""
    response.headers.update(_location(request, run))
    return _info(run)


@routes.post("/threads/{thread_id}/messages/wait", tags=["turns"], response_model=Outcome)
async def send_and_wait(call: Here, run: AcceptedMessage, request: Request) -> Any:
    """Accept a message, and wait until its turn has ended. The turn goes on if the client goes away."""
    is_repeated = "idempotency-key" in request.headers  # the caller may have lost the thread since
    may_read = (await call.run(run.thread_id, run.run_id))[1] if is_repeated else True
    return await _wait(call, request, run, may_read=may_read)


@routes.post("/threads/{thread_id}/messages/stream", tags=["turns"], responses=sse.DESCRIPTION)
async def send_and_stream(call: Here, run: AcceptedMessage, request: Request) -> StreamingResponse:
    """Accept a message, and stream its turn. The turn goes on if the client goes away, and so can the stream."""
    return _stream(call, request, run)


@routes.post("/threads/{thread_id}/retry", status_code=202, tags=["turns"])
async def accept_retry(
    call: Here, thread_id: str, request: Request, response: Response, idempotency_key: IdempotencyKey = None
) -> RunInfo:
    """Accept a run that goes on where a turn failed."""
    talk = await call.begun(thread_id, writes=True)
    run = call.accepted(await talk.asubmit_retry(key=idempotency_key))
    response.headers.update(_location(request, run))
    return _info(run)


# --- requests and answers


@routes.get("/pending", tags=["approvals"])
async def inbox(call: Here, limit: Count = 100) -> list[dict[str, Any]]:
    """List the requests that wait in all threads of the user, newest first; for an approver in all threads."""
    user_id = None if call.caller.is_approver else call.caller.reads_as
    found: list[Waiting] = await call.saver.interrupts.awaiting(limit, user_id=user_id)
    return [
        {
            "thread_id": each.thread_id,
            "interrupt_id": each.interrupt_id,
            "user_id": each.user_id,
            "asked_at": each.asked_at,
            "expires_at": each.expires_at,
            "actions": each.actions,
            "value": each.value,
            "problem": each.problem,
        }
        for each in found
    ]


@routes.get("/threads/{thread_id}/pending", tags=["approvals"])
async def pending_of_thread(call: Here, thread_id: str) -> list[Pending]:
    """List the requests of a thread that wait for a person."""
    return await (await call.begun(thread_id, decides=True)).apending()


async def _accept_answer(
    call: Here, thread_id: str, interrupt_id: str, answer: Answer, idempotency_key: IdempotencyKey = None
) -> Run:
    talk = await call.begun(thread_id, decides=True, writes=True)
    submitted = await talk.asubmit_answer(answer.answer, interrupt_id, by=call.user_id, key=idempotency_key)
    return call.accepted(submitted)


AcceptedAnswer = Annotated[Run, Depends(_accept_answer)]


@routes.post("/threads/{thread_id}/pending/{interrupt_id}", status_code=202, tags=["approvals"])
async def accept_answer(run: AcceptedAnswer, request: Request, response: Response) -> RunInfo:
    """Record an answer, which will be carried out. Of several, the first is taken, and the others are a 409."""
    response.headers.update(_location(request, run))
    return _info(run)


@routes.post("/threads/{thread_id}/pending/{interrupt_id}/wait", tags=["approvals"], response_model=Outcome)
async def answer_and_wait(call: Here, run: AcceptedAnswer, request: Request) -> Any:
    """Record an answer, and wait until its turn has ended."""
    _, may_read = await call.run(run.thread_id, run.run_id)
    return await _wait(call, request, run, may_read=may_read)


@routes.post("/threads/{thread_id}/pending/{interrupt_id}/stream", tags=["approvals"], responses=sse.DESCRIPTION)
async def answer_and_stream(call: Here, run: AcceptedAnswer, request: Request) -> StreamingResponse:
    """Record an answer, and stream the turn that carries it out."""
    _, may_read = await call.run(run.thread_id, run.run_id)
    return _stream(call, request, run, may_read=may_read)


# --- runs


@routes.get("/threads/{thread_id}/runs", tags=["turns"])
async def list_runs(call: Here, thread_id: str, limit: Count = 100) -> list[RunInfo]:
    """List the runs of a thread that the caller may see, newest first."""
    found = await call.saver.runs.alist(thread_id, limit=limit)
    return [_info(run) for run in found if await call.may_see(run)]


@routes.get("/threads/{thread_id}/runs/{run_id}", tags=["turns"])
async def get_run(call: Here, thread_id: str, run_id: str) -> RunInfo:
    """Return a run, and how it ended."""
    run, _ = await call.run(thread_id, run_id)
    return _info(run)


@routes.get("/threads/{thread_id}/runs/{run_id}/stream", tags=["turns"], responses=sse.DESCRIPTION)
async def stream_run(
    call: Here, thread_id: str, run_id: str, request: Request, last_event_id: LastEventId = None
) -> StreamingResponse:
    """Stream a run, from its beginning or from behind an event, on any replica."""
    run, may_read = await call.run(thread_id, run_id)
    return _stream(call, request, run, after=last_event_id, may_read=may_read)


@routes.post("/threads/{thread_id}/runs/{run_id}/cancel", status_code=202, tags=["turns"])
async def cancel_run(call: Here, thread_id: str, run_id: str) -> RunInfo:
    """Ask a run to stop. What it has said and done stays."""
    call.caller.check_may_write()
    await call.run(thread_id, run_id)
    run = await call.saver.runs.acancel(run_id)
    if run.is_open:
        call.api.worker.turns.stop_turn(run_id)
    return _info(run)


# --- shared


async def _wait(call: Call, request: Request, run: Run, *, may_read: bool) -> Any:
    end = await call.follow(run).wait()
    ended = end.run
    if ended.state == "done":
        return await call.outcome(end, may_read=may_read)
    failed = ended.state == "failed"
    detail = str(ended.error) if failed else "The run was cancelled. What it had said and done stays."
    kind = str(ended.error_type) if failed else "RunCancelled"
    return problem(request, 500 if failed else 409, kind, detail, run_id=run.run_id)


def _stream(
    call: Call, request: Request, run: Run, *, after: str | None = None, may_read: bool = True
) -> StreamingResponse:
    return sse.event_stream(call.stream(run, after=after, may_read=may_read), _location(request, run))


def _location(request: Request, run: Run) -> dict[str, str]:
    """Return the header with the address of a run.

    It is made from the address of this request: by its name the route of another router of the application may be
    found, such as that of another agent.
    """
    path, root = request.scope["path"], request.scope.get("root_path", "")
    before = path.rstrip("/").rsplit("/", request.scope["route"].path.count("/"))[0]
    prefix = before if before.startswith(root) else root + before
    return {"Location": quote(f"{prefix}/threads/{run.thread_id}/runs/{run.run_id}")}


def _info(run: Run) -> RunInfo:
    return RunInfo(**run_fields(run))
