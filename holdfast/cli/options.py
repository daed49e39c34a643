"""What the commands share: their options, and what is made of them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.errors import Mistake

if TYPE_CHECKING:
    from holdfast.checkpoints import HoldfastSaver
    from holdfast.graph.agent import Agent
    from holdfast.settings import Settings


@dataclass
class Run:
    """One run of the command, as far as its failures need to know it."""

    debug: bool = False
    secrets: set[str] = field(default_factory=set)
    """What is never printed, not even in a traceback."""


def _debug(context: typer.Context, value: bool) -> None:
    run = context.find_object(Run)
    if value and run is not None:
        run.debug = True


Thread = Annotated[str | None, typer.Option("--thread", metavar="ID", help="The conversation.", show_default=False)]
ThreadId = Annotated[str, typer.Argument(metavar="THREAD", help="The conversation.")]
Owner = Annotated[
    str | None,
    typer.Option("--user", metavar="NAME", help="Who asks: another user's is not found.", show_default=False),
]
User = Annotated[
    str | None,
    typer.Option("--user", metavar="NAME", help="Who talks; kept with the conversation.", show_default=False),
]
By = Annotated[
    str | None,
    typer.Option(
        "--by", metavar="NAME", help="Who decides; kept with the decision. By default, your name.", show_default=False
    ),
]
Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        help="Where conversations live: sqlite:///FILE, postgresql://..., memory://. By default HOLDFAST_DATABASE, "
        "else sqlite:///holdfast.db.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="offline, or openai:NAME. By default HOLDFAST_MODEL, else what OPENAI_API_KEY allows.",
    ),
]
Shop = Annotated[
    Path | None,
    typer.Option(
        "--shop", metavar="FILE", help="The example shop's SQLite file. By default HOLDFAST_SHOP, else shop.db."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Debug = Annotated[
    bool, typer.Option("--debug", callback=_debug, expose_value=False, help="Show the traceback of a failure.")
]


@dataclass(frozen=True)
class Given:
    """The options that say where things are, as they were given."""

    database: str | None = None
    model: str | None = None
    shop: Path | None = None

    def again(self, *words: str) -> str:
        """A command for people to paste, with the same options. A password in it is hidden."""
        from holdfast.checkpoints import urls

        shown = {
            "--database": self.database and str(urls.parse(self.database)),
            "--model": self.model,
            "--shop": self.shop and str(self.shop),
        }
        options = [word for name, value in shown.items() if value for word in (name, value)]
        return shlex.join(["holdfast", *words, *options])

    def settings(self, context: typer.Context, **more: Any) -> Settings:
        """The settings with these options, and `more` of them, in them.

        Raises:
            InvalidSettings: one of them cannot be used.
        """
        try:
            from holdfast.settings import load
        except ModuleNotFoundError as error:
            raise Mistake(f"The command line needs {error.name!r}. Install it: pip install 'holdfast[cli]'") from None
        from holdfast.checkpoints import urls

        settings = load(database=self.database, model=self.model, shop=self.shop, **more)
        if (run := context.find_object(Run)) is not None:
            location = urls.parse(settings.database)
            run.secrets |= set(location.secrets if isinstance(location, urls.PostgresURL) else ())
            run.secrets |= {settings.openai_api_key.get_secret_value()} if settings.openai_api_key else set()
        return settings


@contextmanager
def opened(settings: Settings) -> Iterator[tuple[HoldfastSaver, Agent]]:
    """The checkpointer, and the agent that uses it.

    Raises:
        Mistake: the model cannot be made of what was given.
    """
    from holdfast import factory

    with factory.checkpointer(settings) as saver:
        try:
            agent = factory.agent(settings, saver)
        except (ValueError, ImportError) as error:
            raise Mistake(str(error)) from error
        yield saver, agent


def decider(by: str | None, user: str | None = None) -> str | None:
    """Who decides: as given, else who says that they talk, else who is logged in."""
    if by or user:
        return by or user
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user need not have a name
        return None


def help_if_bare(context: typer.Context) -> None:
    """Say what there is if nothing was asked for."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


def config_of(thread_id: str) -> Any:
    return {"configurable": {"thread_id": thread_id}}
