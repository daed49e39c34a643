"""Full text search over messages: by words, phrases, user and time; ranked, with snippets.

Saving a turn does not write the index, because most databases are never searched. Each thread has a watermark, the last
row that is in the index. A search first indexes the rows above the watermark, in the threads that it searches. So the
first search of an old database takes a while; `Search.refresh` does that part alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain, starmap
from typing import Any, Final, NamedTuple

from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.config import asked_user
from holdfast.checkpoints.core.arguments import checks_arguments
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.twins import async_twin
from holdfast.checkpoints.errors import InvalidSearch, ReadOnlyDatabase, SearchUnavailable
from holdfast.checkpoints.moments import Moment, epoch_seconds_if_given, utc_datetime
from holdfast.checkpoints.search.query import Query, parse_query
from holdfast.checkpoints.search.snippet import make_snippet
from holdfast.checkpoints.search.tokenizer import MOST_CHARACTERS, owner_words
from holdfast.checkpoints.serde.messages import is_sql_text, source_in
from holdfast.checkpoints.sql import OF_USER, Statement

_log = logging.getLogger(__name__)

# To rank a hit, its whole text is looked at. Words that are in most messages have as many hits.
MOST_RANKED: Final = 1000

# Rows that one transaction indexes. It locks their threads meanwhile: for a few tenths of a second.
_BATCH_ROWS: Final = 500
_BATCH_THREADS: Final = 50

# Threads with rows to index that one query reads.
_PAGE: Final = 1000

# Shared threads that a search names to the index. A user with more of them is searched for by the rows that were found.
_MOST_SHARED: Final = 200

_SHARED: Final = (
    "thread_id IN (SELECT shared.thread_id FROM holdfast_members AS shared WHERE shared.user_id = :user_id)"
)

Progress = Callable[[int, int], object]
"""A function that is called with the number of rows indexed so far, and with how many there are to index."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that a search found."""

    thread_id: str
    seq: int
    """The number of the message in its thread."""
    message_id: str | None
    role: str
    user_id: str | None
    """The owner of the thread."""
    said_by: str | None
    """The user in whose turn it was said: the owner, or a member."""
    at: datetime
    """The time at which the message was saved, in UTC, by the database's clock."""
    snippet: str
    """The part of the text that shows why it was found, in one line."""
    marks: list[tuple[int, int]]
    """Start and end of each match in `snippet`."""
    rank: float
    """The higher the better; comparable within one search."""
    title: str | None
    """The title of the thread."""
    source: str | None = None
    """What added a message in the role of a person, such as "summarization"; `None` for the words of a person."""


class _StaleThread(NamedTuple):
    """A thread whose index is not up to date."""

    thread_id: str
    rows: int
    """The number of its rows above the watermark."""


