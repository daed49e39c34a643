"""The options that commands share, and what a command makes of them.

Imports nothing slow, so that help and a mistyped option answer at once.
"""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, Final, ParamSpec, TypeVar

import typer

from holdfast.cli.errors import Mistake
from holdfast.cli.output import print_notice

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from langgraph.checkpoint.base import BaseCheckpointSaver

    from holdfast.checkpoints.urls import HasSecrets
    from holdfast.graph.conversation.agents import AnyAgent
    from holdfast.settings import Settings


@dataclass
class CommandState:
    """The state of one command that its error report needs."""

    debug: bool = False
    has_settings: bool = False
    """Whether the settings were read, and what is wrong with them was said."""
    secrets: set[str] = field(default_factory=set)
    """Texts that are never printed, not even in a traceback."""


def _set_debug(context: typer.Context, value: bool) -> None:
    state = context.find_object(CommandState)
    if value and state is not None:
        state.debug = True


# --- options and arguments ---


def no_default(name: str, metavar: str, help: str, short: str | None = None) -> Any:
    """Return an option whose help shows no default value."""
    return typer.Option(*filter(None, (name, short)), metavar=metavar, help=help, show_default=False)


def complete_thread(context: typer.Context, incomplete: str) -> list[str]:
    """Return the ids of threads that begin with what was typed, for completion by Tab."""
    from holdfast.cli.completion import thread_ids

    return thread_ids(context.params.get("database"), incomplete)


