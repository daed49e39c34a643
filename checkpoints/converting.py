"""Databases of the stock savers, in and out: `compact` gives the messages of old checkpoints rows, `expand` undoes it.

Thread by thread, each in one transaction under its row's lock, and committed only if everything in it loads as before.
So a process may be killed at any time: what is done is done, and the next one goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from checkpoints import loading
from checkpoints.comparing import StandIns, fingerprint
from checkpoints.errors import DatabaseUnavailable, HoldfastError, NotConverted, NotOpen, TypeNotAllowed
from checkpoints.guard import moment_of
from checkpoints.keeping import Outline, outlines
from checkpoints.messages import MessageRow
from checkpoints.placing import Home, learned, place
from checkpoints.port import CheckpointKey, Transaction, Wanted, write_place
from checkpoints.rewriting import STOCK, Compacting, Expanding, NotExpressible, Recall
from checkpoints.sql import Statement, Statements
from checkpoints.store import Store
from checkpoints.values import TYPE, Attachable, Detached

# Threads whose ids are read at once, and checkpoints that are compared at once.
_THREADS: Final = 500
_PAGE: Final = 10

_OBJECT: Final = re.compile("holdfast_[a-z_0-9]+")


class Outcome(NamedTuple):
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


class _Place(NamedTuple):
    """Where a value lies: a channel of a checkpoint, or a write on it."""

    key: CheckpointKey
    channel: str
    text: str
    """See `Sealer`."""
    statement: str
    params: dict[str, Any]
    """Of the statement that stores it anew."""


def statements(store: Store) -> Statements:
    """The statements for this, on this database."""
    kind = "sqlite" if store.backend.whole else "postgres"
    now = (
        "((julianday('now') - 2440587.5) * 86400.0)" if store.backend.whole else "extract(epoch FROM clock_timestamp())"
    )
    return Statements(f"{kind}/in_and_out.sql", now=now)


def count(store: Store) -> int:
    """How many threads there are."""
    with store.backend.reading() as transaction:
        [[(threads,)]] = transaction.run([(statements(store)["count_threads"], {})])
    return int(threads)


def threads(store: Store) -> Iterator[str]:
    """The threads of a database, in an order that stays; nothing is locked in between."""
    sql, after = statements(store), ""
    while True:
        with store.backend.reading() as transaction:
            [found] = transaction.run([(sql["threads_after"], {"after": after, "limit": _THREADS})])
        yield from (str(thread_id) for (thread_id,) in found)
        if len(found) < _THREADS:
            return
        after = found[-1][0]


def compact(store: Store, thread_id: str) -> Outcome:
    """Give the messages of a thread's stock checkpoints and writes rows. Twice is once.

    What is not a message, and messages of classes that are not allowed, stay as they are. If something cannot be
    loaded, or would not be loaded as it is, the thread stays as it is, and the outcome says why.

    Raises:
        DatabaseUnavailable, NotOpen: as ever.
    """
    return _converted(store, thread_id, _Compaction)


def expand(store: Store, thread_id: str) -> Outcome:
    """Put the messages of a thread back into its checkpoints and writes, for the stock savers. Twice is once.

    The rows stay. A value for which the stock savers have no form stays as it is, and the outcome says so.

    Raises:
        DatabaseUnavailable, NotOpen: as ever.
    """
    return _converted(store, thread_id, _Expansion)


def drop(store: Store) -> None:
    """Remove Holdfast's own tables, with the transcript, from a database that is expanded. Nobody may use it then.

    Raises:
        NotConverted: some thread is not expanded. Nothing was removed.
    """
    sql = statements(store)
    with store.backend.writing() as transaction:
        [ours, objects] = transaction.run([(sql["still_ours"], {}), (sql["our_objects"], {})])
        if ours:
            raise NotConverted(
                f"Thread {ours[0][0]!r} still refers to message rows, so Holdfast's tables were not removed. Run "
                "`holdfast db expand` again, and see what it says of that thread."
            )
        names = [(kind, name) for kind, name in objects if _OBJECT.fullmatch(name)]
        # Indexes on LangGraph's tables first; those on ours go with them.
        transaction.run(
            [(Statement("drop", f"DROP {kind.upper()} IF EXISTS {name}"), {}) for kind, name in sorted(names)]
        )


def damage(store: Store, thread_id: str) -> str | None:
    """Why something of a thread cannot be loaded; `None` if everything can."""
    work = _Work(store, thread_id)
    try:
        with store.backend.reading() as transaction:
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


class _Work:
    """One thread that is rewritten within a transaction."""

    form: str
    """The form of what is to be rewritten."""
    as_stock = False

    def __init__(self, store: Store, thread_id: str) -> None:
        self.store = store
        self.thread_id = thread_id
        self.sql = statements(store)
        self.rewritten = 0
        self.problems: list[str] = []
        # What is compared is loaded without anything that this process remembers, or that is not here.
        self._comparing = Store(store.backend, StandIns(store.types), store.sealer)

    def lock(self, transaction: Transaction) -> int:
        """Lock the thread, and give its next seq."""
        sql, params = self.store.backend.sql, {"thread_id": self.thread_id}
        [_, [(_, next_seq, _)]] = transaction.run([(sql["adopt_thread"], params), (sql["lock_thread"], params)])
        return int(next_seq)

    def outline(self, transaction: Transaction) -> list[Outline]:
        """The checkpoints, in the order in which they were made."""
        [found] = transaction.run([(self.store.backend.sql["outline"], {"thread_id": self.thread_id})])
        there = outlines(found, ())
        return sorted((o for ns in there.values() for o in ns.values()), key=lambda o: (o.checkpoint_id, o.ns))

    def size(self, transaction: Transaction) -> int:
        [[(size,)]] = transaction.run([(self.sql["thread_bytes"], {"thread_id": self.thread_id})])
        return int(size)

    def begin(self, transaction: Transaction, next_seq: int) -> None:
        """The thread is locked."""

    def has_work(self, transaction: Transaction, checkpoints: Sequence[Outline]) -> bool:
        raise NotImplementedError

    def rewrite(self, transaction: Transaction, checkpoint: Outline) -> None:
        raise NotImplementedError

    def end(self, transaction: Transaction) -> None:
        """All checkpoints are rewritten."""

    def prints(self, transaction: Transaction, checkpoints: Sequence[Outline]) -> dict[tuple[str, str], bytes]:
        """A fingerprint of each checkpoint with all that belongs to it, as it is loaded now."""
        found: dict[tuple[str, str], bytes] = {}
        for ns in sorted({outline.ns for outline in checkpoints}):
            before: str | None = None
            while True:
                wanted = Wanted(_PAGE, self.thread_id, ns, before=before)
                page = loading.find(transaction, self._comparing, wanted)
                for opened in page:
                    found[ns, opened.stored.checkpoint_id] = self._print(opened)
                if len(page) < _PAGE:
                    break
                before = page[-1].stored.checkpoint_id
        return found

    def _print(self, opened: loading.Opened) -> bytes:
        checkpoint, writes, _ = loading.attach(opened, self._comparing)
        values = sorted(checkpoint["channel_values"].items())  # PostgreSQL gives them in no order
        whole = {**checkpoint, "channel_values": dict(values)}
        said = [whole, writes, opened.stored.metadata, opened.stored.parent_id]
        return fingerprint(said, as_stock=self.as_stock)

    def values(self, transaction: Transaction, checkpoint: Outline) -> tuple[list[tuple[_Place, bytes]], list[Any]]:
        """What is to be rewritten of a checkpoint, and of the writes on it."""
        key = CheckpointKey(self.thread_id, checkpoint.ns, checkpoint.checkpoint_id)
        params = {**key._asdict(), "type": self.form}
        values, writes = transaction.run([(self.sql["values_of_type"], params), (self.sql["writes_of_type"], params)])
        return (
            [self._opened(self._value(key, channel, version), blob) for channel, version, blob in values],
            [self._opened(self._write(key, *write), blob) for *write, blob in writes],
        )

    def _opened(self, where: _Place, blob: bytes) -> tuple[_Place, bytes]:
        return where, self.store.sealer.open_value(self.thread_id, where.text, self.form, bytes(blob))[1]

    def _value(self, key: CheckpointKey, channel: str, version: str) -> _Place:
        text = self.store.backend.value_place(key, channel, {"channel_versions": {channel: version}})
        return _Place(key, channel, text, "set_value", {**key._asdict(), "channel": channel, "version": version})

    def _write(self, key: CheckpointKey, task_id: str, idx: int, channel: str) -> _Place:
        params = {**key._asdict(), "task_id": task_id, "idx": idx}
        return _Place(key, channel, write_place(key, task_id, idx), "set_write", params)

    def set(self, transaction: Transaction, where: _Place, type_: str, blob: bytes) -> None:
        type_, blob = self.store.sealer.seal_value(self.thread_id, where.text, type_, blob)
        transaction.send([(self.sql[where.statement], {**where.params, "type": type_, "blob": blob})])
        self.rewritten += 1


class _Compaction(_Work):
    form = STOCK

    def begin(self, transaction: Transaction, next_seq: int) -> None:
        self._next_seq = next_seq
        self._recall = Recall()
        # Values on PostgreSQL belong to many checkpoints, and those without messages stay in their form.
        self._done: set[str] = set()
        [rows] = transaction.run([(self.store.backend.sql["rows_of_runs"], {"thread_id": self.thread_id})])
        self._said_by = {seq: checkpoint_id for seq, _, checkpoint_id in rows}

    def _compacting(self, ns: str, recall: Recall | None = None) -> Compacting:
        key = self.store.sealer.digest_key(self.thread_id)
        return Compacting(self.store.types, recall or self._recall, ns, key=key)

    def has_work(self, transaction: Transaction, checkpoints: Sequence[Outline]) -> bool:
        looking = self._compacting("", Recall())
        for checkpoint in checkpoints:
            values, writes = self.values(transaction, checkpoint)
            for where, body in (*values, *writes):
                if where.text in self._done:
                    continue
                with loading.explained(self.thread_id, checkpoint.checkpoint_id, where.channel):
                    found = looking.has_messages(body)
                if found:
                    self._done.clear()
                    return True
                self._done.add(where.text)
        return False

    def rewrite(self, transaction: Transaction, checkpoint: Outline) -> None:
        values, writes = self.values(transaction, checkpoint)
        run_id, step = checkpoint.run_id, checkpoint.metadata.get("step")
        said = Home(self.thread_id, checkpoint.ns, checkpoint.checkpoint_id, run_id, step)
        written = Home(self.thread_id, checkpoint.ns, None, None, None)
        for home, found in ((said, values), (written, writes)):
            new = [(where, body) for where, body in found if where.text not in self._done]
            self._done.update(where.text for where, _ in new)
            self._save(transaction, home, checkpoint, new)

    def _save(
        self, transaction: Transaction, home: Home, checkpoint: Outline, values: Sequence[tuple[_Place, bytes]]
    ) -> None:
        detacher = self._compacting(home.ns)
        ready = [(where, self._detached(detacher, where, body)) for where, body in values]
        ready = [(where, detached) for where, detached in ready if detached.lists]
        if not ready:
            return
        found = self._found(transaction, home, [draft.row for draft in detacher.drafts.values()])
        placement = place([list_ for _, value in ready for list_ in value.lists], found, self._next_seq, home)
        self._next_seq = placement.next_seq
        said_at = moment_of(checkpoint.checkpoint_id)
        for new in placement.new_rows:
            key_no, row = self.store.sealer.seal_row(self.thread_id, new.seq, new.row)
            params = {"seq": new.seq, "channel": new.channel, "key_no": key_no, **home._asdict(), **row._asdict()}
            transaction.send([(self.sql["add_old_row"], {**params, "said_at": said_at})])
        transaction.send([(self.store.backend.sql["settle_row"], row) for row in placement.settled_rows])
        for where, value in ready:
            self.set(transaction, where, *value.finish())
        known, _ = learned(detacher.drafts.values(), placement, home.ns)
        self._recall.known.setdefault(home.ns, {}).update((id(entry.message), entry) for entry in known)

    def _found(
        self, transaction: Transaction, home: Home, messages: Sequence[MessageRow]
    ) -> dict[bytes, list[tuple[Any, ...]]]:
        """The rows that are there already, by digest.

        A message that has no id in this checkpoint is a row that got its id later, if the thread has been continued
        or was compacted before; else every input would be there twice.
        """
        with_id = {message.digest for message in messages if message.message_id is not None}
        found: dict[bytes, list[tuple[Any, ...]]] = {}
        calls = self.store.backend.rows_with_digests(self.thread_id, {message.digest for message in messages})
        for digest, seq, message_id, *place_ in (row for rows in transaction.run(calls) for row in rows):
            said_later = home.checkpoint_id is not None and (self._said_by.get(seq) or "") >= home.checkpoint_id
            is_its_own = said_later and digest not in with_id
            found.setdefault(digest, []).append((seq, None if is_its_own else message_id, *place_))
        return found

    def _detached(self, detacher: Compacting, where: _Place, body: bytes) -> Detached:
        with loading.explained(self.thread_id, where.key.checkpoint_id, where.channel):
            value = detacher.opened(body)
            if where.statement == "set_value" and self.store.backend.whole:
                [value] = self.store.backend.split(value, {}).values.values()
            return detacher.detach(where.channel, value)

    def end(self, transaction: Transaction) -> None:
        params = {"thread_id": self.thread_id, "next_seq": self._next_seq}
        transaction.send([(self.sql["set_next_seq"], params)])


class _Expansion(_Work):
    form = TYPE
    as_stock = True

    def begin(self, transaction: Transaction, next_seq: int) -> None:
        def make(refs: Sequence[int]) -> list[Any]:
            rows = loading.rows_of(transaction, self.store, self.thread_id, {abs(ref) for ref in refs})
            return rows.make(refs)

        self._expanding = Expanding(self.store.types, make)

    def has_work(self, transaction: Transaction, checkpoints: Sequence[Outline]) -> bool:
        params = {"thread_id": self.thread_id, "type": self.form}
        [[(ours,)]] = transaction.run([(self.sql["is_ours"], params)])
        return bool(ours)

    def rewrite(self, transaction: Transaction, checkpoint: Outline) -> None:
        values, writes = self.values(transaction, checkpoint)
        for where, blob in (*values, *writes):
            with loading.explained(self.thread_id, checkpoint.checkpoint_id, where.channel):
                try:
                    body = self._expanding.expanded(Attachable(where.channel, TYPE, blob))
                except NotExpressible as error:
                    self.problems.append(f"checkpoint {checkpoint.checkpoint_id}: {error}")
                    continue
            self.set(transaction, where, STOCK, body)

    def end(self, transaction: Transaction) -> None:
        if not self.problems:
            transaction.run([(self.sql["plain_documents"], {"thread_id": self.thread_id})])


def _converted(store: Store, thread_id: str, kind: Callable[[Store, str], _Work]) -> Outcome:
    work = kind(store, thread_id)
    try:
        with store.backend.writing() as transaction:
            outcome = _convert(transaction, work)
    except (DatabaseUnavailable, NotOpen):
        raise
    except HoldfastError as error:
        return Outcome(thread_id, 0, 0, 0, 0, _why(error, thread_id))
    if outcome.rewritten:
        store.memory.forget(thread_id)
    return outcome


def _convert(transaction: Transaction, work: _Work) -> Outcome:
    checkpoints = work.outline(transaction)
    if not checkpoints:
        return Outcome(work.thread_id, 0, 0, 0, 0)
    work.begin(transaction, work.lock(transaction))
    if not work.has_work(transaction, checkpoints):
        return Outcome(work.thread_id, 0, 0, 0, 0)
    checkpoints = work.outline(transaction)  # again, now that nobody else may add to them
    size = work.size(transaction)
    before = work.prints(transaction, checkpoints)
    for checkpoint in checkpoints:
        work.rewrite(transaction, checkpoint)
    work.end(transaction)
    after = work.prints(transaction, checkpoints)
    if differing := [where[1] for where, mark in before.items() if after.get(where) != mark]:
        raise NotConverted(
            f"Thread {work.thread_id!r} was left as it is: checkpoint {min(differing)} would not be loaded as it was. "
            "Is a stock saver writing to it at this moment? Then run this again; else it is a defect of Holdfast."
        )
    problem = None
    if work.problems:
        problem = (
            f"Thread {work.thread_id!r}: the stock savers have no form for {len(work.problems)} of its values, which "
            f"were left as they are; the first is of {work.problems[0]}."
        )
    return Outcome(work.thread_id, work.rewritten, len(work.problems), size, work.size(transaction), problem)