@checks_arguments
@dataclass(frozen=True)
class Search:
    """Full text search in a database.

    Its methods block. For event loops there are twins, such as `afind`.
    """

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
        """Find the messages that match a query, best first, and newest first among equals.

        Words are compared without case and accents. `"quoted words"` are a phrase, `-word` excludes a word, and `wor*`
        matches every word that begins so. All other characters are literal text. Of a message the first 100,000
        characters and 16,000 words are searched. Of more than 1,000 hits the newest 1,000 are ranked.

        Args:
            text: the query.
            user_id: search only the threads of this user, and those that are shared with this user. The default
                searches the threads of all users, so code that searches on behalf of a user must pass it.
            thread_id: search only this thread.
            since, until: find only messages saved at or after `since`, and before `until`: a datetime with an offset, a
                date (its midnight in UTC), either as ISO 8601 text, or epoch seconds.
            limit: the maximum number of hits, from 1 to 1,000.

        Raises:
            InvalidSearch: the query has no required word, or the thread does not exist, or is neither the user's nor
                shared with this user, or another argument is invalid.
            SearchUnavailable: this Python's SQLite has no full text search, or the database is encrypted.
        """
        self._refuse_encrypted()
        query = parse_query(text)
        if not 1 <= limit <= MOST_RANKED:
            raise InvalidSearch(f"A search gives 1 to {MOST_RANKED:,} hits; found the limit {limit}.")
        user_id = asked_user(user_id)
        if thread_id is not None:
            thread_id = str(thread_id)
            self._check_thread(thread_id, user_id)
        try:
            times = {"since": epoch_seconds_if_given(since, "since"), "until": epoch_seconds_if_given(until, "until")}
        except ValueError as error:
            raise InvalidSearch(str(error)) from None
        try:
            shared = self._shared_with(user_id)
            self._update_index(user_id, thread_id, None, has_shared=bool(shared))
        except ReadOnlyDatabase as error:
            _log.warning("The newest messages are not found until a search on a server that takes writes: %s", error)
        filters = {
            "user_id": (user_id, OF_USER),
            "thread_id": (thread_id, "m.thread_id = :thread_id"),
            "since": (times["since"], "m.created_at >= :since"),
            "until": (times["until"], "m.created_at < :until"),
        }
        given = {name: filter_ for name, filter_ in filters.items() if filter_[0] is not None}
        among = _words_of_threads(user_id, thread_id, shared)
        statement, params = self._database.backend.full_text.find(query, among)
        params |= {name: value for name, (value, _) in given.items()} | {"most": MOST_RANKED, "limit": limit}
        filtered = statement.where(*(condition for _, condition in given.values()))
        return persist(self._database.backend, partial(self._hits, query, filtered, params))

    def refresh(self, *, user_id: str | None = None, progress: Progress | None = None) -> int:
        """Bring the index up to date, as every search does first.

        It may be interrupted at any time and run by several processes at once: each batch is committed by itself.

        Args:
            user_id: index only the threads of this user, and those that are shared with this user. The default indexes
                all threads.
            progress: called after each batch.

        Returns:
            The number of message rows that were looked at.

        Raises:
            SearchUnavailable: as `find`.
        """
        self._refuse_encrypted()
        user = asked_user(user_id)
        return self._update_index(user, None, progress, has_shared=bool(self._shared_with(user)))

    # --- the same for event loops

    afind = async_twin(find)
    arefresh = async_twin(refresh)

    # --- finding

    def _refuse_encrypted(self) -> None:
        if self._database.sealer.encrypts:
            raise SearchUnavailable(
                "The database is encrypted, and full-text search is off: its index would have the words of all "
                "messages in the clear. Read the threads themselves: `checkpointer.transcript(thread_id)`."
            )

    def _check_thread(self, thread_id: str, user_id: str | None) -> None:
        rows: Sequence[Row] = []
        if is_sql_text(thread_id):
            params = {"thread_id": thread_id, "user_id": user_id}
            [rows] = self._database.read((self._database.backend.sql["thread_of_user"], params))
        # The error does not say that the thread exists and belongs to another user.
        if not rows:
            of_user = "" if user_id is None else f" of user {user_id!r}"
            raise InvalidSearch(
                f"There is no thread {thread_id!r}{of_user} to search in. Name an existing thread, or search in all."
            )

    def _shared_with(self, user_id: str | None) -> list[str]:
        """Return the threads that are shared with a user, but no more than are named to the index, and one."""
        if user_id is None:
            return []
        params = {"user_id": user_id, "limit": _MOST_SHARED + 1}
        [rows] = self._database.read((self._database.backend.sql["shared_threads"], params))
        return [row.thread_id for row in rows]

    def _hits(self, query: Query, statement: Statement, params: dict[str, Any]) -> list[Hit]:
        found_rows = self._database.backend.sql["found_rows"]
        with self._database.backend.reading() as transaction:
            [ranked] = transaction.run([(statement, params)])
            calls = [
                (found_rows, {"thread_id": thread_id, "seq": seq, "characters": MOST_CHARACTERS})
                for thread_id, seq, _ in ranked
            ]
            messages = transaction.run(calls)
        return [
            Hit(
                str(thread_id),
                seq,
                row.message_id,
                row.role,
                row.user_id,
                row.said_by,
                utc_datetime(row.created_at),
                *make_snippet(row.text, query),
                rank,
                row.title,
                source_in(row.role, row.body),
            )
            for (thread_id, seq, rank), rows in zip(ranked, messages, strict=True)
            for row in rows
        ]

    # --- the index

    def _update_index(
        self, user_id: str | None, thread_id: str | None, progress: Progress | None, *, has_shared: bool
    ) -> int:
        backend = self._database.backend
        scopes = _scopes(user_id, thread_id, has_shared=has_shared)
        total = 0
        if progress is not None:
            counts = [(backend.sql["rows_to_index"].where(*conditions), params) for conditions, params in scopes]
            total = sum(row.number for [row] in self._database.read(*counts))
        done = 0
        for batch in _batches(chain.from_iterable(starmap(self._stale_threads, scopes))):
            left: Sequence[str] = batch
            while left:
                rows, left = persist(backend, partial(self._index_batch, left))
                done += rows
                if progress is not None:
                    progress(done, max(done, total))
        return done

    def _stale_threads(self, conditions: Sequence[str], params: dict[str, Any]) -> Iterator[_StaleThread]:
        """Yield the threads whose index is not up to date, after making the index if there is none."""
        sql, after = self._database.backend.sql, ""

        def read(statement: Statement, given: dict[str, Any]) -> tuple[bool, list[Row]]:
            with self._database.backend.reading() as transaction:
                is_made = self._database.backend.full_text.is_made(transaction)
                return is_made, transaction.run([(statement, given)])[0]

        while True:
            if conditions:
                statement, given = sql["to_index"].where(*conditions), params
            else:
                statement, given = sql["to_index_after"], {"after": after, "limit": _PAGE}
            is_made, threads = persist(self._database.backend, partial(read, statement, given))
            if not is_made:
                persist(self._database.backend, self._make_index)
            yield from (_StaleThread(str(row.thread_id), row.number) for row in threads)
            if conditions or len(threads) < _PAGE:
                return
            after = threads[-1].thread_id

    def _make_index(self) -> None:
        with self._database.backend.writing() as transaction:
            self._database.backend.full_text.make(transaction)

    def _index_batch(self, thread_ids: Sequence[str]) -> tuple[int, list[str]]:
        """Index up to `_BATCH_ROWS` rows of each of some threads.

        It is idempotent, and another process may have indexed the same rows meanwhile.

        Returns:
            The number of rows that were looked at, and the threads with more rows to index.
        """
        sql = self._database.backend.sql
        # Locked in the order of their ids, so that two processes that index the same threads cannot deadlock.
        ids = sorted(thread_ids)
        calls = [(sql[name], {"thread_id": id_}) for id_ in ids for name in ("lock_thread", "index_state")]
        with self._database.backend.writing() as transaction:
            states = transaction.run(calls)[1::2]
            done = [self._index_thread(transaction, id_, state) for id_, state in zip(ids, states, strict=True)]
        return sum(rows for rows, _ in done), [id_ for id_, (_, has_more) in zip(ids, done, strict=True) if has_more]

    def _index_thread(self, transaction: Transaction, thread_id: str, state: Sequence[Row]) -> tuple[int, bool]:
        sql, full_text = self._database.backend.sql, self._database.backend.full_text
        if not state:
            return 0, False
        [row] = state
        watermark, user_id = row.searched, None if row.user_id is None else str(row.user_id)
        if watermark and (row.searched_as or "") != (user_id or ""):
            transaction.send(full_text.remove(thread_id))  # and indexed anew from here on
            watermark = 0
        params = {"thread_id": thread_id, "after": watermark, "limit": _BATCH_ROWS, "characters": MOST_CHARACTERS}
        [texts] = transaction.run([(sql["texts_to_index"], params)])
        has_more = len(texts) == _BATCH_ROWS
        reached = texts[-1].seq if has_more else row.last_seq
        calls = full_text.add(thread_id, user_id, [(text.seq, text.text) for text in texts])
        transaction.send([*calls, (sql["set_searched"], {"thread_id": thread_id, "searched": reached})])
        return reached - watermark, has_more


