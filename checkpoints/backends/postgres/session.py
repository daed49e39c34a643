"""Connections to PostgreSQL, and what each transaction sets for itself.

Nothing here relies on a session: behind a pooler in transaction mode, each transaction may run in another one. So there
is no `SET` outside of a transaction, no prepared statement unless the URL asks for it, no advisory lock of a session,
and no parameter in the first message of a connection that such a pooler refuses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

import psycopg
from psycopg.abc import PQGen

from holdfast.checkpoints.backends.postgres.encodings import Repertoire
from holdfast.checkpoints.backends.postgres.pool import Connection
from holdfast.checkpoints.sql import Statement
from holdfast.checkpoints.urls import PostgresURL

# A server that does not answer is reported within 5 s, unless the URL says otherwise.
_CONNECT_TIMEOUT: Final = 4

# Without an answer, a broken network is noticed within half a minute, instead of after the system's 15 minutes or 2
# hours.
_NETWORK: Final = {"tcp_user_timeout": 30_000, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4}

# Of several servers, the one that has taken over. Without it, libpq takes the first that answers, also a standby.
_PRIMARY: Final = "primary"

# Seconds. Between two statements of a transaction this process may wait for its turn on the processor. A server that
# ends such a transaction earlier would end it again each time that it is repeated.
_LEAST_IDLE_IN_TRANSACTION: Final = 10

# Uses of a statement before it is prepared: a process that does little prepares little.
_PREPARE_AFTER: Final = 3

# All statements of a conversation. Each takes some memory of the server in each session.
_MOST_PREPARED: Final = 256

_ROLE: Final = """
SELECT getdatabaseencoding() AS encoding,
       CAST(extract(epoch FROM CAST(current_setting('idle_in_transaction_session_timeout') AS INTERVAL))
            AS DOUBLE PRECISION) AS idle
"""

_TAKES_WRITES: Final = "SELECT NOT pg_is_in_recovery() AND current_setting('default_transaction_read_only') = 'off'"


class Role(NamedTuple):
    """What the server has set for a role in a database, which is the same in each of its sessions."""

    encoding: str
    """The encoding of the database, as PostgreSQL names it."""
    idle_in_transaction: float
    """Seconds after which a transaction that does nothing is ended; 0: never."""


def connect(url: PostgresURL, repertoire: Repertoire | None = None) -> Connection:
    """Connect to a database.

    Args:
        url: the database.
        repertoire: the characters that the database can hold; `None`: all of them.

    Raises:
        psycopg.Error: the connection failed.
    """
    given: dict[str, Any] = {"connect_timeout": _CONNECT_TIMEOUT, **_NETWORK}
    if url.has_several_hosts:
        given["target_session_attrs"] = _PRIMARY
    options = {name: value for name, value in given.items() if name not in url.dsn}
    connection = psycopg.connect(url.dsn, autocommit=True, client_encoding="UTF8", prepare_threshold=None, **options)
    if url.prepare_threshold != "auto":
        connection.prepare_threshold = url.prepare_threshold
    elif is_direct(connection):
        connection.prepare_threshold = _PREPARE_AFTER
    connection.prepared_max = _MOST_PREPARED
    if repertoire is not None:
        repertoire.register(connection)
    return connection


def is_direct(connection: Connection) -> bool:
    """Return whether a connection is a session of the server, and no pooler stands in between.

    A pooler tells its client a number of its own for the process, because a request to cancel a statement has to reach
    whichever session the client has by then.
    """
    [(process,)] = connection.execute("SELECT pg_backend_pid()").fetchall()
    return bool(process == connection.info.backend_pid)


def read_role(connection: Connection) -> Role:
    """Return what the server has set for the role of a connection."""
    [(encoding, idle)] = connection.execute(_ROLE).fetchall()
    return Role(encoding if isinstance(encoding, str) else encoding.decode(), idle)


def takes_writes(connection: Connection) -> bool:
    """Return whether the server of a connection takes writes now: a standby does not."""
    [(does,)] = connection.execute(_TAKES_WRITES).fetchall()
    return bool(does)


def quoted(name: str) -> str:
    """Return a name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def search_path(url: PostgresURL) -> list[Statement]:
    """Return the statement that makes a transaction use the schema that the URL names, if it names one."""
    if url.schema is None:
        return []
    return [Statement("search_path", f"SET LOCAL search_path TO {quoted(url.schema)}")]


def settings(url: PostgresURL, role: Role) -> list[Statement]:
    """Return the statements that begin each transaction: none, unless the URL or the role needs them."""
    found = search_path(url)
    if 0 < role.idle_in_transaction < _LEAST_IDLE_IN_TRANSACTION:
        limit = f"SET LOCAL idle_in_transaction_session_timeout = '{_LEAST_IDLE_IN_TRANSACTION}s'"
        found.append(Statement("idle_in_transaction", limit))
    return found


class _Pipeline(psycopg.Pipeline):
    """A pipeline whose last message is a Sync.

    psycopg sends a Flush after it while results are still to come. If the transaction has ended by then, a pooler in
    transaction mode takes the Flush for the begin of another one. The server does not answer a Flush, so the pooler
    never takes its session back, and other clients wait for it.
    """

    def _fetch_gen(self, *, flush: bool) -> PQGen[None]:
        return super()._fetch_gen(flush=False)


@contextmanager
def pipeline(connection: Connection) -> Iterator[psycopg.Pipeline]:
    """Send the statements of the block together, and wait for their rows at its end, or at a `sync`."""
    connection._pipeline = _Pipeline(connection)  # noqa: SLF001 - there is no other way to choose it
    with connection.pipeline() as found:
        yield found


@contextmanager
def transaction(connection: Connection, settings: Sequence[Statement]) -> Iterator[None]:
    """Run the block in a transaction that begins with some settings, in one round trip.

    The isolation level is named, since the default of a server or a role may be any.
    """
    texts = ["BEGIN ISOLATION LEVEL READ COMMITTED", *(setting.text for setting in settings)]
    connection.execute("; ".join(texts).encode())
    try:
        yield
    except BaseException:
        with suppress(psycopg.Error):  # the first error says more
            connection.rollback()
        raise
    connection.commit()
