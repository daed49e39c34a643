"""The raw record of a thread: what was said in it, in order, whatever was trimmed, edited, forked or pruned since.

It is read in pages by the number of the message rows, so that a thread of any length is never in memory as a whole, and
between two pages nothing is locked. What happened besides stands after the message that it followed; an answer of a
person stands where its time is, unless the message that came of it says the same.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from holdfast.checkpoints.backends.base import Call, Row
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.load import MessageRows
from holdfast.checkpoints.errors import HoldfastError, ThreadChanged
from holdfast.checkpoints.interrupts import answered_of
from holdfast.checkpoints.interrupts.decisions import Decision, decision_in_answer, decision_in_note
from holdfast.checkpoints.moments import Moment, epoch_seconds
from holdfast.checkpoints.sql import Statement
from holdfast.checkpoints.transcript.entries import ApprovalEntry, Entry, EventEntry, MessageEntry
from holdfast.checkpoints.transcript.header import Standing, look
from holdfast.checkpoints.transcript.merge import Peekable, entries_before

T = TypeVar("T")

# Rows that are read in one transaction, and are in memory at once. A tool's result may have a million characters.
_PAGE: Final = 100

_ABOVE_ALL: Final = 2**62  # numbers of events and of messages


class RunInExecutor(Protocol):
    """Calls a function that blocks in a thread: `HoldfastSaver.run_in_executor`."""

    def __call__(self, function: Callable[[], T], /) -> Awaitable[T]: ...


class Bounds(NamedTuple):
    """Which part of a thread is read."""

    after: int = 0
    """Only messages whose row has a higher number, and what happened from the first of them on."""
    since: float = -math.inf
    until: float = math.inf
    """Epoch seconds: from the first on, and before the second."""
    answers_since: float = -math.inf
    """When the first of the messages was said: answers have a time, and no place among the rows."""


_WHOLE: Final = Bounds()


@dataclass(frozen=True)
class Transcript:
    """The record of one thread, as it was when it was asked for: entries in order, each time that one iterates.

    `for entry in transcript` reads page by page; `async for` does the same without blocking the event loop.

    Raises, while one iterates:
        ThreadChanged: the thread was deleted meanwhile, or a run of it taken back.
        DatabaseUnavailable, NotOpen: as ever. A message that cannot be read is no error: its entry says why.
    """

    thread_id: str
    _database: Database = field(repr=False)
    _run_in_executor: RunInExecutor = field(repr=False)
    _read: Standing = field(repr=False)
    _bounds: Bounds = _WHOLE

    @property
    def user_id(self) -> str | None:
        """Whose thread it is; `None`: nobody's."""
        return self._read.user_id

    @property
    def title(self) -> str | None:
        """What the thread is called, if it has a title."""
        return self._read.title

    @property
    def notice(self) -> str | None:
        """What people should know about it: that messages of a stock saver have no rows yet."""
        return self._read.notice

    def last(self, count: int) -> Transcript:
        """Only the last messages, and what happened from the first of them on.

        Raises:
            ValueError: `count` is below 1.
        """
        if count < 1:
            raise ValueError(f"The last messages are a number from 1 up; found {count}.")
        statement = self._database.backend.sql["said_from_the_end"].where(*self._within())
        [rows] = self._checked((statement, {**self._which(), "skip": min(count, _ABOVE_ALL) - 1}))
        if not rows:  # there are not as many
            return self
        [(seq, at)] = rows
        return replace(self, _bounds=self._bounds._replace(after=seq - 1, answers_since=at))

    def since(self, moment: Moment) -> Transcript:
        """Only what was said and happened from this moment on.

        Args:
            moment: a datetime with an offset, a date (its midnight in UTC), either as ISO 8601 text, or epoch seconds.

        Raises:
            ValueError: it is no such time.
        """
        since = epoch_seconds(moment, "moment")
        return replace(self, _bounds=self._bounds._replace(since=max(self._bounds.since, since)))

    def until(self, moment: Moment) -> Transcript:
        """Only what was said and happened before this moment. As `since`."""
        until = epoch_seconds(moment, "moment")
        return replace(self, _bounds=self._bounds._replace(until=min(self._bounds.until, until)))

    def __iter__(self) -> Iterator[Entry]:
        events, answers = Peekable(self._events()), Peekable(self._answers())
        last = self._bounds.after
        for message in self._messages():
            yield from entries_before(events, answers, last, message.seq, message.at)
            yield message
            last = message.seq
        yield from entries_before(events, answers, last, math.inf, math.inf)

    async def __aiter__(self) -> AsyncIterator[Entry]:
        entries = iter(self)
        while page := await self._run_in_executor(lambda: list(islice(entries, _PAGE))):
            for entry in page:
                yield entry

    # --- reading

    def _messages(self) -> Iterator[MessageEntry]:
        again = self._database.backend.sql["said_again"]
        [reworded] = self._checked((again, self._which()))
        last_wording = {str(message_id): int(seq) for message_id, seq in reworded}
        for row, rows in self._said(*self._within()):
            yield self._message(row, rows, last_wording)

    def _within(self) -> list[str]:
        """Which time is asked for; without a bound there is no condition, which a time that is none would not meet."""
        asked = {"since": "m.created_at >= :since", "until": "m.created_at < :until"}
        return [asked[name] for name in asked if getattr(self._bounds, name) != getattr(_WHOLE, name)]

    def _said(self, *conditions: str) -> Iterator[tuple[Row, MessageRows]]:
        """The rows of what was said, and with each that from which the messages of its page can be made."""
        statement = self._database.backend.sql["said"].where(*conditions)
        for after in range(self._bounds.after, self._read.last, _PAGE):
            numbers = {"after": after, "until_seq": min(after + _PAGE, self._read.last)}
            [page] = self._checked((statement, {**self._which(), **numbers}))
            rows = MessageRows(self.thread_id, {row.seq: row for row in page}, {}, self._database)
            for row in page:
                yield row, rows

    def _message(self, row: Row, rows: MessageRows, last_wording: Mapping[str, int]) -> MessageEntry:
        seq = row.seq
        message, problem = None, None
        try:
            [message] = rows.make([seq if row.message_id is not None else -seq])
        except (HoldfastError, ArithmeticError, RecursionError) as error:  # the others can be read
            problem = str(error)
        live = None if self._read.live is None else seq in self._read.live
        return MessageEntry(
            seq=seq,
            at=row.created_at,
            user_id=self._read.user_id if row.user_id is None else row.user_id,
            run_id=row.run_id,
            role=row.role,
            name=row.name,
            message_id=row.message_id,
            message=message,
            column=(row.content or "") if row.key_no is None else "",
            live=live,
            # A later wording may have been taken back.
            replaced=not live and last_wording.get(row.message_id, seq) > seq,
            redacted_at=row.redacted_at,
            problem=problem,
        )

    def _events(self) -> Iterator[EventEntry]:
        # An event follows a message: the first that is read may have some, and those before it are not read.
        first = {"after": self._bounds.after, "no": _ABOVE_ALL if self._bounds.after else -1}
        statement = self._database.backend.sql["events_of"]
        for page in self._pages(statement, lambda row: {"after": row.after_seq, "no": row.no}, first):
            for row in page:
                yield EventEntry(
                    seq=row.after_seq, no=row.no, at=row.at, event=row.kind, by=row.actor, data=_json(row.data)
                )

    def _answers(self) -> Iterator[ApprovalEntry]:
        statement = self._database.backend.sql["answers_of"]
        on_messages: Counter[Decision] | None = None
        first = {"since": max(self._bounds.since, self._bounds.answers_since), "interrupt_id": ""}
        for page in self._pages(
            statement, lambda row: {"since": row.answered_at, "interrupt_id": row.interrupt_id}, first
        ):
            if on_messages is None:  # most threads have no answers, and need not be looked through
                on_messages = self._decisions_on_messages()
            for row in page:
                answer = self._answer(row)
                decision = decision_in_answer(answer.decision, answer.answer, answer.by, answer.at)
                if on_messages[decision] > 0:
                    on_messages[decision] -= 1
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
            asked_at=row.asked_at,
            at=row.answered_at,
            by=row.answered_by,
            answer=answer,
            expired=bool(row.expired),
            run_id=row.run_id,
            problem=problem,
        )

    def _decisions_on_messages(self) -> Counter[Decision]:
        """What tools' results say themselves of who decided. They come after the answer, also after the last that is
        read here; a result that was written twice says it once."""
        found: set[tuple[str | int, Decision]] = set()
        for row, rows in self._said("m.role = 'tool'"):
            entry = self._message(row, rows, {})
            for note in (entry.approval, entry.effect):
                if note is not None and (decision := decision_in_note(note)) is not None:
                    found.add((entry.message_id or entry.seq, decision))
        return Counter(decision for _, decision in found)

    # --- pages

    def _which(self) -> dict[str, Any]:
        return {"thread_id": self.thread_id, **self._bounds._asdict(), "until_seq": self._read.last}

    def _pages(
        self, statement: Statement, key: Callable[[Row], Mapping[str, Any]], first: Mapping[str, Any]
    ) -> Iterator[list[Row]]:
        """What a statement finds, page by page; `key` says from a page's last row where the next one goes on."""
        params: dict[str, Any] = {**self._which(), **first, "limit": _PAGE}
        while True:
            [page] = self._checked((statement, params))
            if page:
                yield page
            if len(page) < params["limit"]:
                return
            params = {**params, **key(page[-1])}

    def _checked(self, *calls: Call) -> list[list[Row]]:
        """What some statements find, if the thread is still the one that was asked for."""
        alive = (self._database.backend.sql["thread"], {"thread_id": self.thread_id})
        thread, *found = self._database.read(alive, *calls)
        if self._read.generation is not None and [row.generation for row in thread] != [self._read.generation]:
            raise ThreadChanged(self.thread_id)
        return found


def transcript_of(
    database: Database, run_in_executor: RunInExecutor, thread_id: str, user_id: str | None
) -> Transcript:
    """The transcript of a thread.

    Args:
        store: the open database.
        run_in_executor: see `RunInExecutor`.
        thread_id: which thread.
        user_id: whose it must be; `None`: somebody asks who may read every thread.

    Raises:
        UnknownThread: there is no such thread, or it is not the user's.
    """

    def read() -> Standing:
        with database.backend.reading() as transaction:
            return look(transaction, database, thread_id, user_id)

    return Transcript(thread_id, database, run_in_executor, persist(database.backend, read))


def _json(data: str | None) -> Any:
    """What a column of JSON says; if that is none, the text."""
    try:
        return None if data is None else json.loads(data)
    except (ValueError, RecursionError):
        return data
