"""The addresses of runs, wherever the router is in an application."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from holdfast.checkpoints import HoldfastSaver
from holdfast.graph import build_graph
from holdfast.server import create_app, router
from tests.support.graph_kit import ScriptedModel, says


@pytest.mark.sweep(on="postgres")
async def test_a_run_is_found_at_its_address_wherever_the_router_is(saver: HoldfastSaver) -> None:
    agents = [
        build_graph(model=ScriptedModel(lines=[says("Hello.")] * 3), checkpointer=saver, name=name)
        for name in ("one", "another")
    ]
    app = FastAPI()

    @app.get("/other/{thread_id}/{run_id}")
    async def get_run(thread_id: str, run_id: str) -> None: ...

    for agent in agents:
        app.include_router(router(agent), prefix=f"/{agent.name}")
    mounted = Starlette(routes=[Mount("/mounted", create_app(agents[0]))])
    async with app.router.lifespan_context(app):
        for outer, root, prefix in ((app, "", "/one"), (app, "/proxy", "/another"), (mounted, "", "/mounted")):
            transport = httpx.ASGITransport(app=outer, root_path=root)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                path = f"{prefix}/threads/größe 5"
                accepted = await client.post(f"{path}/messages", json={"text": "Hi"})
                address = accepted.headers["location"]
                assert address.startswith(f"{root}{prefix}/threads/gr%C3%B6%C3%9Fe%205/runs/"), accepted.text
                found = await client.get(address.removeprefix(root))
                assert found.json()["run_id"] == accepted.json()["run_id"]
