"""Search over what was said: by words, phrases, user and time, ranked, with snippets.

The index is not written by turns, which would pay for it though nobody may ever search. Each thread says up to which
row it is in the index, and a search first puts in what is new in the threads that it is about. So the first search of
an old database takes a while; `refresh` does that part alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from holdfast.checkpoints.backends.base import Row, Transaction
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.config import asked_user
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.errors import InvalidSearch
from holdfast.checkpoints.moments import Moment, epoch_seconds_if_given
from holdfast.checkpoints.search.query import Query, parse_query
from holdfast.checkpoints.search.snippet import snippet
from holdfast.checkpoints.search.tokenizer import MOST_CHARACTERS
from holdfast.checkpoints.serde.messages import is_sql_text
from holdfast.checkpoints.sql import Statement

RANKED: Final = 1000
"""Of more hits than this the newest are ranked, and the others not given."""

# Rows that are put in by one transaction, which holds the rows of their threads locked: a few tenths of a second.
_ROWS: Final = 500
_THREADS: Final = 50
_PAGE: Final = 1000

Progress = Callable[[int, int], object]
"""Is told how many rows are in the index now of those that were to be put in, and how many those were."""


class Hit(NamedTuple):
    """A message that was found."""

    thread_id: str
    seq: int
    """Its number in the thread."""
    message_id: str | None
    role: str
    user_id: str | None
    """Whose thread it is."""
    at: float
    """When it was said: epoch seconds, by the database's clock."""
    snippet: str
    """The part of the text that shows why it was found, in one line."""
    marks: list[tuple[int, int]]
    """What was searched for: where each begins and ends in `snippet`."""
    rank: float
    """The higher the better; comparable within one search."""
    title: str | None
    """Of the thread."""


class _Stale(NamedTuple):
    """A thread with rows that are not in the index, and how many."""

    thread_id: str
    rows: int


