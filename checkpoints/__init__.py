"""A LangGraph checkpointer that keeps every message once, as a row.

    from holdfast.checkpoints import open_checkpointer

    with open_checkpointer("sqlite:///chat.db") as checkpointer:
        graph = builder.compile(checkpointer=checkpointer)

The same object serves `invoke` and `ainvoke`.

Other packages import the names below, and from these modules; import-linter checks it:

- `errors`: all errors. `urls`: database URLs. `moments`: times as callers give them.
- `convert`, `maintenance`, `transfer` and `transfer.archive`: work on a database as a whole.
- `transcript.export`: transcripts as text. `search.query`: parsing of search queries.
- `runtime`, `effects`, `interrupts`: what an agent uses within a run.
- `langgraph_internals`: LangGraph's private names, in one place for all packages.
"""

from __future__ import annotations

from collections.abc import Collection

from holdfast.checkpoints import urls
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.effects import Effects
from holdfast.checkpoints.effects.states import Effect, Ended, InDoubt, Started, Why
from holdfast.checkpoints.errors import DriverMissing
from holdfast.checkpoints.interrupts import Answered, Interrupts, Waiting
from holdfast.checkpoints.lifecycle import Head
from holdfast.checkpoints.saver import HoldfastSaver
from holdfast.checkpoints.search.service import Hit, Search
from holdfast.checkpoints.serde.types import TypeName
from holdfast.checkpoints.threads import Page, Status, Thread, Threads
from holdfast.checkpoints.threads.leases import Lease
from holdfast.checkpoints.transcript import Transcript
from holdfast.checkpoints.transcript.entries import (
    ApprovalEntry,
    CalledTool,
    Entry,
    EventEntry,
    MessageEntry,
    Tokens,
)

__all__ = [
    "Answered",
    "ApprovalEntry",
    "CalledTool",
    "Database",
    "Effect",
    "Effects",
    "Ended",
    "Entry",
    "EventEntry",
    "Head",
    "Hit",
    "HoldfastSaver",
    "InDoubt",
    "Interrupts",
    "Lease",
    "MessageEntry",
    "Page",
    "Search",
    "Started",
    "Status",
    "Thread",
    "Threads",
    "Tokens",
    "Transcript",
    "Waiting",
    "Why",
    "open_checkpointer",
]


def open_checkpointer(
    url: str | None = None, *, allow: Collection[type | TypeName] = (), pool_size: int = 10
) -> HoldfastSaver:
    """Return a checkpointer for a database, to be opened by `with` or `async with`.

    Args:
        url: `memory://`, `sqlite:///relative.db`, `sqlite:////absolute.db`, or `postgresql://…` with any option of
            libpq and `timeout`, the seconds to wait while the server is out of reach. `None` is `sqlite:///holdfast.db`.
        allow: more types that may be loaded, as classes or as (module, name). Messages, standard types and
            those that a graph names in its state are always allowed.
        pool_size: the largest number of connections of a PostgreSQL checkpointer.

    Raises:
        InvalidURL: the URL has another form.
        DriverMissing: the driver of the database is not installed.
        ValueError: `pool_size` is below 1.
    """
    if pool_size < 1:
        raise ValueError(f"pool_size must be at least 1, the largest number of connections; found {pool_size}.")
    match urls.parse(url):
        case urls.PostgresURL() as location:
            try:
                from holdfast.checkpoints.backends.postgres import PostgresBackend
            except ImportError as error:
                raise DriverMissing(
                    f"PostgreSQL needs a driver that is not installed ({error}). "
                    "Install it: pip install 'holdfast[postgres]'."
                ) from error
            return HoldfastSaver(PostgresBackend(location, pool_size=pool_size), allow=allow)
        case location:
            from holdfast.checkpoints.backends.sqlite import SqliteBackend

            return HoldfastSaver(SqliteBackend(location), allow=allow)
