"""The method of a database that redacts: the scope, the lease of each thread, and the record of who did it and why."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from holdfast.checkpoints import times
from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.config import asked_user
from holdfast.checkpoints.core.arguments import checks_arguments
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.twins import async_twin
from holdfast.checkpoints.errors import DamagedThread, ThreadBusy, UnknownMessage
from holdfast.checkpoints.redaction.patterns import Finder, Redactor, finders_of
from holdfast.checkpoints.redaction.rows import RowValues, redacted_row
from holdfast.checkpoints.redaction.target import Target
from holdfast.checkpoints.redaction.thread import ThreadRedaction
from holdfast.checkpoints.redaction.values import Values
from holdfast.checkpoints.threads import Threads
from holdfast.checkpoints.threads.access import check_owner


@dataclass(frozen=True, slots=True)
class Redacted:
    """What `redact` has redacted, or would redact."""

    is_dry_run: bool
    threads: list[str] = field(default_factory=list)
    """The threads in which something was found."""
    places: dict[str, int] = field(default_factory=dict)
    """The number of rows that changed, by place: `messages`, `values` of channels, `metadata` of checkpoints, `writes`
    of tasks, `replaced writes`, `events`, `answers`, `results` of the ledger, `titles`, and metadata of `threads`."""
    found: dict[str, int] = field(default_factory=dict)
    """How often a pattern was found, by its name; `pattern` is an expression, `message` a text of the message."""
    busy: list[str] = field(default_factory=list)
    """The threads that were left out, because another caller held the lease of each during the whole wait."""
    unread: list[str] = field(default_factory=list)
    """What could not be read, and may still hold what was to be redacted."""


class _Redactable(Protocol):
    """What the method needs of a database."""

    @property
    def _database(self) -> Database: ...

    @property
    def threads(self) -> Threads: ...

    def lease(self, thread_id: str, *, purpose: str, wait: float) -> AbstractContextManager[object]: ...


@dataclass(frozen=True)
class _Request:
    """What is to be redacted, and what the record says about it."""

    finders: Sequence[Finder]
    target: Target | None
    reason: str | None
    by: str | None
    dry_run: bool

    def redact(self, work: ThreadRedaction) -> Redactor:
        """Redact one thread, and return what counts the findings."""
        if self.target is not None:
            return self.target.redact(work)
        redactor = Redactor(self.finders)
        rows, rest = RowValues(redactor.text, work.database.types), Values(redactor.text, work.database.types)
        work.note_title()
        work.change_rows(lambda _, row: redacted_row(row, rows))
        work.change_rest(rest)
        work.end(rest)
        return redactor

    def record(self, work: ThreadRedaction, redactor: Redactor) -> None:
        """Record who has redacted what kind of thing, and why, without the texts and without an expression."""
        facts: dict[str, Any] = {"patterns": sorted(finder.name for finder in self.finders)}
        if self.target is not None:
            facts = {"message_id": self.target.message_id, "message": self.target.seq}
        if self.reason is not None:
            facts["reason"] = Redactor(redactor.finders).text(self.reason)  # what it finds there is not counted
        work.record({name: value for name, value in facts.items() if value is not None}, self.by)


@checks_arguments
class Redacting:
    """The part of a database that redacts."""

    def redact(
        self: _Redactable,
        thread_id: str | None = None,
        *,
        message: str | int | None = None,
        patterns: Sequence[str | re.Pattern[str]] = (),
        user_id: str | None = None,
        everywhere: bool = False,
        reason: str | None = None,
        by: str | None = None,
        dry_run: bool = False,
    ) -> Redacted:
        """Redact a message, or what patterns find, wherever a thread and its copies hold it. Idempotent.

        Message rows keep their number, order, ids, roles and tool calls; a placeholder takes the place of the text. All
        of the history shows it, and a process that still holds the old message and saves it again finds the redacted
        row. Each thread is redacted in one transaction, under its lease. A run that does not hold the lease, and
        has loaded the thread before, is refused when it saves.

        Args:
            thread_id: the thread, with the threads that it was copied from and the copies.
            message: redact this message of the thread as a whole: its id, or its number in the transcript.
            patterns: redact what these find: `card` numbers, `email` addresses, `iban`s, `phone` numbers, or a regular
                expression, `re.compile(…)`, which needs the package `regex`. One text may take it two seconds.
            user_id: with a thread, the user whose thread it must be; copies of other users stay as they are. Without
                one: all threads of this user.
            everywhere: redact in all threads.
            reason: why, for the record.
            by: the person who redacts, for the record; by default the `user_id`.
            dry_run: change nothing, and return what would be redacted.

        Raises:
            UnknownThread: the thread does not exist, or is neither the user's nor shared with this user.
            NotPermitted: the thread is shared with the user, and only its own user may redact it.
            UnknownMessage: the thread has no such message.
            ThreadBusy: another caller held the thread's lease during the whole wait. Of several threads, such a one is
                left out, and named in the result.
            DriverMissing: an expression is given, and the package `regex` is not installed.
            TimeoutError: an expression took too long. The threads before this one are redacted.
            ValueError: the arguments do not say what to redact and where, or a pattern cannot be used.
        """
        finders = finders_of(patterns)
        if (message is None) == (not finders):
            raise ValueError(
                f"Found {'no message and no patterns' if message is None else 'a message and patterns'} to redact. "
                "Needed: either a message (--message or --number), or patterns (--named, --pattern)."
            )
        if everywhere + (thread_id is not None or user_id is not None) != 1:
            raise ValueError(
                f"Found {'two places' if everywhere else 'no place'} to redact. Needed: a thread, a user (user_id, "
                "--user), or both; or all threads (everywhere, --everywhere)."
            )
        if message is not None and thread_id is None:
            raise ValueError("Found a message without its thread. Needed: the id of its thread.")
        target = None if message is None else Target.of(message)
        request = _Request(finders, target, reason, by or user_id, dry_run)
        result = Redacted(dry_run)
        for found in _threads(self, thread_id, user_id):
            try:
                _redact_thread(self, found, request, result, is_named=thread_id is not None)
            except ThreadBusy:
                if found == thread_id:
                    raise
                result.busy.append(found)
            except TimeoutError as error:
                raise TimeoutError(f"Thread {found!r}: {error} Redacted before it: {len(result.threads)}.") from None
            if found == thread_id and target is not None and not target.is_found:
                raise UnknownMessage(thread_id, str(message), pruned=False)
        return result

    aredact = async_twin(redact)


def _threads(database: _Redactable, thread_id: str | None, user_id: str | None) -> Iterator[str]:
    """Yield the ids of the threads to redact. A thread that is named comes before its relatives."""
    inner, threads = database._database, database.threads  # noqa: SLF001 - the mixin's own
    if thread_id is None and user_id is None:
        yield from inner.find_threads("movable_after")
    elif thread_id is None:
        yield from _threads_of(threads, asked_user(user_id))
    else:
        own = check_owner(threads.get(thread_id, user_id=user_id), user_id, "redact it").thread_id
        yield own
        [family] = inner.read((inner.backend.sql["family"], {"thread_id": own}))
        for row in family:
            if row.thread_id != own and (user_id is None or threads.owner(row.thread_id) == asked_user(user_id)):
                yield row.thread_id


def _threads_of(threads: Threads, user_id: str | None) -> list[str]:
    """Return the ids of the threads whose own user this is, those that are not in the index yet among them."""
    for unindexed in list(threads.unindexed()):
        with suppress(DamagedThread):  # its user is not known
            threads.index(unindexed)
    return [found.thread_id for found in threads.all(user_id=user_id) if found.user_id == user_id]


def _redact_thread(
    database: _Redactable, thread_id: str, request: _Request, result: Redacted, *, is_named: bool
) -> None:
    """Redact one thread, and add what was found to the result.

    Args:
        database: the database.
        thread_id: the thread.
        request: what to redact.
        result: it is added to.
        is_named: whether the caller named the thread. Of the others, most have nothing to redact, and are only read.
    """
    inner = database._database  # noqa: SLF001 - the mixin's own
    done: list[_Done] = []

    def look() -> None:
        with inner.backend.reading() as transaction:
            done[:] = [_run(transaction, inner, thread_id, request, dry_run=True)]

    def redact() -> None:
        with inner.backend.writing() as transaction:
            params = {"thread_id": thread_id}
            transaction.run([(inner.backend.sql[name], params) for name in ("adopt_thread", "lock_thread")])
            work, redactor = _run(transaction, inner, thread_id, request, dry_run=False)
            if work.has_changes:
                request.record(work, redactor)
        # After a commit whose outcome was unknown, the next attempt finds nothing more.
        if not done or work.has_changes:
            done[:] = [(work, redactor)]

    if request.dry_run or not is_named:
        persist(inner.backend, look)
    if not request.dry_run and (is_named or done[0][0].has_changes):
        done.clear()
        with database.lease(thread_id, purpose="redact", wait=times.LEASE_WAIT):
            persist(inner.backend, redact)
        inner.forget(thread_id)
    [(work, redactor)] = done
    if work.has_changes:
        result.threads.append(thread_id)
    for total, found in ((result.places, work.places), (result.found, redactor.found)):
        total.update({str(name): total.get(name, 0) + number for name, number in found.items() if number})
    result.unread.extend(f"thread {thread_id!r}: {what}" for what in work.unread)


def _run(transaction: Transaction, database: Database, thread_id: str, request: _Request, *, dry_run: bool) -> _Done:
    work = ThreadRedaction(transaction, database, thread_id, dry_run=dry_run)
    return work, request.redact(work)


_Done: TypeAlias = tuple[ThreadRedaction, Redactor]