@dataclass(frozen=True)
class Search:
    """What was said in a database. All of it blocks: on an event loop, use `HoldfastSaver.offload`."""

    _database: Database

    def find(
        self,
        text: str,
        *,
        user_id: str | None = None,
        thread_id: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: int = 20,
    ) -> list[Hit]:
        """The messages that were said and have all the words, best first; of equals the newest first.

        Words are compared without case and accents. `"quoted words"` are a phrase, `-word` must not be there, and
        `wor*` is any word that begins so. All else is literal text. Of a message the first 100,000 characters and
        16,000 words are searched; of more than 1,000 hits the newest 1,000 are ranked. Messages that are encrypted are
        not found.

        Args:
            text: what to search for.
            user_id: only in threads of this user. Without it, in everybody's: whoever asks for a user must name them.
            thread_id: only in this thread.
            since, until: only what was said from then on, and before then: a datetime with an offset, a date (its
                midnight in UTC), either as ISO 8601 text, or epoch seconds.
            limit: how many at the most, up to 1,000.

        Raises:
            InvalidSearch: there is no word to search for, there is no such thread (of that user), or one of the others
                makes no sense.
            SearchUnavailable: this Python's SQLite has no full text search.
        """
        asked = parse_query(text)
        if not 1 <= limit <= RANKED:
            raise InvalidSearch(f"A search gives 1 to {RANKED:,} hits; found {limit}.")
        user_id = asked_user(user_id)
        if thread_id is not None:
            thread_id = str(thread_id)
            self._check_thread(thread_id, user_id)
        try:
            times = {"since": epoch_seconds_if_given(since, "since"), "until": epoch_seconds_if_given(until, "until")}
        except ValueError as error:
            raise InvalidSearch(str(error)) from None
        self._bring_up_to_date(user_id, thread_id, None)
        given = {
            "user_id": (user_id, "t.user_id = :user_id"),
            "thread_id": (thread_id, "m.thread_id = :thread_id"),
            "since": (times["since"], "m.created_at >= :since"),
            "until": (times["until"], "m.created_at < :until"),
        }
        wanted = {name: found for name, found in given.items() if found[0] is not None}
        statement, params = self._database.backend.full_text.find(asked, user_id, thread_id)
        params |= {name: value for name, (value, _) in wanted.items()} | {"most": RANKED, "limit": limit}
        found = statement.where(*(condition for _, condition in wanted.values()))
        return persist(self._database.backend, partial(self._hits, asked, found, params))

    def refresh(self, *, user_id: str | None = None, progress: Progress | None = None) -> int:
        """Put into the index what is not in it yet, as every search does first. It may be stopped at any time, and done
        by several processes at once: what is done is done.

        Args:
            user_id: only of this user's threads; by default of all.
            progress: is told how far it is.

        Returns:
            How many message rows there were to look at.

        Raises:
            SearchUnavailable: as `find`.
        """
        return self._bring_up_to_date(asked_user(user_id), None, progress)

    # --- finding

    def _check_thread(self, thread_id: str, user_id: str | None) -> None:
        rows: Sequence[Row] = []
        if is_sql_text(thread_id):
            [rows] = self._database.read((self._database.backend.sql["thread_of_user"], {"thread_id": thread_id}))
        # Whose thread it is, if not this user's, is not said.
        if not rows or (user_id is not None and rows[0][0] != user_id):
            of_user = "" if user_id is None else f" of user {user_id!r}"
            raise InvalidSearch(
                f"There is no thread {thread_id!r}{of_user} to search in. Name one that is there, or none."
            )

    def _hits(self, asked: Query, statement: Statement, params: dict[str, Any]) -> list[Hit]:
        row = self._database.backend.sql["found_rows"]
        with self._database.backend.reading() as transaction:
            [found] = transaction.run([(statement, params)])
            calls = [
                (row, {"thread_id": thread_id, "seq": seq, "characters": MOST_CHARACTERS})
                for thread_id, seq, _ in found
            ]
            rows = transaction.run(calls)
        return [
            Hit(str(thread_id), seq, message_id, role, user_id, at, *snippet(text, asked), rank, title)
            for (thread_id, seq, rank), those in zip(found, rows, strict=True)
            for message_id, role, user_id, at, text, title in those
        ]

    # --- the index

    def _bring_up_to_date(self, user_id: str | None, thread_id: str | None, progress: Progress | None) -> int:
        backend = self._database.backend
        condition, params = _which(user_id, thread_id)
        total = 0
        if progress is not None:
            [[(total,)]] = self._database.read((backend.sql["rows_to_index"].where(*condition), params))
        done = 0
        for some in _batches(self._stale(condition, params)):
            left: Sequence[str] = some
            while left:
                rows, left = persist(backend, partial(self._index, left))
                done += rows
                if progress is not None:
                    progress(done, max(done, total))
        return done

    def _stale(self, condition: Sequence[str], params: dict[str, Any]) -> Iterator[_Stale]:
        """The threads that are not in the index as they are now."""
        sql, after = self._database.backend.sql, ""

        def read(statement: Statement, given: dict[str, Any]) -> tuple[bool, list[Row]]:
            with self._database.backend.reading() as transaction:
                is_made = self._database.backend.full_text.is_made(transaction)
                return is_made, transaction.run([(statement, given)])[0]

        while True:
            if condition:
                statement, given = sql["to_index"].where(*condition), params
            else:
                statement, given = sql["to_index_after"], {"after": after, "limit": _PAGE}
            is_made, found = persist(self._database.backend, partial(read, statement, given))
            if not is_made:
                persist(self._database.backend, self._make)
            yield from (_Stale(str(id_), rows) for id_, rows in found)
            if condition or len(found) < _PAGE:
                return
            after = found[-1][0]

    def _make(self) -> None:
        with self._database.backend.writing() as transaction:
            self._database.backend.full_text.make(transaction)

    def _index(self, thread_ids: Sequence[str]) -> tuple[int, list[str]]:
        """Put some rows of some threads into the index. Gives how many there were to look at, and the threads that have
        more. Done again it goes on from there, and somebody else may have done it meanwhile."""
        sql = self._database.backend.sql
        # In order of their ids, so that two who do this wait for each other and not both.
        names = sorted(thread_ids)
        calls = [(sql[name], {"thread_id": id_}) for id_ in names for name in ("lock_thread", "index_state")]
        with self._database.backend.writing() as transaction:
            states = transaction.run(calls)[1::2]
            done = [self._index_one(transaction, id_, state) for id_, state in zip(names, states, strict=True)]
        return sum(rows for rows, _ in done), [id_ for id_, (_, more) in zip(names, done, strict=True) if more]

    def _index_one(self, transaction: Transaction, thread_id: str, state: Sequence[Row]) -> tuple[int, bool]:
        sql, full_text = self._database.backend.sql, self._database.backend.full_text
        if not state:
            return 0, False
        [(last, searched, indexed_as, user_id)] = state
        if searched and (indexed_as or "") != (user_id or ""):
            transaction.send(full_text.remove(thread_id))  # and put in again at once
            searched = 0
        params = {"thread_id": thread_id, "after": searched, "limit": _ROWS, "characters": MOST_CHARACTERS}
        [texts] = transaction.run([(sql["texts_to_index"], params)])
        more = len(texts) == _ROWS
        reached = texts[-1][0] if more else last
        calls = full_text.add(thread_id, user_id, [(seq, text) for seq, text in texts])
        transaction.send([*calls, (sql["set_searched"], {"thread_id": thread_id, "searched": reached})])
        return reached - searched, more


def _which(user_id: str | None, thread_id: str | None) -> tuple[list[str], dict[str, Any]]:
    """Conditions for the threads that a search is about, with their parameters; none for all of them."""
    if thread_id is not None:
        return ["thread_id = :thread_id"], {"thread_id": thread_id}
    if user_id is not None:
        return ["user_id = :user_id", "head IS NOT NULL"], {"user_id": user_id}
    return [], {}


def _batches(threads: Iterator[_Stale]) -> Iterator[list[str]]:
    """The threads in groups that one transaction is enough for, unless one alone is too large."""
    batch: list[str] = []
    rows = 0
    for thread in threads:
        if batch and (len(batch) >= _THREADS or rows + thread.rows > _ROWS):
            yield batch
            batch, rows = [], 0
        batch.append(thread.thread_id)
        rows += thread.rows
    if batch:
        yield batch
