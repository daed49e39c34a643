"""Holdfast's guarantees for tool calls in agents of others.

For LangChain's `create_agent`, and deepagents' `create_deep_agent`, as a middleware, which needs the package
`langchain`:

    from holdfast import open_checkpointer
    from holdfast.middleware import HoldfastMiddleware

    agent = create_agent(model, tools, middleware=[HoldfastMiddleware()], checkpointer=open_checkpointer(url))

For a `ToolNode`, also that of `create_react_agent`:

    guard = ToolCallGuard()
    node = ToolNode(tools, wrap_tool_call=guard.wrap_tool_call, awrap_tool_call=guard.awrap_tool_call)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.checkpoints.extras import install_command
from holdfast.graph.tools.wrapper import ToolCallGuard

if TYPE_CHECKING:
    from holdfast.middleware.langchain import HoldfastMiddleware

__all__ = ["HoldfastMiddleware", "ToolCallGuard"]


def __getattr__(name: str) -> Any:
    if name != "HoldfastMiddleware":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from holdfast.middleware.langchain import HoldfastMiddleware
    except ImportError as error:
        raise ImportError(
            f"HoldfastMiddleware needs LangChain 1.5 or newer, which is not installed ({error}). "
            f"Install it: {install_command('langchain')}"
        ) from error
    return HoldfastMiddleware


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
