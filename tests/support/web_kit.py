"""A router over ASGI, as a client sees it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, Request

from holdfast.server import router


def by_header(request: Request) -> str | None:
    """The user that the header names."""
    return request.headers.get("user")


@asynccontextmanager
async def served(agent: Any, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application with the router of an agent. Ada is its user."""
    app = FastAPI()
    app.include_router(router(agent, **{"user": by_header, **options}))
    async with calling(app) as client:
        yield client


@asynccontextmanager
async def calling(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application, which runs meanwhile. Ada is its user."""
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers={"user": "ada"}) as client:
            yield client


def events_in(text: str) -> list[tuple[str, str | None, dict[str, Any]]]:
    """The events of a stream: the name, the id, and the data of each."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields["event"], fields.get("id"), json.loads(fields["data"])))
    return found
