"""Servers: what is mounted in LangGraph's server, and a router for an application of your own.

from holdfast.server import router
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.server.web import create_app, router

__all__ = ["create_app", "router"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from holdfast.server import web
    except ImportError as error:
        from holdfast.checkpoints.extras import install_command

        raise ImportError(f"The router is not installed ({error}). Install it: {install_command('web')}") from error
    return getattr(web, name)