Thread = Annotated[
    str | None,
    typer.Option(
        "--thread",
        "-t",
        metavar="ID",
        help="Id of the conversation.",
        show_default=False,
        autocompletion=complete_thread,
    ),
]
ThreadId = Annotated[
    str, typer.Argument(metavar="THREAD", help="Id of the conversation.", autocompletion=complete_thread)
]
ActingUser = Annotated[
    str | None,
    no_default(
        "--user", "NAME", "Act as this user, who sees their own conversations and those shared with them.", "-u"
    ),
]
By = Annotated[
    str | None,
    no_default("--by", "NAME", "Your name, for the record. Default: your login name."),
]
Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        "-d",
        metavar="URL",
        help="Where conversations are stored: sqlite:///FILE, postgresql://... or memory://. Default: "
        "HOLDFAST_DATABASE, else sqlite:///holdfast.db.",
    ),
]
Agent = Annotated[
    str | None,
    typer.Option(
        "--agent",
        "-a",
        metavar="MODULE:NAME",
        help="Your own agent: a compiled graph, a StateGraph, or a function that makes one, in a module that can be "
        "imported from here. Default: HOLDFAST_AGENT, else the example shop's agent.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="offline, openai:NAME, or LangChain's name of another provider's, such as anthropic:NAME. Default: "
        "HOLDFAST_MODEL, else an OpenAI model if OPENAI_API_KEY is set, else offline.",
    ),
]
Shop = Annotated[
    Path | None,
    typer.Option(
        "--shop", metavar="FILE", help="SQLite file of the example shop. Default: HOLDFAST_SHOP, else shop.db."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Debug = Annotated[
    bool, typer.Option("--debug", callback=_set_debug, expose_value=False, help="Show the traceback of an error.")
]


class Format(StrEnum):
    """A format of `holdfast threads export`: the whole conversation, or its transcript."""

    HOLDFAST = "holdfast"

    JSONL = "jsonl"
    MARKDOWN = "markdown"
    HTML = "html"


# --- times ---

TIME_METAVAR: Final = "WHEN"

TIME_HELP: Final = (
    "A date or time (2026-11-01, 2026-11-01T09:30; UTC unless it has an offset), or an age: 30m, 12h, 7d."
)
"""The help of an option that takes a time."""

_AGE = re.compile(r"(\d{1,6})\s*([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_time(text: str | None, option: str, now: datetime | None = None) -> float | None:
    """Convert the time that an option was given to epoch seconds.

    Args:
        text: an ISO date or time, in UTC unless it has an offset; or an age: `30m`, `12h`, `7d`, `2w`. `None`, for an
            option that was not given, returns `None`.
        option: the option's name, for the error.
        now: the time that an age is counted back from; by default the current time.

    Raises:
        Mistake: the text is not a time.
    """
    if text is None:
        return None
    from holdfast.checkpoints.moments import epoch_seconds

    try:
        if age := _AGE.fullmatch(text.strip().lower()):
            return ((now or datetime.now(UTC)) - timedelta(**{_UNITS[age[2]]: int(age[1])})).timestamp()
        return epoch_seconds(text, option, zone=UTC)
    except (ValueError, OverflowError):
        raise Mistake(
            f"{option} {text!r} is not a time. Needed: a date or time such as 2026-11-01 or 2026-11-01T09:30, or an "
            "age such as 30m, 12h, 7d, 2w."
        ) from None


# --- from options to settings, checkpointer and agent ---


@dataclass(frozen=True)
class CommonOptions:
    """The options that commands share, as one command was given them."""

    context: typer.Context
    database: str | None = None
    model: str | None = None
    shop: Path | None = None
    as_json: bool = False
    agent: str | None = None

    def command(self, *words: str) -> str:
        """Return a `holdfast` command with the same options, for the user to paste. Its password is hidden."""
        from holdfast.checkpoints import urls

        values = {
            "--database": self.database and str(urls.parse_any(self.database)),
            "--agent": self.agent,
            "--model": self.model,
            "--shop": self.shop and str(self.shop),
        }
        options = [word for name, value in values.items() if value for word in (name, value)]
        return shlex.join(["holdfast", *words, *options])

    def settings(self, **more: Any) -> Settings:
        """Return the settings, in which these options and `more` take precedence.

        Raises:
            InvalidSettings: a setting cannot be used.
            Mistake: an option is of no use beside another one.
        """
        try:
            from holdfast.settings import load, unknown
        except ModuleNotFoundError as error:
            from holdfast.checkpoints.extras import install_command

            raise Mistake(f"The command line needs {error.name!r}. Install it: {install_command('cli')}") from None
        from holdfast.checkpoints import urls

        given = {"database": self.database, "agent": self.agent, "model": self.model, "shop": self.shop}
        settings = load(**{**given, **more})
        if settings.agent is not None and (self.model or self.shop):
            name = "--model" if self.model else "--shop"
            raise Mistake(
                f"{name} is of the example shop's agent, and the agent is {settings.agent}. Leave {name} out."
            )
        hide_secrets(self.context, urls.parse_any(settings.database))
        state = self.context.find_object(CommandState)
        if state is not None and not state.has_settings:
            state.has_settings = True
            for name, like in unknown().items():
                print_notice(f"{name} is no setting, and changes nothing.{f' Is {like} meant?' if like else ''}")
        if state is not None and settings.openai_api_key is not None:
            state.secrets.add(settings.openai_api_key.get_secret_value())
        return settings


_SHARED: Final[dict[str, Any]] = {
    "database": Database,
    "agent": Agent,
    "model": Model,
    "shop": Shop,
    "as_json": Json,
    "debug": Debug,
}
_DEFAULTS: Final = {"as_json": False, "debug": False}

_P = ParamSpec("_P")
_S = TypeVar("_S", bound="BaseCheckpointSaver[Any]")


def with_database_options(command: Callable[Concatenate[CommonOptions, _P], None]) -> Callable[..., None]:
    """Give a command the options --database, --json and --debug, after its own."""
    return _with_shared(command, ("database", "as_json", "debug"))


def with_reading_options(command: Callable[Concatenate[CommonOptions, _P], None]) -> Callable[..., None]:
    """Give a command the options --database, --agent, --json and --debug, after its own."""
    return _with_shared(command, ("database", "agent", "as_json", "debug"))


def with_agent_options(command: Callable[Concatenate[CommonOptions, _P], None]) -> Callable[..., None]:
    """Give a command the options --database, --agent, --model, --shop, --json and --debug, after its own."""
    return _with_shared(command, tuple(_SHARED))


def _with_shared(command: Callable[..., None], names: Collection[str]) -> Callable[..., None]:
    """Return the function that Typer calls: with a context and the shared options in place of `CommonOptions`."""

    @wraps(command)
    def run(context: typer.Context, **values: Any) -> None:
        shared = {name: values.pop(name, _DEFAULTS.get(name)) for name in names}
        shared.pop("debug")  # its callback has set it
        command(CommonOptions(context, **shared), **values)

    _, *own = inspect.signature(command, eval_str=True).parameters.values()
    parameters = [
        inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
        *own,
        *(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=_DEFAULTS.get(name), annotation=_SHARED[name]
            )
            for name in names
        ),
    ]
    typed: Any = run
    typed.__signature__ = inspect.Signature(parameters)
    typed.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def make_group(help: str, example: str) -> typer.Typer:
    """Return a group of commands, which prints its help if no command was given."""
    group = typer.Typer(help=help, epilog=f"Example: {example}", rich_markup_mode=None, invoke_without_command=True)
    group.callback()(help_without_command)
    return group


def hide_secrets(context: typer.Context, location: HasSecrets) -> None:
    """Keep the secrets of a database's URL out of error reports."""
    state = context.find_object(CommandState)
    if state is not None:
        state.secrets |= location.secrets


@contextmanager
def open_agent(settings: Settings, checkpointer: AbstractContextManager[_S]) -> Iterator[tuple[_S, AnyAgent]]:
    """Open a checkpointer of `factory`, and make the agent that uses it.

    Raises:
        Mistake: the agent cannot be made from the settings.
    """
    from holdfast import factory
    from holdfast.graph.conversation.agents import AgentProfile

    with checkpointer as saver:
        try:
            agent = factory.make_agent(settings, saver)
            AgentProfile(agent)  # it refuses a graph without messages
        except (ValueError, ImportError) as error:
            raise Mistake(str(error)) from error
        yield saver, agent


def decider_name(by: str | None, user: str | None = None) -> str | None:
    """Return the name to save with a decision: `by`, else `user`, else the login name."""
    if by or user:
        return by or user
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return None


def help_without_command(context: typer.Context) -> None:
    """Print the help if no command was given."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


def thread_config(thread_id: str) -> Any:
    """Return the config of a thread."""
    return {"configurable": {"thread_id": thread_id}}
