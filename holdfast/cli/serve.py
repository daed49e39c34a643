"""`holdfast serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.errors import Mistake
from holdfast.cli.options import (
    Database,
    Debug,
    Given,
    Model,
    Shop,
)

EXAMPLE = "Example: holdfast serve --database postgresql://holdfast@localhost/holdfast --port 8123"


def serve(
    context: typer.Context,
    host: Annotated[
        str | None, typer.Option("--host", metavar="ADDRESS", help="By default HOLDFAST_HOST, else 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", metavar="NUMBER", help="By default HOLDFAST_PORT, else 2024.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="NUMBER", help="Runs at once. By default HOLDFAST_WORKERS, else 10."),
    ] = None,
    database: Database = None,
    model: Model = None,
    shop: Shop = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="A langgraph.json of your own; Holdfast's agent by default."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Serve the agent over HTTP, with LangGraph's server.

    Threads, pauses and owners are in the database and outlive the server. A port that is taken is refused.
    """
    given = Given(database, model, shop)
    settings = given.settings(context, host=host, port=port, workers=workers)
    from holdfast.server import run

    try:
        run.serve(settings, config, say=typer.echo)
    except (run.CannotServe, ValueError, ImportError) as error:
        raise Mistake(str(error)) from error
