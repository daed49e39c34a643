"""Conversion of the threads of a database between the stock savers' form and ours.

`compact_thread` gives the messages of stock checkpoints rows of their own; `expand_thread` puts them back.

Thread by thread, each in one transaction under its row's lock, and committed only if everything in it loads as before.
So a process may be killed at any time: what is done is done, and the next one goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.convert.base import Conversion
from holdfast.checkpoints.convert.compact import Compaction
from holdfast.checkpoints.convert.expand import Expansion
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.errors import (
    DatabaseUnavailable,
    HoldfastError,
    NotConverted,
    NotOpen,
    TypeNotAllowed,
)
from holdfast.checkpoints.sql import Statement

_THREADS: Final = 500  # whose ids are read at once

_OBJECT: Final = re.compile("holdfast_[a-z_0-9]+")


class Converted(NamedTuple):
    """What was done to a thread."""

    thread_id: str
    rewritten: int
    """How many values."""
    left: int
    """How many values could not be rewritten."""
    bytes_before: int
    bytes_after: int
    problem: str | None = None
    """Why something is as it was."""


def count_convertible(database: Database) -> int:
    """How many threads there are."""
    with database.backend.reading() as transaction:
        [[(number,)]] = transaction.run([(database.backend.sql["count_threads"], {})])
    return int(number)


def convertible_threads(database: Database) -> Iterator[str]:
    """The threads of a database, in an order that stays; nothing is locked in between."""
    sql, after = database.backend.sql, ""
    while True:
        with database.backend.reading() as transaction:
            [found] = transaction.run([(sql["threads_after"], {"after": after, "limit": _THREADS})])
        yield from (str(thread_id) for (thread_id,) in found)
        if len(found) < _THREADS:
            return
        after = found[-1][0]


def compact_thread(database: Database, thread_id: str) -> Converted:
    """Give the messages of a thread's stock checkpoints and writes rows. Twice is once.

    What is not a message, and messages of classes that are not allowed, stay as they are. If something cannot be
    loaded, or would not be loaded as it is, the thread stays as it is, and the outcome says why.

    Raises:
        DatabaseUnavailable, NotOpen: as ever.
    """
    return _converted(database, thread_id, Compaction)


def expand_thread(database: Database, thread_id: str) -> Converted:
    """Put the messages of a thread back into its checkpoints and writes, for the stock savers. Twice is once.

    The rows stay. A value for which the stock savers have no form stays as it is, and the outcome says so.

    Raises:
        DatabaseUnavailable, NotOpen: as ever.
    """
    return _converted(database, thread_id, Expansion)


def drop_tables(database: Database) -> None:
    """Remove Holdfast's own tables, with the transcript, from a database that is expanded. Nobody may use it then.

    Raises:
        NotConverted: some thread is not expanded, or nobody knows what a tool of it has done. Nothing was removed.
    """
    sql = database.backend.sql
    with database.backend.writing() as transaction:
        ours, doubtful, objects = transaction.run(
            [(sql["still_ours"], {}), (sql["open_effect"], {}), (sql["our_objects"], {})]
        )
        if doubtful:
            raise NotConverted(
                f"In thread {doubtful[0][0]!r} a tool was started that changes the world, and nobody said what came "
                "of it. Without Holdfast's tables it would run again unasked. Decide first: `holdfast approvals list`."
            )
        if ours:
            raise NotConverted(
                f"Thread {ours[0][0]!r} still refers to message rows, so Holdfast's tables were not removed. Run "
                "`holdfast db expand` again, and see what it says of that thread."
            )
        names = [(kind, name) for kind, name in objects if _OBJECT.fullmatch(name)]
        # Views of our tables and indexes on LangGraph's first; indexes on ours go with them. The index of full text
        # refers to messages, and on SQLite takes tables of its own with it, which cannot be removed themselves.
        names.sort(key=lambda found: (found[0] == "table", found[1] != "holdfast_search", found))
        transaction.run([(Statement("drop", f"DROP {kind.upper()} IF EXISTS {name}"), {}) for kind, name in names])


def find_damage(database: Database, thread_id: str) -> str | None:
    """Why something of a thread cannot be loaded; `None` if everything can."""
    work = Conversion(database, thread_id)
    try:
        with database.backend.reading() as transaction:
            work.prints(transaction, work.outline(transaction))
    except (DatabaseUnavailable, NotOpen):
        raise
    except HoldfastError as error:
        return _why(error, thread_id)
    return None


def _why(error: HoldfastError, thread_id: str) -> str:
    """What is to be said of a thread that could not be loaded."""
    if isinstance(error, TypeNotAllowed):
        module, name = error.type_name
        return (
            f"Thread {thread_id!r} has messages of the class {module}.{name}, which is not here, so it was left alone. "
            f"Allow it: --allow {module}:{name}"
        )
    return str(error)


def _converted(database: Database, thread_id: str, kind: Callable[[Database, str], Conversion]) -> Converted:
    work = kind(database, thread_id)
    try:
        with database.backend.writing() as transaction:
            outcome = _convert(transaction, work)
    except (DatabaseUnavailable, NotOpen):
        raise
    except HoldfastError as error:
        return Converted(thread_id, 0, 0, 0, 0, _why(error, thread_id))
    if outcome.rewritten:
        database.cache.forget(thread_id)
    return outcome


def _convert(transaction: Transaction, work: Conversion) -> Converted:
    checkpoints = work.outline(transaction)
    if not checkpoints:
        return Converted(work.thread_id, 0, 0, 0, 0)
    work.begin(transaction, work.lock(transaction))
    if not work.has_work(transaction, checkpoints):
        return Converted(work.thread_id, 0, 0, 0, 0)
    checkpoints = work.outline(transaction)  # again, now that nobody else may add to them
    size = work.size(transaction)
    before = work.prints(transaction, checkpoints)
    if work.prepare(transaction):
        prepared = work.prints(transaction, checkpoints)
        marks = {where: mark.saved for where, mark in prepared.items()}
        _check(work, [where for where, mark in before.items() if marks.get(where) != mark.saved])
        before = prepared
    for checkpoint in checkpoints:
        work.rewrite(transaction, checkpoint)
    work.end(transaction)
    after = work.prints(transaction, checkpoints)
    _check(work, [where for where, mark in before.items() if after.get(where) != mark])
    problem = None
    if work.problems:
        problem = (
            f"Thread {work.thread_id!r}: the stock savers have no form for {len(work.problems)} of its values, which "
            f"were left as they are; the first is of {work.problems[0]}."
        )
    return Converted(work.thread_id, work.rewritten, len(work.problems), size, work.size(transaction), problem)


def _check(work: Conversion, differing: Sequence[tuple[str, str]]) -> None:
    """
    Raises:
        NotConverted: some checkpoints, by namespace and id, would not be loaded as they were.
    """
    if differing:
        first = min(checkpoint_id for _, checkpoint_id in differing)
        raise NotConverted(
            f"Thread {work.thread_id!r} was left as it is: checkpoint {first} would not be loaded as it was. "
            "Is a stock saver writing to it at this moment? Then run this again; else it is a defect of Holdfast."
        )
