"""A stranger cannot tell by any route whether a thread is another user's, or is not there."""

from __future__ import annotations

from typing import Any, Final

import pytest

from holdfast.checkpoints import HoldfastSaver
from holdfast.graph import build_graph
from holdfast.server.access.principal import Principal, Role
from tests.support.graph_kit import ScriptedModel, says
from tests.support.web_kit import by_header, served

BEGIN: Final = {
    "/threads/{thread_id}/messages",
    "/threads/{thread_id}/messages/wait",
    "/threads/{thread_id}/messages/stream",
}
"""These begin the thread if it is not there, so they tell whether an id is taken."""

CALLERS: Final = {
    "paul": Principal("paul", frozenset({Role.APPROVER})),
    "rita": Principal("rita", frozenset({Role.AUDITOR})),
}


def user(request: Any) -> Any:
    name = by_header(request)
    return CALLERS.get(name or "", name)


@pytest.mark.sweep
@pytest.mark.parametrize("caller", ["bob", "paul", "rita"])  # an auditor reads all
async def test_a_stranger_is_told_the_same_of_a_thread_of_others_and_of_none(saver: HoldfastSaver, caller: str) -> None:
    agent = build_graph(model=ScriptedModel(lines=[says("Hi")]), checkpointer=saver)
    async with served(agent, user=user) as client:
        run = (await client.post("/threads/of-ada/messages/wait", json={"text": "Hello"})).json()["run"]["run_id"]
        paths = (await client.get("/openapi.json")).json()["paths"]
        tried = [(method.upper(), path) for path in paths if "{thread_id}" in path for method in paths[path]]
        assert len(tried) > 20
        for method, path in [*tried, ("GET", "/search?q=Hello&thread_id={thread_id}")]:
            if path in BEGIN:
                continue
            found = []
            for thread_id in ("of-ada", "of-none"):
                address = path.format(thread_id=thread_id, run_id=run, interrupt_id="i", member="bob")
                body = None if method not in {"POST", "PATCH"} else _body(path)
                response = await client.request(method, address, headers={"user": caller}, json=body)
                found.append((response.status_code, response.text.replace(thread_id, "ID")))
            assert found[0] == found[1] or (caller, method) == ("rita", "GET"), (method, path)


def _body(path: str) -> dict[str, Any]:
    if "/pending/" in path:
        return {"answer": {"type": "approve"}}
    return {"title": "Mine"} if path.endswith("{thread_id}") else {}
