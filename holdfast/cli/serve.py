"""`holdfast serve`: serve agents over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.errors import Mistake
from holdfast.cli.options import (
    Agent,
    CommonOptions,
    Database,
    Debug,
    Model,
    Shop,
)

EXAMPLE = "Example: holdfast serve --database postgresql://holdfast@localhost/holdfast --port 8123"


def serve(
    context: typer.Context,
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="ADDRESS", help="Address to listen on. Default: HOLDFAST_HOST, else 127.0.0.1."),
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", metavar="N", help="Port to listen on. Default: HOLDFAST_PORT, else 2024.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            help="Runs at the same time. Default: HOLDFAST_WORKERS, else 10, or 100 with --router.",
        ),
    ] = None,
    database: Database = None,
    agent: Agent = None,
    model: Model = None,
    shop: Shop = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Your own langgraph.json, for several graphs. Default: the one agent of --agent.",
        ),
    ] = None,
    router: Annotated[
        bool,
        typer.Option(
            "--router",
            help="Serve one agent by Holdfast's own routes in place of LangGraph's server: turns go on in another "
            "process if this one dies.",
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Serve agents over HTTP with LangGraph's server, or one agent with Holdfast's own router.

    Threads, pending calls and owners are stored in the database and outlive the server. A port that is in use is
    refused.
    """
    if agent and config:
        raise Mistake(
            "--agent and --config were given together. Name the agent in the langgraph.json, or leave one out."
        )
    if router and config:
        raise Mistake("--router and --config were given together. The router serves one agent: name it by --agent.")
    options = CommonOptions(context, database, model, shop, agent=agent)
    settings = options.settings(host=host, port=port, workers=workers)
    from holdfast.server import run

    try:
        if router:
            from holdfast.server.serve_router import serve_router

            serve_router(settings, say=typer.echo)
        else:
            run.serve(settings, config, say=typer.echo)
    except (run.CannotServe, ValueError, ImportError) as error:
        raise Mistake(str(error)) from error
