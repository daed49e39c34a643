"""What is done to a database from outside, while nobody has to have it open: look at its schema, give space back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, Final, NamedTuple

from holdfast.checkpoints.backends import migrations as migrate
from holdfast.checkpoints.backends.base import Row
from holdfast.checkpoints.backends.sqlite import PAGE_SIZE
from holdfast.checkpoints.errors import DatabaseUnavailable, DriverMissing
from holdfast.checkpoints.sql import migrations
from holdfast.checkpoints.urls import Location, PostgresURL, SqliteURL

_VERSIONS: Final = "SELECT version, name, min_reader FROM holdfast_schema ORDER BY version"
_CONNECT_TIMEOUT: Final = 4  # seconds, as when a checkpointer is opened

_TABLES: Final = {
    "sqlite": "SELECT name FROM sqlite_schema WHERE type = 'table'",
    "postgres": """
        SELECT name
        FROM unnest(ARRAY['checkpoints', 'holdfast_schema']) AS name
        WHERE to_regclass(name) IS NOT NULL
    """,
}

# The tables that compacting leaves half empty.
_VACUUM: Final = "VACUUM (FULL) checkpoints, checkpoint_blobs, checkpoint_writes"

_Query = Callable[[str], list[Row]]


class Schema(NamedTuple):
    """What a database was found to be."""

    is_there: bool
    """Whether it has tables of LangGraph or Holdfast at all."""
    version: int
    """The newest of our migrations that it has seen; 0 for none, as in a database of the stock savers."""
    known: int
    """The newest migration of this code."""
    pending: list[str]
    """The migrations that it has not seen, oldest first."""


def schema(location: Location) -> Schema:
    """Which schema a database has. Nothing is changed: no file is made, and no table.

    Raises:
        DatabaseUnavailable: it cannot be opened or reached.
        SchemaTooNew: newer code has changed it so that this code cannot read it.
    """
    if isinstance(location, SqliteURL) and not location.path.exists():
        return _schema("sqlite", [], is_there=False)
    with _connected(location, read_only=True) as (dialect, query):
        tables = {row[0] for row in query(_TABLES[dialect])}
        rows = query(_VERSIONS) if "holdfast_schema" in tables else []
        return _schema(dialect, rows, is_there=bool(tables & {"checkpoints", "holdfast_schema"}))


def vacuum(location: Location) -> None:
    """Give the space back that is free in a database. It takes as much space again while it runs, and others wait.

    Raises:
        DatabaseUnavailable: it cannot be opened or reached, or refuses.
    """
    with _connected(location, read_only=False) as (dialect, query):
        if dialect == "postgres":
            query(_VACUUM)
            return
        # A page of another size, such as those of the stock saver, fits rows worse. It can only be changed without a
        # write-ahead log, which cannot be left while somebody else has the file open; then the pages stay.
        with suppress(sqlite3.OperationalError):
            query("PRAGMA journal_mode = DELETE")
            query(f"PRAGMA page_size = {PAGE_SIZE}")
        query("VACUUM")
        query("PRAGMA journal_mode = WAL")
        query("PRAGMA wal_checkpoint(TRUNCATE)")  # until then the file keeps its size


def _schema(dialect: str, rows: Sequence[Row], *, is_there: bool) -> Schema:
    migrate.refuse_newer(rows)
    applied = {version for version, _, _ in rows}
    pending = [f"{m.version:04}_{m.name}" for m in migrations(dialect) if m.version not in applied]
    return Schema(is_there, max(applied, default=0), migrate.KNOWN_VERSION, pending)


@contextmanager
def _connected(location: Location, *, read_only: bool) -> Iterator[tuple[str, _Query]]:
    """A connection of its own, with the kind of the database and how to ask it."""
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
            with _postgres(location) as query:
                yield "postgres", query
        case _:
            raise DatabaseUnavailable("memory:// has nothing in it before it is opened, and nothing after.")


@contextmanager
def _postgres(location: PostgresURL) -> Iterator[_Query]:
    try:
        import psycopg
    except ImportError as error:
        raise DriverMissing(
            f"PostgreSQL needs a driver that is not installed ({error}). Install it: pip install 'holdfast[postgres]'."
        ) from error
    options: dict[str, Any] = {} if "connect_timeout" in location.dsn else {"connect_timeout": _CONNECT_TIMEOUT}
    try:
        with psycopg.connect(location.dsn, autocommit=True, **options) as connection:

            def query(statement: str) -> list[Row]:
                cursor = connection.execute(statement.encode())
                return cursor.fetchall() if cursor.description is not None else []

            yield query
    except psycopg.Error as error:
        said = location.hide(str(error))
        raise DatabaseUnavailable(f"The PostgreSQL database {location} could not be used: {said}.") from None
