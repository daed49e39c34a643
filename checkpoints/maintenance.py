"""Inspection and upkeep of a database: its schema version, what takes its space, and VACUUM.

`read_schema` and `vacuum` connect by themselves, so that they work on a database that this code cannot open.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from holdfast.checkpoints.backends import migrations as migrate
from holdfast.checkpoints.backends.base import Call
from holdfast.checkpoints.backends.sqlite import PAGE_SIZE
from holdfast.checkpoints.convert.encrypt import keys_in_use
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.encryption.opening import read_state
from holdfast.checkpoints.encryption.sealer import State
from holdfast.checkpoints.errors import DatabaseUnavailable, DriverMissing
from holdfast.checkpoints.extras import install_command
from holdfast.checkpoints.sql import migrations
from holdfast.checkpoints.store.items import count_items
from holdfast.checkpoints.urls import Location, PostgresURL, SqliteURL

_VERSIONS: Final = "SELECT version, name, min_reader FROM holdfast_schema ORDER BY version"

_TABLES: Final = {
    "sqlite": "SELECT name FROM sqlite_schema WHERE type = 'table'",
    "postgres": """
        SELECT name
        FROM unnest(ARRAY['checkpoints', 'holdfast_schema']) AS name
        WHERE to_regclass(name) IS NOT NULL
    """,
}

# The tables that a conversion leaves half empty.
_HALF_EMPTY: Final = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")

_Query = Callable[[str], list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Schema:
    """The schema version of a database, compared with that of this code."""

    is_there: bool
    """Whether the database has tables of LangGraph or Holdfast."""
    version: int
    """The newest migration that was applied; 0 if none was, as in a database of LangGraph's own savers."""
    known: int
    """The newest migration that this code has."""
    pending: list[str]
    """The migrations that were not applied yet, oldest first."""


@dataclass(frozen=True, slots=True)
class TableSize:
    """The size of a table or an index."""

    kind: str
    name: str
    table: str
    bytes: int


@dataclass(frozen=True, slots=True)
class ThreadSize:
    """The size of a thread."""

    thread_id: str
    checkpoints: int
    messages: int
    """Message rows. Checkpoints of LangGraph's own savers have none."""
    bytes: int
    """Bytes of the stored values, without the overhead of the database."""


@dataclass(frozen=True, slots=True)
class Stats:
    """The space that a database takes, and for what."""

    bytes: int
    """The whole database; on PostgreSQL the tables of LangGraph and Holdfast."""
    free: int | None
    """Bytes in empty pages, which VACUUM gives back; `None` if unknown."""
    threads: int
    checkpoints: int
    writes: int
    messages: int
    text: int
    """Bytes of text in the message rows."""
    parts: list[TableSize]
    """Tables and indexes, largest first; empty if the database cannot measure them."""
    largest: list[ThreadSize]
    items: int = 0
    """Items of long-term memory."""
    encryption: State = "off"
    """Whether what it holds of conversations is encrypted, or is being encrypted."""
    keys: dict[str, int] = field(default_factory=dict)
    """The number of data keys that each master key has wrapped, by its id."""

    @property
    def ratio(self) -> float | None:
        """Bytes on disk for each byte of text."""
        return self.bytes / self.text if self.text else None


def read_schema(location: Location) -> Schema:
    """Return the schema version of a database. Create no file and no table.

    Raises:
        DatabaseUnavailable: the database cannot be opened or reached.
        SchemaTooNew: newer code has changed the schema, and this code cannot read it.
    """
    if isinstance(location, SqliteURL) and not location.path.exists():
        return _schema("sqlite", [], is_there=False)
    with _connected(location, read_only=True) as (dialect, query):
        tables = {row[0] for row in query(_TABLES[dialect])}
        rows = query(_VERSIONS) if "holdfast_schema" in tables else []
        return _schema(dialect, rows, is_there=bool(tables & {"checkpoints", "holdfast_schema"}))


