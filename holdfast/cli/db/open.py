"""The database that a command is about as it stands, without an agent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.errors import Mistake
from holdfast.cli.options import Given

if TYPE_CHECKING:
    from holdfast.checkpoints import HoldfastSaver
    from holdfast.checkpoints.urls import Location

Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="MODULE:CLASS",
        help="A message class of your own, which may be imported. May be given several times.",
        show_default=False,
    ),
]


def location_of(context: typer.Context, given: Given, *, must_be_there: bool = True) -> Location:
    """Where the database is; one that is not there is not made by looking at it."""
    settings = given.settings(context)
    from holdfast.checkpoints import maintenance, urls

    location = urls.parse(settings.database)
    if isinstance(location, urls.MemoryURL):
        raise Mistake("memory:// is gone when a command ends. Name a file or a server with --database.")
    if must_be_there and not maintenance.read_schema(location).is_there:
        raise Mistake(
            f"There are no conversations at {location}: neither LangGraph's tables nor Holdfast's. Name another place "
            "with --database."
        )
    return location


@contextmanager
def opened(context: typer.Context, given: Given, allow: list[str] | None = None) -> Iterator[HoldfastSaver]:
    """The database."""
    from holdfast.checkpoints import open_checkpointer

    names = [tuple(name.rpartition(":")[::2]) for name in allow or ()]
    if wrong := [name for name in allow or () if not all(name.rpartition(":"))]:
        raise Mistake(f"--allow {wrong[0]} names no class. Needed: --allow package.module:Class.")
    with open_checkpointer(given.settings(context).database, allow=names) as saver:
        yield saver


@contextmanager
def there(context: typer.Context, given: Given, allow: list[str] | None = None) -> Iterator[HoldfastSaver]:
    """The database, if it is there."""
    location_of(context, given)
    with opened(context, given, allow) as saver:
        yield saver
