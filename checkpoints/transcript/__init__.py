"""The transcript of a thread: all its messages in order, including those that were trimmed, edited or pruned since.

It is read in pages of message rows, so a thread of any length is never in memory as a whole, and nothing is locked
between two pages. An event comes after the message that it followed. An answer of a person is placed by its time, and
left out if a tool's result has a note of the same decision.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Any, Final, NamedTuple

from holdfast.checkpoints.backends.base import Call
from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.core.arguments import checks_arguments
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.errors import HoldfastError, InvalidArgument, ThreadChanged, row_explained
from holdfast.checkpoints.interrupts.answers import answered_of
from holdfast.checkpoints.interrupts.decisions import Decision, decision_in_answer, decision_in_note
from holdfast.checkpoints.load import MessageRows
from holdfast.checkpoints.moments import Moment, epoch_seconds, utc_datetime
from holdfast.checkpoints.serde.types import Types
from holdfast.checkpoints.sql import Statement
from holdfast.checkpoints.threads.index import event_data
from holdfast.checkpoints.transcript.entries import ApprovalEntry, Entry, EventEntry, MessageEntry
from holdfast.checkpoints.transcript.header import MOST_ROWS, Header, read_header
from holdfast.checkpoints.transcript.merge import Peekable, entries_before
from holdfast.checkpoints.transcript.undone import Undo, Undone, Undos

# Rows that one transaction reads, and that are in memory at once. A tool's result may have a million characters.
_PAGE: Final = 100

# Above the id of every checkpoint. An undo whose event does not say where it went back to has taken nothing back.
_ABOVE_ALL: Final = "\uffff"


class Bounds(NamedTuple):
    """The part of a thread to read."""

    after: int = 0
    """Read only messages with a higher number, and the events from the first of these on."""
    since: float = -math.inf
    until: float = math.inf
    """Epoch seconds: read only what is not before `since`, and before `until`."""
    answers_since: float = -math.inf
    """The time of the first message to read. Answers have a time, and no number."""


_WHOLE: Final = Bounds()


@checks_arguments
@dataclass(frozen=True)
class Transcript:
    """The transcript of a thread, as a snapshot: an iterable of its entries in order.

    `for entry in transcript` reads page by page; `async for` does the same without blocking the event loop. It can be
    iterated several times. A message that cannot be read raises no error: its entry says why.

    Iterating raises:
        ThreadChanged: the thread, or a run of it, was deleted meanwhile.
        DatabaseUnavailable, NotOpen: as every read.
    """

    thread_id: str
    _database: Database = field(repr=False)
    _header: Header = field(repr=False)
    _bounds: Bounds = _WHOLE

    def plain(self) -> Transcript:
        """Return the same transcript with no value of a type of the program in its messages, for an export."""
        return replace(self, _database=replace(self._database, types=Types.plain()))

    @property
    def user_id(self) -> str | None:
        """The owner of the thread; `None` if it has none."""
        return self._header.user_id

    @property
    def title(self) -> str | None:
        """The title of the thread, if it has one."""
        return self._header.title

    @property
    def notice(self) -> str | None:
        """A note for readers, if messages are missing: those of a stock saver that have no rows yet."""
        return self._header.notice

    @property
    def database(self) -> str:
        """The URL of the database, without its password."""
        return str(self._database.backend)

    @property
    def read_at(self) -> datetime:
        """The time at which the transcript ends, in UTC, by the database's clock."""
        return utc_datetime(self._header.read_at)

    @property
    def bounds(self) -> Bounds:
        """The part of the thread that it is restricted to."""
        return self._bounds

    def within(self, bounds: Bounds) -> Transcript:
        """Restrict the transcript to a part of the thread, such as that of another transcript."""
        return replace(self, _bounds=bounds)

    def last(self, count: int) -> Transcript:
        """Restrict the transcript to the last messages, with the events and answers from the first of them on.

        Raises:
            InvalidArgument: `count` is below 1.
        """
        if count < 1:
            raise InvalidArgument(f"The number of last messages must be at least 1; found {count}.")
        statement = self._database.backend.sql["said_from_the_end"].where(*self._time_conditions())
        [rows] = self._run((statement, {**self._params(), "skip": min(count, MOST_ROWS) - 1}))
        if not rows:  # the thread has fewer messages
            return self
        [first] = rows
        return replace(self, _bounds=self._bounds._replace(after=first.seq - 1, answers_since=first.created_at))

    def since(self, moment: Moment) -> Transcript:
        """Restrict the transcript to entries at or after a time.

        Args:
            moment: a datetime with an offset, a date (its midnight in UTC), either as ISO 8601 text, or epoch seconds.

        Raises:
            InvalidArgument: `moment` is none of these.
        """
        since = epoch_seconds(moment, "moment")
        return replace(self, _bounds=self._bounds._replace(since=max(self._bounds.since, since)))

    def until(self, moment: Moment) -> Transcript:
        """Restrict the transcript to entries before a time. The arguments are those of `since`."""
        until = epoch_seconds(moment, "moment")
        return replace(self, _bounds=self._bounds._replace(until=min(self._bounds.until, until)))

    def __iter__(self) -> Iterator[Entry]:
        events, answers = Peekable(self._events()), Peekable(self._answers())
        last = self._bounds.after
        for message in self._messages():
            yield from entries_before(events, answers, last, message.seq, message.at)
            yield message
            last = message.seq
        yield from entries_before(events, answers, last, math.inf, None)

    async def __aiter__(self) -> AsyncIterator[Entry]:
        entries = iter(self)
        while page := await self._database.run_in_executor(lambda: list(islice(entries, _PAGE))):
            for entry in page:
                yield entry

    # --- reading

    def _messages(self) -> Iterator[MessageEntry]:
        sql, params = self._database.backend.sql, self._params()
        edited, undone = self._run((sql["said_again"], params), (sql["undos_of"], params))
        last_seq = {str(row.message_id): int(row.seq) for row in edited}
        undos = Undos([_undo(row, self._event_data("undo", row)) for row in undone])
        for row, rows in self._message_rows(*self._time_conditions()):
            entry = self._message(row, rows, last_seq)
            yield entry if entry.live else replace(entry, undone=undos.of(entry.seq, row.checkpoint_id or ""))

    def _time_conditions(self) -> list[str]:
        """Return the conditions for the bounds in time; none without bounds, since a time that is NaN meets none."""
        conditions = {"since": "m.created_at >= :since", "until": "m.created_at < :until"}
        return [text for name, text in conditions.items() if getattr(self._bounds, name) != getattr(_WHOLE, name)]

    def _message_rows(self, *conditions: str) -> Iterator[tuple[Row, MessageRows]]:
        """Yield the rows of messages, each with the `MessageRows` of its page."""
        statement = self._database.backend.sql["said"].where(*conditions)
        after = self._bounds.after
        while after < self._header.last:
            numbers = {"after": after, "until_seq": min(after + _PAGE, self._header.last)}
            [page] = self._run((statement, {**self._params(), **numbers}))
            rows = MessageRows(self.thread_id, {row.seq: row for row in page}, {}, self._database)
            for row in page:
                yield row, rows
            after += _PAGE
            if not page and after < self._header.last:
                after = self._before_next_row(after)

    def _before_next_row(self, after: int) -> int:
        """Return the number before that of the next row, or of the end."""
        statement = self._database.backend.sql["row_after"]
        [[row]] = self._run((statement, {"thread_id": self.thread_id, "after": after}))
        return self._header.last if row.seq is None else max(after, row.seq - 1)

    def _message(self, row: Row, rows: MessageRows, last_seq: Mapping[str, int]) -> MessageEntry:
        """Make the entry of a message. `last_seq` has the number of the last row of each message that was edited."""
        seq = row.seq
        message, problem = None, None
        try:
            [message] = rows.make([seq if row.message_id is not None else -seq])
        except (HoldfastError, ArithmeticError, RecursionError) as error:  # the other messages can be read
            problem = str(error)
        live = None if self._header.live is None else seq in self._header.live
        return MessageEntry(
            seq=seq,
            at=utc_datetime(row.created_at),
            user_id=self._header.user_id if row.user_id is None else row.user_id,
            run_id=row.run_id,
            role=row.role,
            name=row.name,
            message_id=row.message_id,
            message=message,
            column=(row.content or "") if row.key_no is None else "",
            live=live,
            # A live message with a later row: its edit was rolled back.
            replaced=not live and last_seq.get(row.message_id, seq) > seq,
            redacted_at=None if row.redacted_at is None else utc_datetime(row.redacted_at),
            problem=problem,
        )

    def _events(self) -> Iterator[EventEntry]:
        # An event follows a message. Those that follow a message before the first one to read are left out.
        first = {"after": self._bounds.after, "no": MOST_ROWS if self._bounds.after else -1}
        statement = self._database.backend.sql["events_of"]
        for page in self._pages(statement, lambda row: {"after": row.after_seq, "no": row.no}, first):
            for row in page:
                yield EventEntry(
                    seq=row.after_seq,
                    no=row.no,
                    at=utc_datetime(row.at),
                    event=row.kind,
                    by=row.actor,
                    data=self._event_data(row.kind, row),
                )

    def _event_data(self, kind: str, row: Row) -> Any:
        return _json(event_data(self._database, self.thread_id, kind, row.data))

    def _answers(self) -> Iterator[ApprovalEntry]:
        statement = self._database.backend.sql["answers_of"]
        noted: Counter[Decision] | None = None
        first = {"since": max(self._bounds.since, self._bounds.answers_since), "interrupt_id": ""}
        for page in self._pages(
            statement, lambda row: {"since": row.answered_at, "interrupt_id": row.interrupt_id}, first
        ):
            if noted is None:  # only now, since most threads have no answers
                noted = self._noted_decisions()
            for row in page:
                answer = self._answer(row)
                with row_explained(self.thread_id, f"the answer to the request {row.interrupt_id}"):
                    decision = decision_in_answer(answer.decision, answer.answer, answer.by, answer.at)
                    is_noted = noted[decision] > 0
                if is_noted:
                    noted[decision] -= 1
                else:
                    yield answer

    def _answer(self, row: Row) -> ApprovalEntry:
        answer, problem = None, None
        try:
            answer = answered_of(self._database, self.thread_id, row).answer
        except HoldfastError as error:
            problem = str(error)
        return ApprovalEntry(
            seq=0,
            interrupt_id=row.interrupt_id,
            asked_at=utc_datetime(row.asked_at),
            at=utc_datetime(row.answered_at),
            by=row.answered_by,
            answer=answer,
            expired=bool(row.expired),
            run_id=row.run_id,
            problem=problem,
        )

    def _noted_decisions(self) -> Counter[Decision]:
        """Count the decisions that tools' results note.

        The results are not bounded in time, because a result is later than its answer. A result that was saved twice
        counts once.
        """
        decisions: set[tuple[str | int, Decision]] = set()
        for row, rows in self._message_rows("m.role = 'tool'"):
            entry = self._message(row, rows, {})
            for note in (entry.approval, entry.effect):
                if note is not None and (decision := decision_in_note(note)) is not None:
                    decisions.add((entry.message_id or entry.seq, decision))
        return Counter(decision for _, decision in decisions)

    # --- pages

    def _params(self) -> dict[str, Any]:
        return {"thread_id": self.thread_id, **self._bounds._asdict(), "until_seq": self._header.last}

    def _pages(
        self, statement: Statement, key: Callable[[Row], Mapping[str, Any]], first: Mapping[str, Any]
    ) -> Iterator[list[Row]]:
        """Yield the rows of a statement in pages.

        Args:
            statement: returns rows in order, from a key on, which is among its parameters.
            key: returns the key of a row.
            first: the key before the first row.
        """
        params: dict[str, Any] = {**self._params(), **first, "limit": _PAGE}
        while True:
            [page] = self._run((statement, params))
            if page:
                yield page
            if len(page) < params["limit"]:
                return
            params = {**params, **key(page[-1])}

    def _run(self, *calls: Call) -> list[list[Row]]:
        """Run statements, and check that the thread is still the same.

        Raises:
            ThreadChanged: the thread, or a run of it, was deleted since the transcript was opened.
        """
        check = (self._database.backend.sql["thread"], {"thread_id": self.thread_id})
        thread, *results = self._database.read(check, *calls)
        if self._header.generation is not None and [row.generation for row in thread] != [self._header.generation]:
            raise ThreadChanged(self.thread_id)
        return results


def open_transcript(database: Database, thread_id: str, user_id: str | None) -> Transcript:
    """Return the transcript of a thread.

    Args:
        database: the open database.
        thread_id: the thread.
        user_id: the user who must own the thread, or be one of its members; `None` for a caller that may read every
            thread.

    Raises:
        UnknownThread: the thread does not exist, or is neither the user's nor shared with this user.
    """

    def read() -> Header:
        with database.backend.reading() as transaction:
            return read_header(transaction, database, thread_id, user_id)

    return Transcript(thread_id, database, persist(database.backend, read))


def _undo(row: Row, data: Any) -> Undo:
    """Make an undo of the row of its event, and of its data."""
    places = data if isinstance(data, Mapping) else {}
    to, head = places.get("checkpoint_id", _ABOVE_ALL), places.get("head", _ABOVE_ALL)
    return Undo(row.after_seq, str(to or ""), str(head), Undone(row.actor, utc_datetime(row.at)))


def _json(data: str | None) -> Any:
    """Parse a column of JSON; return the text itself if it is no JSON."""
    try:
        return None if data is None else json.loads(data)
    except (ValueError, RecursionError):
        return data
