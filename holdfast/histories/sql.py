"""Conversations in a table of messages, or in what a query finds, on SQLite, PostgreSQL, MySQL or MariaDB."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from holdfast.checkpoints.errors import DriverMissing, UnreadableHistory
from holdfast.checkpoints.extras import install_command
from holdfast.histories.history import (
    Columns,
    History,
    NotUnderstood,
    add_fields,
    langchain_message,
    moment,
)

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, FromClause

LANGCHAIN_TABLE: Final = "message_store"
LANGCHAIN_COLUMNS: Final = Columns(thread="session_id", message="message", id="id")
"""Those of LangChain's `SQLChatMessageHistory`."""

_PAGE: Final = 1000  # rows that are read at once

# What SQLAlchemy takes for the name of a parameter, even in a quoted text. A query has none.
_PARAMETER: Final = re.compile(r"(?<![:\w$\\]):(?=[\w$]+(?![:\w$]))")

_DRIVERS: Final = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg", "mysql": "mysql+pymysql"}


def read_sql(
    url: str,
    *,
    table: str | None = None,
    query: str | None = None,
    columns: Columns | None = None,
    zone: tzinfo = UTC,
) -> Iterator[History]:
    """Yield the conversations in a table, in the order of their ids; the messages by time, and then by `id`.

    Args:
        url: the database, as SQLAlchemy names it. `postgresql://` and `mysql://` take the drivers that Holdfast's extra
            `histories` installs.
        table: the table, perhaps with its schema; by default that of LangChain's `SQLChatMessageHistory`.
        query: alternatively, a query whose rows are messages.
        columns: the names of the columns; by default those of LangChain.
        zone: the time zone of times without an offset.

    Raises:
        UnreadableHistory: the database, the table or a column is not there.
        DriverMissing: SQLAlchemy or the driver is not installed.
    """
    columns = columns or LANGCHAIN_COLUMNS
    if columns.thread is None or (columns.message is None and (columns.role is None or columns.content is None)):
        raise UnreadableHistory(
            table or "the query",
            "not every column is named.",
            "thread=…, role=… and content=…, or thread=… and message=…; also time=…, user=… and id=…, if they exist.",
        )
    name = "the query" if query is not None else f"table {table or LANGCHAIN_TABLE}"
    with _connected(url, name) as connection:
        wanted = _Wanted(connection, table or LANGCHAIN_TABLE, query, columns)
        count = wanted.count() if query is None else None  # a query may take its time, and would be run again
        for history in _histories(wanted.rows(), name, columns, zone):
            history.sort()  # the database may have times as texts, in several forms
            history.of = count
            yield history


def _histories(rows: Iterator[Mapping[str, Any]], name: str, columns: Columns, zone: tzinfo) -> Iterator[History]:
    history: History | None = None
    own = replace(columns, role="role", content="content", time="time", user="user")
    for number, row in enumerate(rows, 1):
        try:
            thread_id = _thread_id(row["thread"])
        except NotUnderstood as error:
            yield History("", problem=f"{name}, row {number}: {error}.")
            continue
        if history is None or history.thread_id != thread_id:
            if history is not None:
                yield history
            history = History(thread_id, place=f"{name}, conversation {thread_id!r}")
        place = f"id {row['id']}" if row.get("id") is not None else f"row {number}"
        try:
            _add(history, row, own, zone)
        except NotUnderstood as error:
            history.problem = history.problem or f"{history.place}, {place}: {str(error).rstrip('.')}."
    if history is not None:
        yield history


def _thread_id(value: Any) -> str:
    if value is None:
        raise NotUnderstood("it does not say which conversation it is of")
    try:
        return value.decode() if isinstance(value, bytes) else str(value)  # some columns of texts are binary
    except UnicodeDecodeError:
        found = f"its conversation is the {len(value)} bytes {value.hex()}"
        raise NotUnderstood(f"{found}, and needed a text: give a --query that makes one of them") from None


def _add(history: History, row: Mapping[str, Any], columns: Columns, zone: tzinfo) -> None:
    if columns.message is None:
        add_fields(history, row, columns, zone)
        return
    message = row["message"]
    if isinstance(message, str | bytes):
        try:
            message = json.loads(message)
        except ValueError as error:
            raise NotUnderstood(f"the message is no JSON, or only a part of it ({error})") from None
    time, user = row.get("time"), row.get("user")
    history.add(
        langchain_message(message), None if time is None else moment(time, zone), None if user is None else str(user)
    )


