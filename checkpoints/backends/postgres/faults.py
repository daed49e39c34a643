"""Errors of the driver and of the server as errors of this package."""

from __future__ import annotations

from typing import Final

import psycopg

from holdfast.checkpoints.errors import (
    DatabaseUnavailable,
    DriverFault,
    HoldfastError,
    InvalidURL,
    NotStorable,
    ReadOnlyDatabase,
    Unreachable,
)
from holdfast.checkpoints.urls import PostgresURL

# The codes are those of https://www.postgresql.org/docs/current/errcodes-appendix.html.

# Errors that may be gone a moment later, beside class 08, "connection exception": the server is stopping, starting,
# recovering from a crash, has no connection to spare or has ended one for being idle; it has chosen this transaction to
# be the one that is repeated; or another transaction held a lock for longer than the role may wait. A full disk (53100)
# and a server that takes no writes (25006) are none of these.
_PASSING: Final = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03", "53300", "40001", "40P01", "55P03"})

# Of these, and of those that were cancelled, the ones in which another transaction stood in the way.
_CONFLICTS: Final = frozenset({"40001", "40P01", "55P03", "57014"})

_READ_ONLY: Final = "25006"
_CANCELLED: Final = "57014"

# A value has another type than its column: undefined function or operator, datatype mismatch, cannot coerce,
# indeterminate datatype, ambiguous parameter.
_WRONG_TYPE: Final = frozenset({"42883", "42804", "42846", "42P18", "42P08"})

# A value is too large for an index or a row.
_TOO_LARGE: Final = "54000"

# A prepared statement that the server does not know, or knows already: it belongs to another session.
_PREPARED: Final = frozenset({"26000", "42P05"})

# psycopg's words before its list of what it was told by each host; before them are those of the last host.
_SEVERAL_FAILED: Final = "Multiple connection attempts failed. All failures were:"

_UNSAVED: Final = "Nothing of this step was saved."

_GRANTS: Final = (
    "GRANT USAGE ON SCHEMA, and SELECT, INSERT, UPDATE and DELETE ON ALL TABLES IN SCHEMA, by the owner of the tables"
)


def failed(url: PostgresURL, error: psycopg.Error, *, is_lost: bool, committing: bool) -> HoldfastError:
    """Return the error of this package for an error of the driver in a transaction.

    Args:
        url: the database.
        error: the error of the driver.
        is_lost: whether the connection is closed, or could not be made.
        committing: whether the error came while the transaction was being committed.
    """
    said, state = _said(url, error), error.sqlstate
    if (
        state in _PASSING
        or (state or "").startswith("08")
        or (state is None and is_lost)
        or (state == _CANCELLED and _waited_for_a_lock(error))
    ):
        what = f"{url} ended this transaction" if state in _CONFLICTS else f"The connection to {url} failed"
        return Unreachable(f"{what}: {said}.", maybe_saved=committing)
    if state == _READ_ONLY:
        return ReadOnlyDatabase(
            f"{url} takes no writes: {said}. {_UNSAVED} It is a standby, or its default_transaction_read_only is on. "
            "It can be read; to write, use the URL of the primary server, or a role that may write."
        )
    # Without a code it is psycopg that has no form for the type of a value.
    if state in _WRONG_TYPE or (state is None and isinstance(error, psycopg.ProgrammingError)):
        return NotStorable(
            f"A value of this step, such as an id or a namespace in the config, is of a type that its column does not "
            f"take ({type(error).__name__}). {_UNSAVED} Needed: text for ids and names."
        )
    if isinstance(error, psycopg.DataError):  # whose words quote the value
        return NotStorable(
            f"PostgreSQL cannot hold a value of this step ({type(error).__name__}), such as an id with a NUL character "
            f"in it. {_UNSAVED}"
        )
    if state == _TOO_LARGE:
        return NotStorable(f"PostgreSQL cannot hold a value of this step: {said}. {_UNSAVED}")
    if state in _PREPARED:
        return _not_prepared(url, said)
    if state is None:
        return DriverFault(f"psycopg could not run a statement on {url}: {said}. {_UNSAVED}")
    return DatabaseUnavailable(f"{url} refused a statement: {said}. {_UNSAVED} {_needed(state)}")


