"""Server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final

from fastapi.encoders import jsonable_encoder
from fastapi.responses import StreamingResponse

from holdfast.server.web.streams.following import KEEP_ALIVE, StreamEvent

MEDIA_TYPE: Final = "text/event-stream"

_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

DESCRIPTION: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Server-sent events: `run`, then `text` (pieces), `message`, `tool_called` and `tool_answered`, "
        "and at the end `paused` for each request that waits, and `done`, `failed` or `cancelled`. Those that matter "
        "have an id.",
        "content": {
            MEDIA_TYPE: {
                "example": 'event: message\nid: 2.1\ndata: {"text": "It is refunded.", "message_id": "…"}\n\n'
                'event: done\ndata: {"run": {"state": "done"}, "text": "It is refunded.", "pending": []}\n\n'
            }
        },
    }
}


def event_stream(events: AsyncIterator[StreamEvent], headers: dict[str, str]) -> StreamingResponse:
    """Return the response that streams some events.

    Args:
        events: the events.
        headers: further headers.
    """
    return StreamingResponse(_lines(events), media_type=MEDIA_TYPE, headers={**_HEADERS, **headers})


async def _lines(events: AsyncIterator[StreamEvent]) -> AsyncIterator[str]:
    async for event in events:
        if event is KEEP_ALIVE:
            yield ": \n\n"
            continue
        id_ = "" if event.position is None else f"id: {event.position}\n"
        yield f"event: {event.event}\n{id_}data: {json.dumps(jsonable_encoder(event.data), default=str)}\n\n"
