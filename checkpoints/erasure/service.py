"""The method of a database that erases a thread or a user, everywhere it holds them, and returns a receipt."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal, Protocol

from holdfast.checkpoints import times
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.config import asked_user, user_of
from holdfast.checkpoints.core.arguments import checks_arguments
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.erased import Erasable
from holdfast.checkpoints.core.twins import async_twin
from holdfast.checkpoints.encryption.keyring import Keyring
from holdfast.checkpoints.encryption.sealer import KeyedSealer
from holdfast.checkpoints.erasure.elsewhere import find_elsewhere, rename_elsewhere
from holdfast.checkpoints.erasure.journal import Head, Journal, Part
from holdfast.checkpoints.erasure.receipt import UNREACHABLE, Erased, digest_of
from holdfast.checkpoints.erasure.thread import erase_thread, tables_of_threads
from holdfast.checkpoints.errors import DamagedThread, DatabaseUnavailable, ThreadBusy, UnknownThread
from holdfast.checkpoints.moments import utc_datetime
from holdfast.checkpoints.redaction.service import Redacted
from holdfast.checkpoints.serde.messages import is_sql_text
from holdfast.checkpoints.store.items import erase_items_in, is_label
from holdfast.checkpoints.threads import Threads
from holdfast.checkpoints.threads.access import check_owner, waits_to_begin
from holdfast.checkpoints.transcript.export.facts import holdfast_version

Others = Literal["list", "redact"]
"""What becomes of what threads of others hold of a user: it is listed, or redacted."""


class _Erasable(Protocol):
    """What the method needs of a database."""

    @property
    def _database(self) -> Database: ...

    @property
    def threads(self) -> Threads: ...

    def redact(self, thread_id: str, *, message: int, reason: str | None = None, by: str | None = None) -> Redacted: ...


_NOT_VACUUMED: Final = (
    "Free pages and logs of the database still have the erased bytes, until they are written over. To remove them: "
    "erase again with vacuum=True, or --vacuum on the command line."
)


@checks_arguments
class Erasing:
    """The part of a database that erases."""

    def erase(
        self: _Erasable,
        thread_id: str | None = None,
        *,
        user_id: str | None = None,
        copies: bool = False,
        others: Others = "list",
        vacuum: bool = False,
        reason: str | None = None,
        by: str | None = None,
    ) -> Erased:
        """Erase a thread or a user everywhere in the database, and return a receipt. Idempotent.

        Of a thread go all rows in all tables but a tombstone, which has its id and times. Of a user go all threads that
        are the user's, the items of long-term memory whose namespace begins with the user, and all memberships. A run
        that is going on is refused when it saves (`ThreadConflict`). A store that was opened before is refused when it
        writes for the user (`UserErased`), for an hour.

        Each thread is erased in one transaction. If the process is killed, run it again: the receipt has all of it.

        Args:
            thread_id: the thread.
            user_id: with a thread, the user whose thread it must be. Without one: erase this user.
            copies: also erase the threads that a thread was copied or forked from, and all copies of these; with a
                `user_id`, those of this user. By default the receipt names them.
            others: `redact` what the user has said in threads of others, and put `[erased]` in place of the user's
                id in rows there. By default the receipt counts and names them.
            vacuum: rewrite the files of the database, so that they have no byte of what was erased. It takes as much
                space again, and other writers wait. On PostgreSQL each table is locked while it is rewritten.
            reason: why, for the receipt. It is kept in the database.
            by: the person who erases, for the receipt.

        Raises:
            UnknownThread: the thread does not exist and was not erased before, or is neither the user's nor shared
                with this user.
            NotPermitted: the thread is shared with the user, and only its own user may erase it.
            ValueError: neither a thread nor a user is given, or `copies` without a thread.
        """
        if thread_id is None and not user_id:
            raise ValueError("It was not said what to erase. Needed: a thread_id, or a user_id that is not empty.")
        if thread_id is None and copies:
            raise ValueError("copies=True needs a thread_id. Of a user all threads are erased, copies among them.")
        subject = _subject(thread_id, user_id)
        work = _Erasure(self, subject, _Wishes(user_id, copies, others, vacuum, reason, by))
        if subject.kind == "thread":
            work.erase_thread()
        else:
            work.erase_user()
        return work.finish()

    def erased(self: _Erasable, thread_id: str | None = None, *, user_id: str | None = None) -> Erased | None:
        """Return the receipt of the last erasure of a thread or a user; `None` if there was none, or it did not end.

        Args:
            thread_id: the thread.
            user_id: the user, without a thread.

        Raises:
            ValueError: neither or both are given.
        """
        if (thread_id is None) == (user_id is None):
            raise ValueError("Needed: a thread_id or a user_id.")
        journal = Journal(self._database, _subject(thread_id, user_id))
        head = journal.read()
        return None if head is None or head.is_under_way else journal.receipt(head)

    def has_receipt(self: _Erasable, receipt: Erased) -> bool:
        """Return whether a receipt is on record in this database, as it was made.

        Args:
            receipt: the receipt, such as `read_receipt` finds it in a file.
        """
        subject = _subject(receipt.thread_id, receipt.user_id)
        return receipt.is_intact and Journal(self._database, subject).has(receipt)

    aerase = async_twin(erase)
    aerased = async_twin(erased)
    ahas_receipt = async_twin(has_receipt)


def _number(user_id: str) -> int:
    return Erasable("user", user_id).number


def _subject(thread_id: str | None, user_id: str | None) -> Erasable:
    return Erasable("user", user_of(user_id) or "") if thread_id is None else Erasable("thread", thread_id)


def _keys(keyring: Keyring | None) -> Iterator[str]:
    """Yield what is to be said of the keys of an encrypted database."""
    if keyring is None:
        return
    if keyring.is_apart:
        yield (
            f"Backups of {keyring.backend}, which had the keys of these threads. Without the keys, older backups of "
            "the threads cannot be read as far as they are encrypted."
        )
    else:
        yield (
            "Older backups have the keys of these threads beside them, encrypted with the master keys: with these, the "
            "threads can be read there."
        )


@dataclass(frozen=True)
class _Wishes:
    """What the caller has said, beside what to erase."""

    user_id: str | None
    copies: bool
    others: Others
    vacuum: bool
    reason: str | None
    by: str | None


class _Erasure:
    """One call of `erase`."""

    def __init__(self, database: _Erasable, subject: Erasable, wishes: _Wishes) -> None:
        self._public = database
        self._inner = database._database  # noqa: SLF001 - the mixin's own
        self._subject = subject
        self._wishes = wishes
        self._journal = Journal(self._inner, subject)
        self._before = self._journal.read()
        self._tables = tables_of_threads(self._inner)
        self._failed: dict[str, str] = {}
        self._has_erased = False
        self._begun: dict[str, Any] = {"erasure_id": str(uuid.uuid4()), "began_at": self._now()}

    # --- what goes

    def erase_thread(self) -> None:
        """Erase the thread, and what was copied if that is wished."""
        thread_id, user = self._subject.name, self._wishes.user_id
        if not is_sql_text(thread_id):
            raise UnknownThread(thread_id, user)
        owner = self._owner(thread_id)
        if owner is not None:
            self._begun["owner"] = _number(owner)
        [family] = self._inner.read((self._inner.backend.sql["family"], {"thread_id": thread_id}))
        relatives = [row.thread_id for row in family if row.thread_id != thread_id]
        if not self._erase(thread_id):
            if self._before is None or (user is not None and self._before.data.get("owner") != _number(user)):
                raise UnknownThread(thread_id, user)
            relatives = self._copies_before(self._before)
        for name in relatives if self._wishes.copies else ():
            if user is None or self._public.threads.owner(name) == asked_user(user):
                self._erase(name)

    def _owner(self, thread_id: str) -> str | None:
        """Return the user of the thread.

        Raises:
            UnknownThread: it is not the user's who is named.
            NotPermitted: it is shared with this user.
        """
        user, threads = self._wishes.user_id, self._public.threads
        if user is None:
            return threads.owner(thread_id)
        if waits_to_begin(self._inner, thread_id, user):
            return asked_user(user)
        standing = threads.check_user(thread_id, user)
        if standing.exists and standing.owner != asked_user(user):
            check_owner(threads.get(thread_id, user_id=user), user, "erase it")
        return standing.owner

    def _copies_before(self, head: Head) -> list[str]:
        """Return the copies of a thread that went in an attempt that was cut off, or in an earlier erasure."""
        return self._journal.parts().copies if head.is_under_way else list(head.data["copies"])

    def erase_user(self) -> None:
        """Erase the user's threads, memory and memberships, and what threads of others hold, if that is wished."""
        for name in self._unindexed():
            self._failed[name] = "it is not in the index of threads and cannot be read, so its user is not known"
        while names := self._threads_of_user():  # the user may begin another one meanwhile
            for name in names:
                begin = time.monotonic()
                self._erase(name)
                rest = min((time.monotonic() - begin) * times.SWEEP_REST, times.SWEEP_LONGEST_REST)
                time.sleep(rest)  # others, who poll for the database, have to find it free
        persist(self._inner.backend, self._erase_rows_of_user)
        if self._wishes.others == "redact":
            self._redact_elsewhere()

    def _unindexed(self) -> Iterator[str]:
        """Add threads to the index that a stock saver has saved, so that their users are known. Yield the others."""
        for name in list(self._public.threads.unindexed()):
            try:
                self._public.threads.index(name)
            except DamagedThread:
                yield name

    def _threads_of_user(self) -> list[str]:
        """Return the ids of the user's threads, also of those without a checkpoint, which no list shows."""
        params = {"user_id": self._subject.name}
        [rows] = self._inner.read((self._inner.backend.sql["threads_of_user"], params))
        return [row.thread_id for row in rows]

    def _erase(self, thread_id: str) -> bool:
        is_there = erase_thread(self._inner, thread_id, self._tables, self._journal, self._begun)
        self._has_erased = self._has_erased or is_there
        return is_there

    def _erase_rows_of_user(self) -> None:
        """Erase what is the user's and no thread's. The record comes with it: from now on late writers are refused."""
        backend, user = self._inner.backend, self._subject.name
        with backend.writing() as transaction:
            items = erase_items_in(transaction, backend, user)
            [members] = transaction.run([(backend.sql["leave_threads"], {"user_id": user})])
            rows = +Counter({"store": items, "holdfast_members": len(members)})
            if rows or self._has_erased or self._before is None or self._before.is_under_way:
                self._journal.note(transaction, Part(rows=rows), self._begun)
                self._journal.touch(transaction)

    def _redact_elsewhere(self) -> None:
        """Redact what the user has said in threads of others, and the user's id there."""
        wishes, user = self._wishes, self._subject.name
        for thread_id, seq in find_elsewhere(self._inner, user).messages:
            try:
                done = self._public.redact(thread_id, message=seq, reason=wishes.reason, by=wishes.by)
            except (ThreadBusy, UnknownThread) as error:
                self._failed[thread_id] = str(error)
            else:
                persist(self._inner.backend, partial(self._note_redacted, done.places))
                if done.unread:
                    self._failed[thread_id] = "; ".join(done.unread)
        rename_elsewhere(self._inner, user, self._journal, self._begun)

    def _note_redacted(self, places: Mapping[str, int]) -> None:
        with self._inner.backend.writing() as transaction:
            self._journal.note(transaction, Part(redacted=Counter(places)), self._begun)

    # --- the receipt

    def finish(self) -> Erased:
        """Remove the bytes if that is wished, record the receipt, and return it."""
        head = self._journal.read()
        if head is None:  # each way here has made the record, or found it; so this is another database by now
            raise DatabaseUnavailable("The record of the erasure is gone. Look whether the database was replaced.")
        receipt = self._receipt(head) if head.is_under_way else self._journal.receipt(head)
        if self._wishes.vacuum:
            remains = self._scrub()
            receipt = replace(receipt, is_vacuumed=not remains, remains=remains, ended_at=self._time())
        sealed = replace(receipt, digest=digest_of(receipt.facts()))
        self._journal.end(sealed, head)
        return sealed

    def _scrub(self) -> list[str]:
        """Rewrite the files of the database, and of the database of the keys. Return what may remain, and why."""
        keyring = self._keyring()
        apart = keyring.backend.scrub() if keyring is not None and keyring.is_apart else []
        return [*self._inner.backend.scrub(), *apart]

    def _keyring(self) -> Keyring | None:
        """Return the keys of the threads; `None` if the database is not encrypted."""
        sealer = self._inner.sealer
        return sealer.keyring if isinstance(sealer, KeyedSealer) and sealer.encrypts else None

    def _receipt(self, head: Head) -> Erased:
        done = self._journal.parts()
        is_user = self._subject.kind == "user"
        left = find_elsewhere(self._inner, self._subject.name) if is_user else None
        keyring = self._keyring()
        return Erased(
            erasure_id=head.data["erasure_id"],
            thread_id=None if is_user else self._subject.name,
            user_id=self._subject.name if is_user else None,
            began_at=utc_datetime(head.data["began_at"]),
            ended_at=self._time(),
            by=self._wishes.by,
            reason=self._wishes.reason,
            database=str(self._inner.backend),
            holdfast=holdfast_version(),
            threads=done.threads,
            rows=dict(done.rows),
            kept=dict(done.kept),
            copies=[name for name in done.copies if name not in done.threads],
            redacted=dict(done.redacted),
            elsewhere=left.counts() if left else {},
            said_in=list(dict.fromkeys(thread_id for thread_id, _ in left.messages)) if left else [],
            failed=self._failed,
            remains=[_NOT_VACUUMED] if self._inner.backend.unreachable else [],
            shreds_backups=keyring is not None and keyring.is_apart,
            unreachable=[*self._inner.backend.unreachable, *UNREACHABLE, *self._unnamed(), *_keys(keyring)],
        )

    def _unnamed(self) -> Iterator[str]:
        """Yield what is to be said of a user whose id no namespace of long-term memory can begin with."""
        if self._subject.kind == "user" and not is_label(self._subject.name):
            yield (
                "Long-term memory under another name: no namespace can begin with the id of this user. To erase it: "
                "open_store(url).erase_user(label)."
            )

    def _now(self) -> float:
        [[clock]] = self._inner.read((self._inner.backend.sql["clock"], {}))
        return float(clock.now)

    def _time(self) -> datetime:
        return utc_datetime(self._now())