def not_opened(url: PostgresURL, error: psycopg.Error) -> HoldfastError:
    """Return the error of this package for an error of the driver while a database is opened."""
    said, state = _said(url, error), error.sqlstate
    if state is None and isinstance(error, psycopg.ProgrammingError):
        return InvalidURL(f"libpq does not take the URL {url}: {said}.")
    if state in _PREPARED:
        return _not_prepared(url, said)
    where = f"schema {url.schema!r}" if url.schema else "the schema that its search_path begins with"
    match state:
        case "42501" | "3F000":
            needed = (
                f"the tables of Holdfast in {where}, and a role that may use them ({_GRANTS}); or a role that may make "
                "them, to open this database or run `holdfast db upgrade` once (GRANT CREATE ON SCHEMA, and on the "
                "database for a schema that is not there)"
            )
        case "25006":
            needed = (
                "a server that takes writes, to make the tables or bring them up to date: open the primary server "
                "with this version once; a standby can then be read"
            )
        case _ if url.has_several_hosts:
            needed = (
                "one of these servers to answer and to be the primary, such as a standby after `pg_ctl promote`, and a "
                "user who may log in and make tables. To read from a standby, add target_session_attrs=any to the URL"
            )
        case _:
            needed = (
                "a server that answers there and has a connection to spare, and a user who may log in and make tables"
            )
    return DatabaseUnavailable(f"Cannot open the PostgreSQL database {url}: {said}. Needed: {needed}.")


def unknown_encoding(url: PostgresURL, encoding: str) -> DatabaseUnavailable:
    """Return the error about a database whose encoding this package cannot use."""
    return DatabaseUnavailable(
        f"The encoding of {url} is {encoding}, which cannot hold every text. Needed: a database in UTF8 (CREATE "
        f"DATABASE … ENCODING 'UTF8' TEMPLATE template0), or in an encoding of one byte a character, such as LATIN1. "
        "Nothing was changed."
    )


def _said(url: PostgresURL, error: psycopg.Error) -> str:
    text = error.diag.message_primary or str(error)
    _, _, of_each_host = text.partition(_SEVERAL_FAILED)
    return " ".join(url.hide(of_each_host.lstrip("\n -") or text).split()).rstrip(".")


def _not_prepared(url: PostgresURL, said: str) -> DriverFault:
    is_auto = url.prepare_threshold == "auto"
    advice = "Say prepare_threshold=none in the URL." if is_auto else "Take prepare_threshold out of the URL."
    return DriverFault(
        f"{url} does not keep prepared statements: {said}. {_UNSAVED} A pooler in transaction mode gives each "
        f"transaction another session. {advice}"
    )


def _waited_for_a_lock(error: psycopg.Error) -> bool:
    """Return whether a statement was cancelled while it waited for another transaction, and not for taking too long.

    The server says where it was, in its language: "while locking tuple (0,1) in relation "holdfast_threads"".
    """
    context = error.diag.context or ""
    return "holdfast_" in context or "checkpoint" in context


def _needed(state: str) -> str:
    match state:
        case "42501":
            return f"Needed: rights for this role: {_GRANTS}."
        case "57014" | "25P04":
            return (
                "Its statement_timeout or transaction_timeout ended it, or an administrator did. Needed: a higher "
                "limit for this role (ALTER ROLE … SET statement_timeout), or less work at once."
            )
        case "53100" | "53200" | "53400":
            return "Check the space on the server's disk, its memory and its limits."
    if state.startswith(("42", "3F")):
        return "Needed: the tables as this program made them. `holdfast db check` looks at them."
    return "Look into the log of the server."
