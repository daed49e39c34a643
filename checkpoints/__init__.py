"""Where conversations live: a LangGraph checkpointer that keeps every message once, as a row.

    from holdfast.checkpoints import open_checkpointer

    with open_checkpointer("sqlite:///chat.db") as checkpointer:
        graph = builder.compile(checkpointer=checkpointer)

The same object serves `invoke` and `ainvoke`.
"""

from __future__ import annotations

from collections.abc import Collection

from holdfast.checkpoints import urls
from holdfast.checkpoints.backends.executor import run_in_own_executor
from holdfast.checkpoints.config import run_of
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.effects import Effects, arguments_digest, effect_key, idempotency_key
from holdfast.checkpoints.effects.states import Effect, Ended, InDoubt, Started, Why
from holdfast.checkpoints.errors import (
    AlreadyAnswered,
    ClockSkew,
    DamagedThread,
    DatabaseUnavailable,
    DriverMissing,
    EffectNotApproved,
    EffectNotCommitted,
    EffectTaken,
    HoldfastError,
    InvalidArchive,
    InvalidCursor,
    InvalidSearch,
    InvalidThread,
    InvalidURL,
    NotAnswered,
    NotConverted,
    NothingToUndo,
    NotMoved,
    NotOpen,
    NotStorable,
    RequestClosed,
    SchemaTooNew,
    SearchUnavailable,
    ThreadBusy,
    ThreadChanged,
    ThreadConflict,
    ThreadDiffers,
    ThreadNotEmpty,
    TypeNotAllowed,
    UnknownCheckpoint,
    UnknownInterrupt,
    UnknownMessage,
    UnknownThread,
)
from holdfast.checkpoints.interrupts import Answered, Interrupts, Waiting, answer_digest
from holdfast.checkpoints.lifecycle import Head
from holdfast.checkpoints.moments import epoch_seconds
from holdfast.checkpoints.runtime import running_saver, unwrap_saver
from holdfast.checkpoints.saver import HoldfastSaver
from holdfast.checkpoints.search.query import parse_query
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
    "AlreadyAnswered",
    "Answered",
    "ApprovalEntry",
    "CalledTool",
    "ClockSkew",
    "DamagedThread",
    "Database",
    "DatabaseUnavailable",
    "DriverMissing",
    "Effect",
    "EffectNotApproved",
    "EffectNotCommitted",
    "EffectTaken",
    "Effects",
    "Ended",
    "Entry",
    "EventEntry",
    "Head",
    "Hit",
    "HoldfastError",
    "HoldfastSaver",
    "InDoubt",
    "Interrupts",
    "InvalidArchive",
    "InvalidCursor",
    "InvalidSearch",
    "InvalidThread",
    "InvalidURL",
    "Lease",
    "MessageEntry",
    "NotAnswered",
    "NotConverted",
    "NotMoved",
    "NotOpen",
    "NotStorable",
    "NothingToUndo",
    "Page",
    "RequestClosed",
    "SchemaTooNew",
    "Search",
    "SearchUnavailable",
    "Started",
    "Status",
    "Thread",
    "ThreadBusy",
    "ThreadChanged",
    "ThreadConflict",
    "ThreadDiffers",
    "ThreadNotEmpty",
    "Threads",
    "Tokens",
    "Transcript",
    "TypeNotAllowed",
    "UnknownCheckpoint",
    "UnknownInterrupt",
    "UnknownMessage",
    "UnknownThread",
    "Waiting",
    "Why",
    "answer_digest",
    "arguments_digest",
    "effect_key",
    "epoch_seconds",
    "idempotency_key",
    "open_checkpointer",
    "parse_query",
    "run_in_own_executor",
    "run_of",
    "running_saver",
    "unwrap_saver",
]


def open_checkpointer(
    url: str | None = None, *, allow: Collection[type | TypeName] = (), pool_size: int = 10
) -> HoldfastSaver:
    """A checkpointer for a database, to be opened by `with` or `async with`.

    Args:
        url: `memory://`, `sqlite:///relative.db`, `sqlite:////absolute.db`, or `postgresql://…` with any option of
            libpq and `timeout`, the seconds to wait while the server is out of reach. `None` is `sqlite:///holdfast.db`.
        allow: types that may be loaded besides messages, standard types and those that a graph names in its state;
            as classes, or as (module, name).
        pool_size: how many connections a PostgreSQL checkpointer opens at the most.

    Raises:
        InvalidURL: the URL is not one of those.
        DriverMissing: the database's driver is not installed.
        ValueError: `pool_size` is below 1.
    """
    if pool_size < 1:
        raise ValueError(f"pool_size is how many connections there may be, at least 1; found {pool_size}.")
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
