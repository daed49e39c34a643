"""Open the database that a command is about, without an agent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from holdfast.cli.errors import Mistake
from holdfast.cli.options import CommonOptions, hide_secrets

if TYPE_CHECKING:
    from holdfast.checkpoints import HoldfastDatabase, HoldfastSaver
    from holdfast.checkpoints.urls import Location

Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="MODULE:CLASS",
        help="A message class of your own that may be imported. May be repeated.",
        show_default=False,
    ),
]

URL_FORMS: Final = "sqlite:///FILE or postgresql://..."
"""The databases that outlive a command."""


def locate(context: typer.Context, url: str) -> Location:
    """Return where a URL points, and keep its password out of error reports.

    Raises:
        InvalidURL: it is not the URL of a database.
        Mistake: it is `memory://`, which exists only while a command runs.
    """
    from holdfast.checkpoints import urls

    location = urls.parse(url)
    hide_secrets(context, location)
    if isinstance(location, urls.MemoryURL):
        raise Mistake(f"memory:// is gone when a command ends. Needed: {URL_FORMS}")
    return location


def require_conversations(location: Location) -> None:
    """Refuse a database without conversations. It is not created by this.

    Raises:
        Mistake: there is no such database, or it has no tables of Holdfast or LangGraph.
    """
    from holdfast.checkpoints import maintenance

    if not maintenance.read_schema(location).is_there:
        raise Mistake(
            f"There are no conversations at {location}: no tables of Holdfast or LangGraph were found. Check the URL."
        )


def locate_database(options: CommonOptions) -> Location:
    """Return where the database of a command is. It must exist.

    Raises:
        Mistake: there are no conversations in it.
    """
    location = locate(options.context, options.settings().database)
    require_conversations(location)
    return location


def is_other_database(options: CommonOptions, thread_id: str | None) -> bool:
    """Return whether the database of a command is another checkpointer's, which knows what waits in a thread.

    Raises:
        Mistake: it is, and no thread was named.
    """
    from holdfast.checkpoints import urls

    location = urls.parse_any(options.settings().database)
    is_other = isinstance(location, urls.OtherURL)
    if is_other and thread_id is None:
        raise Mistake(
            f"{location} is a database of another checkpointer, without a list of requests. Needed: the conversation, "
            f"--thread ID. For a list, copy the conversations: holdfast db copy {location} sqlite:///chat.db"
        )
    return is_other


@contextmanager
def open_database(
    options: CommonOptions, allow: list[str] | None = None, *, takes_plain: bool = False
) -> Iterator[HoldfastDatabase]:
    """Open the database of a command, with the keys of the settings.

    Args:
        options: the options of the command.
        allow: types that may be imported.
        takes_plain: whether to open a database that is not encrypted although there are keys.

    Raises:
        Mistake: `allow` does not name a class.
    """
    from holdfast import checkpoints

    settings, types = options.settings(), _type_names(allow)
    with checkpoints.open_database(
        settings.database,
        allow=types,
        redact=settings.redaction,
        keys=settings.master_keys(),
        keys_database=settings.keys_database,
        takes_plain=takes_plain,
    ) as database:
        yield database


@contextmanager
def open_saver(options: CommonOptions, allow: list[str] | None = None) -> Iterator[HoldfastSaver]:
    """Do as `open_database`, with a checkpointer, for commands with an agent."""
    from holdfast.checkpoints import open_checkpointer

    settings = options.settings()
    with open_checkpointer(
        settings.database,
        allow=_type_names(allow),
        redact=settings.redaction,
        keys=settings.master_keys(),
        keys_database=settings.keys_database,
    ) as saver:
        yield saver


@contextmanager
def open_existing(options: CommonOptions, allow: list[str] | None = None) -> Iterator[HoldfastDatabase]:
    """Open the database of a command, which must exist."""
    locate_database(options)
    with open_database(options, allow) as database:
        yield database


def _type_names(allow: list[str] | None) -> list[tuple[str, ...]]:
    if wrong := [name for name in allow or () if not all(name.rpartition(":"))]:
        raise Mistake(f"--allow {wrong[0]} is not the name of a class. Needed: --allow package.module:Class")
    return [tuple(name.rpartition(":")[::2]) for name in allow or ()]


def check_thread(saver: HoldfastDatabase, thread_id: str | None, options: CommonOptions) -> None:
    """Refuse a thread that the database does not have; `None` is accepted.

    Raises:
        Mistake: there is no such thread.
    """
    if thread_id is not None and not saver.heads(thread_id=thread_id):
        command = options.command("threads", "list")
        raise Mistake(f"There is no thread {thread_id!r} in this database. To list its threads: {command}")