def _scopes(user_id: str | None, thread_id: str | None, *, has_shared: bool) -> list[tuple[list[str], dict[str, Any]]]:
    """Return the conditions for the threads to search, with their parameters; no conditions for all threads.

    The shared threads of a user have conditions of their own, so that each is found by an index.
    """
    if thread_id is not None:
        return [(["thread_id = :thread_id"], {"thread_id": thread_id})]
    if user_id is not None:
        whose = ["user_id = :user_id", *([_SHARED] if has_shared else [])]
        return [([one, "head IS NOT NULL", "deleted_at IS NULL"], {"user_id": user_id}) for one in whose]
    return [([], {})]


def _words_of_threads(user_id: str | None, thread_id: str | None, shared: Sequence[str]) -> list[str]:
    """Return the words of which a message has one if it is in the threads to search; none for all threads."""
    if thread_id is not None:
        return owner_words(None, thread_id)
    if user_id is None or len(shared) > _MOST_SHARED:
        return []
    return [*owner_words(user_id, None), *(word for id_ in shared for word in owner_words(None, id_))]


def _batches(threads: Iterator[_StaleThread]) -> Iterator[list[str]]:
    """Group threads so that one transaction can index each group, unless a single thread is too large for that."""
    batch: list[str] = []
    rows = 0
    for thread in threads:
        if batch and (len(batch) >= _BATCH_THREADS or rows + thread.rows > _BATCH_ROWS):
            yield batch
            batch, rows = [], 0
        batch.append(thread.thread_id)
        rows += thread.rows
    if batch:
        yield batch