def collect_stats(database: Database, *, largest: int = 10) -> Stats:
    """Measure what takes the space in an open database. The sizes of all values are read, but not the values.

    Args:
        database: the open database.
        largest: how many of the largest threads to return.
    """
    sql = database.backend.sql
    calls: list[Call] = [(sql[name], {}) for name in ("can_measure", "whole_size", "counts")]
    with database.backend.reading() as transaction:
        [[(can_measure,)], [(size, free)], [counts], large] = transaction.run(
            [*calls, (sql["largest"], {"limit": largest})]
        )
        [tables] = transaction.run([(sql["sizes"], {})]) if can_measure else [[]]
    threads, checkpoints, writes, messages, text = counts
    return Stats(
        bytes=int(size),
        free=free,
        threads=threads,
        checkpoints=checkpoints,
        writes=writes,
        messages=messages,
        text=text,
        parts=[TableSize(*row) for row in tables],
        largest=[ThreadSize(*row) for row in large],
        items=count_items(database.backend),
        encryption=read_state(database.backend),
        keys=keys_in_use(database),
    )


def vacuum(location: Location) -> None:
    """Give the free space of a database back to the file system.

    This needs as much space again while it runs, and other connections wait.

    Raises:
        DatabaseUnavailable: the database cannot be opened or reached, or it refuses.
    """
    with _connected(location, read_only=False) as (_, query):
        if isinstance(location, PostgresURL):
            query(_vacuum_tables(location))
            return
        # Rows fit worse into pages of another size, such as those of LangGraph's own saver. The size can only be
        # changed without a write-ahead log, which SQLite cannot leave while another connection has the file open.
        # Then the size stays.
        with suppress(sqlite3.OperationalError):
            query("PRAGMA journal_mode = DELETE")
            query(f"PRAGMA page_size = {PAGE_SIZE}")
        query("VACUUM")
        query("PRAGMA journal_mode = WAL")
        query("PRAGMA wal_checkpoint(TRUNCATE)")  # until then the file keeps its size


def _schema(dialect: str, rows: Sequence[tuple[Any, ...]], *, is_there: bool) -> Schema:
    applied = {version: min_reader for version, _, min_reader in rows}
    migrate.refuse_newer(applied)
    pending = [f"{m.version:04}_{m.name}" for m in migrations(dialect) if m.version not in applied]
    return Schema(is_there, max(applied, default=0), migrate.KNOWN_VERSION, pending)


@contextmanager
def _connected(location: Location, *, read_only: bool) -> Iterator[tuple[str, _Query]]:
    """Connect to a database, and yield its dialect and a function that runs a statement."""
    match location:
        case SqliteURL(path=path, timeout=timeout):
            mode = "ro" if read_only else "rw"
            try:
                uri = f"{path.absolute().as_uri()}?mode={mode}"
                with closing(sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None)) as connection:
                    yield "sqlite", lambda statement: connection.execute(statement).fetchall()
            except sqlite3.Error as error:
                raise DatabaseUnavailable(
                    f"The SQLite database {location} could not be used: {error}. Nothing was changed."
                ) from error
        case PostgresURL():
            with _postgres(location, in_transaction=read_only) as query:
                yield "postgres", query
        case _:
            raise DatabaseUnavailable(
                "memory:// exists only while a checkpointer has it open. Use the URL of a SQLite file or of PostgreSQL."
            )


@contextmanager
def _postgres(location: PostgresURL, *, in_transaction: bool) -> Iterator[_Query]:
    try:
        import psycopg

        from holdfast.checkpoints.backends.postgres.session import connect, search_path, transaction
    except ImportError as error:
        raise DriverMissing(
            f"PostgreSQL needs a driver that is not installed ({error}). Install it: {install_command('postgres')}"
        ) from error
    try:
        with (
            connect(location) as connection,
            transaction(connection, search_path(location)) if in_transaction else nullcontext(),
        ):

            def query(statement: str) -> list[tuple[Any, ...]]:
                cursor = connection.execute(statement.encode())
                return cursor.fetchall() if cursor.description is not None else []

            yield query
    except psycopg.Error as error:
        reason = location.hide(str(error))
        raise DatabaseUnavailable(f"The PostgreSQL database {location} could not be used: {reason}.") from None


def _vacuum_tables(location: PostgresURL) -> str:
    """Return the statement that vacuums tables. It runs outside of a transaction, where there is no `search_path`."""
    from holdfast.checkpoints.backends.postgres.session import quoted

    schema = "" if location.schema is None else f"{quoted(location.schema)}."
    return f"VACUUM (FULL) {', '.join(schema + table for table in _HALF_EMPTY)}"