class _Wanted:
    """The wanted columns of a table, or of what a query finds."""

    def __init__(self, connection: Connection, table: str, query: str | None, columns: Columns) -> None:
        import sqlalchemy as sa

        self._connection = connection
        self._source: FromClause
        if query is not None:
            self._source = sa.text(_PARAMETER.sub(r"\\:", query.rstrip().rstrip(";"))).columns().subquery("found")
        else:
            schema, _, name = table.rpartition(".")
            self._source = sa.table(name, schema=schema or None)
        parts = ("thread", "role", "content", "time", "user", "id", "message")
        named = {part: getattr(columns, part) for part in parts}
        self._columns: dict[str, sa.ColumnElement[Any]] = {
            part: sa.column(name, _selectable=self._source) for part, name in named.items() if name is not None
        }
        self._thread: Any = self._columns["thread"]
        if connection.dialect.name in {"mysql", "mariadb"}:  # which takes `Ada` and `ada` for the same
            self._thread = sa.func.binary(self._thread)
        elif connection.dialect.name == "sqlite":  # which keeps the number 7 and the text '7' apart
            self._thread = sa.cast(self._thread, sa.Text)

    def count(self) -> int:
        """Count the conversations."""
        import sqlalchemy as sa

        distinct = sa.func.count(sa.distinct(self._thread))
        return int(self._connection.execute(sa.select(distinct).select_from(self._source)).scalar_one())

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """Yield the rows, conversation by conversation, in the order in which they were said."""
        import sqlalchemy as sa

        order = [self._thread, *(self._columns[part] for part in ("time", "id") if part in self._columns)]
        labelled = (column.label(part) for part, column in self._columns.items())
        statement = sa.select(*labelled).select_from(self._source).order_by(*order)
        found = self._connection.execution_options(stream_results=True, yield_per=_PAGE).execute(statement)
        for row in found:
            yield dict(row._mapping)  # noqa: SLF001 - SQLAlchemy documents it


def _is_missing_file(url: URL) -> bool:
    """Return whether a URL names a file of SQLite that is not there. SQLite would make it."""
    file = url.database
    if url.get_backend_name() != "sqlite" or not file or file == ":memory:" or file.startswith("file:"):
        return False
    return not Path(file).exists()


def _driver_missing(error: ImportError) -> DriverMissing:
    extra = "postgres" if error.name == "psycopg" else "histories"
    return DriverMissing(
        f"Conversations in a database need a package that is not installed ({error}). "
        f"Install it: {install_command(extra)}"
    )


def _text_of_sqlite(value: bytes) -> str | bytes:
    """Return a text; what is none stays bytes, so that its row can be named, and the others are read."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


@contextmanager
def _connected(url: str, name: str) -> Iterator[Connection]:
    try:
        import sqlalchemy as sa
        from sqlalchemy.exc import ArgumentError, SQLAlchemyError
    except ImportError as error:
        raise _driver_missing(error) from error

    scheme, found, rest = url.partition("://")
    try:
        engine = sa.create_engine(f"{_DRIVERS.get(scheme, scheme)}://{rest}" if found else url)
    except ImportError as error:
        raise _driver_missing(error) from error
    except ArgumentError:
        raise UnreadableHistory(
            "The database to import from",
            "its URL is none.",
            "a URL as SQLAlchemy names it, such as sqlite:///chat.db.",
        ) from None
    shown = engine.url.render_as_string(hide_password=True)
    if _is_missing_file(engine.url):
        raise UnreadableHistory(shown, "there is no such file.", "a database with conversations. Check the path.")
    try:
        with engine.connect() as connection:
            if isinstance(raw := connection.connection.driver_connection, sqlite3.Connection):
                raw.text_factory = _text_of_sqlite
            yield connection
    except SQLAlchemyError as error:
        why = str(getattr(error, "orig", None) or error).splitlines()[0].rstrip(".")
        raise UnreadableHistory(
            shown, f"{name} cannot be read ({why}).", "a database with this table, and with the columns that are named."
        ) from None
    finally:
        engine.dispose()
