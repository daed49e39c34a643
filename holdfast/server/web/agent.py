"""Routes of the agent itself, and of a user's long-term memory."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Response

from holdfast.checkpoints.errors import NotPermitted
from holdfast.checkpoints.store.service import HoldfastStore
from holdfast.graph.conversation.agents import AgentProfile
from holdfast.server.web.api import Call, Here
from holdfast.server.web.problems import ProblemRoute

routes = APIRouter(route_class=ProblemRoute, tags=["agent"])


@routes.get("/agent")
async def describe_agent(call: Here) -> dict[str, Any]:
    """Return the name of the agent, and the JSON schemas of its input, output and context."""
    agent = call.api.agent
    schemas = agent.get_input_jsonschema, agent.get_output_jsonschema, agent.get_context_jsonschema
    found = await asyncio.to_thread(lambda: [schema() for schema in schemas])
    name = AgentProfile(agent, call.api.options["messages_key"]).name
    return {"name": name, **dict(zip(("input", "output", "context"), found, strict=True))}


@routes.get("/store/items")
async def store_items(call: Here) -> list[dict[str, Any]]:
    """Return all that the long-term memory has about the user, in the namespaces `(user, …)`."""
    store, user_id = _store(call)
    return [item.dict() for item in await store.auser_items(user_id)]


@routes.delete("/store/items/{key}", status_code=204)
async def delete_item(call: Here, key: str, namespace: str) -> Response:
    """Delete an item of the user. The labels of its namespace are divided by full stops; the first is the user."""
    call.caller.check_may_write()
    store, user_id = _store(call)
    labels = tuple(namespace.split("."))
    if labels[0] != user_id:
        raise NotPermitted(f"The namespace {namespace!r} is not one of user {user_id!r}. Nothing was deleted.")
    await store.adelete(labels, key)
    return Response(status_code=204)


def _store(call: Call) -> tuple[HoldfastStore, str]:
    """Return the agent's store, and the user.

    Raises:
        NotPermitted: the agent has no store of Holdfast, or there is no user.
    """
    store = call.api.agent.store
    if not isinstance(store, HoldfastStore) or call.user_id is None:
        raise NotPermitted("Long-term memory is a user's. Needed: a user, and an agent with a store of open_store.")
    return store, call.user_id
