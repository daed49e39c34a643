"""The requests of all threads, over HTTP, for approvers: they see what waits and decide, and read no conversation."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from holdfast.checkpoints import HoldfastSaver, Waiting
from holdfast.checkpoints.errors import AlreadyAnswered, InvalidAnswer, NotAnswered, RequestClosed
from holdfast.server.gates import user_of
from holdfast.server.gates.problems import problem
from holdfast.server.langgraph import registry
from holdfast.server.langgraph.worker import ServerWorker

_STATUS: Final = {AlreadyAnswered: 409, RequestClosed: 409, InvalidAnswer: 422}


async def list_requests(request: Request) -> Response:
    """List the requests that wait in any thread, newest first.
    ---
    summary: List the requests that wait in any thread
    responses: {"200": {description: "What each is about, and the answers that it takes"}}
    """
    saver = await registry.server_saver()
    if not isinstance(saver, HoldfastSaver):
        return _no_record()
    waiting = await saver.interrupts.awaiting()
    return JSONResponse([_shown(found) for found in waiting])


async def answer_request(request: Request) -> Response:
    """Answer a request. The answer is on record when this returns, and is then carried out.
    ---
    summary: Answer a request
    responses: {"202": {description: "The answer is on record"}}
    """
    saver = await registry.server_saver()
    if not isinstance(saver, HoldfastSaver):
        return _no_record()
    names = request.path_params
    try:
        answer = await request.json()
        recorded = await saver.interrupts.aanswer(names["thread_id"], names["interrupt_id"], answer, user_of(request))
    except NotAnswered as error:
        return problem(next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 404), str(error))
    except ValueError:
        return problem(422, 'The answer is no JSON. Needed: an answer, such as {"type": "approve"}.')
    body = {"thread_id": recorded.thread_id, "interrupt_id": recorded.interrupt_id, "by": recorded.by}
    return JSONResponse(body, 202, background=BackgroundTask(_carry_out, saver))


async def _carry_out(saver: HoldfastSaver) -> None:
    await ServerWorker(saver).arun_once()


def _shown(found: Waiting) -> dict[str, Any]:
    times = {"asked_at": found.asked_at, "expires_at": found.expires_at}
    return {
        "thread_id": found.thread_id,
        "interrupt_id": found.interrupt_id,
        "user_id": found.user_id,
        "actions": [asdict(action) for action in found.actions],
        "schema": found.schema,
        "problem": found.problem,
        **{name: None if time is None else time.isoformat() for name, time in times.items()},
    }


def _no_record() -> Response:
    return problem(501, "This database is another checkpointer's, which has no list of requests.")


ROUTES: Final = [
    Route("/requests", list_requests, methods=["GET"]),
    Route("/requests/{thread_id}/{interrupt_id}", answer_request, methods=["POST"]),
]
