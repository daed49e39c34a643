"""The access control that LangGraph's server asks: it lets through what the gate has granted, and nothing else."""

from __future__ import annotations

from typing import Any

from langgraph_sdk import Auth

from holdfast.server.langgraph import registry
from holdfast.server.permissions.grants import Grant, current_grant
from holdfast.server.permissions.standing import find_shared

auth = Auth()


@auth.authenticate
async def authenticate() -> Any:
    """Return the caller that the gate has let in. Without access control it is no one."""
    grant = current_grant.get()
    if grant is None:
        from langgraph_api.auth.noop import UnauthenticatedUser

        return UnauthenticatedUser()
    return {"identity": grant.user_id, "is_authenticated": True, "display_name": grant.user_id, "permissions": []}


@auth.on
async def deny(ctx: Auth.types.AuthContext, value: Any) -> bool:
    """Refuse all that no other handler allows."""
    return current_grant.get() is None


@auth.on(resources="assistants", actions=["read", "search"])
async def read_assistants(ctx: Auth.types.AuthContext, value: Any) -> None:
    """Let all callers see the agents."""


@auth.on.threads
async def use_thread(ctx: Auth.types.AuthContext, value: Any) -> Any:
    """Let through what was granted for the threads that a request names, and lists of what the caller may see."""
    grant = current_grant.get()
    if grant is None:
        return None
    thread_id = value.get("thread_id")
    match ctx.action:
        case "create":
            return _create(value, grant)
        case "search" if thread_id is None:
            return await _listed(grant)
        case "create_run":
            return _create_run(value, grant)
    if "user_id" in (value.get("metadata") or {}):
        value["metadata"].pop("user_id")
    named = {str(named) for named in value.get("thread_ids", [thread_id])}
    return named <= grant.threads


def _create(value: Any, grant: Grant) -> Any:
    if grant.principal.is_auditor:
        return False
    if value.get("metadata") is not None:
        value["metadata"].update(user_id=grant.user_id)
    return {"user_id": grant.user_id}


async def _listed(grant: Grant) -> Any:
    if grant.principal.is_auditor:
        return None
    await registry.mark_shared(grant.user_id, await find_shared(grant.user_id))
    return {"$or": [{"user_id": grant.user_id}, {registry.SHARED: {"$contains": grant.user_id}}]}


def _create_run(value: Any, grant: Grant) -> Any:
    thread_id = value.get("thread_id")
    if grant.principal.is_auditor or (thread_id is not None and str(thread_id) not in grant.threads):
        return False
    kwargs = value["kwargs"]
    if kwargs.get("webhook"):
        raise Auth.exceptions.HTTPException(status_code=403, detail="The server calls no webhooks.")
    # A run that goes on acts for the user of the thread, who is not always the one who answers.
    goes_on = kwargs.get("command") or kwargs.get("input") is None
    user_id = grant.owner if goes_on and grant.owner else grant.user_id
    config = kwargs["config"]
    config.setdefault("configurable", {})["user_id"] = user_id
    (config.get("metadata") or {}).pop("user_id", None)
    value["metadata"]["user_id"] = user_id
    if "user_id" in (kwargs.get("context") or {}):
        kwargs["context"]["user_id"] = user_id
    return None


@auth.on.store
async def use_store(ctx: Auth.types.AuthContext, value: Any) -> bool | None:
    """Let callers use the namespaces that begin with their id."""
    grant = current_grant.get()
    if grant is None:
        return None
    namespace = tuple(value.get("namespace") or ())
    if ctx.action in ("list_namespaces", "search") and not namespace:
        namespace = value["namespace"] = (grant.user_id,)
    return not grant.principal.is_auditor and namespace[:1] == (grant.user_id,)
