"""Redaction of one thread, in one transaction: every place in which its texts are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from holdfast.checkpoints.backends.base import Call, Transaction
from holdfast.checkpoints.backends.records import (
    CheckpointKey,
    Row,
    write_place,
)
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.encryption import places as sealed_at
from holdfast.checkpoints.encryption.records import open_record
from holdfast.checkpoints.errors import DamagedThread, NotStorable
from holdfast.checkpoints.redaction.places import Place
from holdfast.checkpoints.redaction.values import Unredactable, Values
from holdfast.checkpoints.serde.messages import MessageRow
from holdfast.checkpoints.serde.values import TYPE, Attachable, with_references
from holdfast.checkpoints.threads import index

T = TypeVar("T")

_PAGE: Final = 200  # rows that one statement reads

_DAMAGE: Final = (ValueError, TypeError, LookupError, AttributeError, DamagedThread, NotStorable, Unredactable)

# What in the data of events is an id.
_IDS: Final = frozenset({"thread_id", "checkpoint_id", "message_id", "checkpoint_ids", "members", "patterns"})


class ThreadRedaction:
    """The redaction of one thread within a transaction, in which the thread is locked."""

    def __init__(
        self,
        transaction: Transaction,
        database: Database,
        thread_id: str,
        *,
        dry_run: bool,
    ) -> None:
        self.transaction = transaction
        self.database = database
        self.thread_id = thread_id
        self.places: Counter[Place] = Counter()
        """The number of rows that change, by place."""
        self.unread: list[str] = []
        """What could not be read, and may hold what was to be redacted."""
        self._dry_run = dry_run
        self._sql = database.backend.sql
        self._params = {"thread_id": thread_id}
        self._title_before: str | None = None

    @property
    def has_changes(self) -> bool:
        """Whether something in the thread changes."""
        return any(self.places.values())

    # --- message rows

    def rows(self) -> Iterator[tuple[int, MessageRow]]:
        """Yield the message rows, as they were saved."""
        sealer = self.database.sealer
        for row in self._pages("page_of_message", ("seq",), {"seq": 0}):
            what = f"message row {row.seq}"
            digest, body = bytes(row.digest), bytes(row.body)
            columns = MessageRow(row.message_id, digest, row.codec, row.role, row.name, row.content, body)
            opened = self._read(what, partial(sealer.open_row, self.thread_id, row.seq, row.key_no, columns))
            if opened is not None:
                yield row.seq, opened

    def change_rows(self, change: Callable[[int, MessageRow], MessageRow]) -> None:
        """Replace the message rows that a function changes."""
        for seq, row in self.rows():
            new = self._read(f"message row {seq}", partial(change, seq, row))
            if new is not None and new != row:
                key_no, sealed = self.database.sealer.seal_row(self.thread_id, seq, new)
                stored = {name: getattr(sealed, name) for name in ("codec", "name", "content", "body")}
                self._send("messages", "redact_row", {"seq": seq, "key_no": key_no, **stored})

    # --- all else

    def change_rest(self, values: Values) -> None:
        """Redact everything beside the message rows."""
        self._checkpoints(values)
        self._writes(values)
        self._events(values)
        self._answers(values)
        self._runs(values)

    def _checkpoints(self, values: Values) -> None:
        start = {"ns": "", "channel": "", "version": ""}
        for row in self._pages("page_of_value", ("ns", "channel", "version"), start):
            key = CheckpointKey(self.thread_id, row.ns, row.version)
            versions = {"channel_versions": {row.channel: row.version}}
            place = self.database.backend.value_place(key, row.channel, versions)
            at = {"ns": row.ns, "channel": row.channel, "version": row.version}
            value = row.type, row.blob
            self._sealed("values", "redact_value", place, value, at, values, is_checkpoint=not row.channel)
        for row in self._pages("page_of_document", ("ns", "checkpoint_id"), {"ns": "", "checkpoint_id": ""}):
            self._document(row, values)

    def _document(self, row: Row, values: Values) -> None:
        backend = self.database.backend
        opened = self._read(
            f"checkpoint {row.checkpoint_id}", partial(backend.open_document, row, self.thread_id, backend.sealer)
        )
        if opened is None:
            return
        document, metadata = opened
        new_metadata = values.metadata(metadata) if isinstance(metadata, dict) else metadata
        inline = document.get("channel_values") if document is not None else None
        new_inline = values.channels(inline) if isinstance(inline, dict) else inline
        if new_metadata is metadata and new_inline is inline:
            return
        place: Place = "values" if new_metadata is metadata else "metadata"
        if new_inline is not inline:
            document = {**document, "channel_values": new_inline}
        key = CheckpointKey(self.thread_id, row.ns, row.checkpoint_id)
        self._change(place, backend.rewrite_document(key, document, new_metadata))

    def _writes(self, values: Values) -> None:
        names = ("ns", "checkpoint_id", "task_id", "idx")
        start: dict[str, Any] = {"ns": "", "checkpoint_id": "", "task_id": "", "idx": -(2**31)}
        kinds: tuple[tuple[Place, str, str, tuple[str, ...], dict[str, Any]], ...] = (
            ("writes", "page_of_write", "set_write", names, start),
            ("replaced writes", "page_of_run_write", "redact_run_write", (*names, "run_id"), {**start, "run_id": ""}),
        )
        for place, page, statement, key_names, first in kinds:
            for row in self._pages(page, key_names, first):
                if row.channel is None:  # nothing was replaced
                    continue
                key = CheckpointKey(self.thread_id, row.ns, row.checkpoint_id)
                at = {name: getattr(row, name) for name in key_names}
                sealed_as = write_place(key, row.task_id, row.idx)
                self._sealed(place, statement, sealed_as, (row.type, row.blob), at, values)

    def _events(self, values: Values) -> None:
        for row in self._pages("page_of_event", ("no",), {"no": 0}):
            opened = self._read(
                f"event {row.no}", partial(index.event_data, self.database, self.thread_id, row.kind, row.data)
            )
            new = self._json(f"event {row.no}", opened, lambda data: values.fields(data, _IDS))
            if new is not None:
                sealed = self.database.sealer.seal_text(self.thread_id, sealed_at.event(row.kind), new)
                self._send("events", "redact_event", {"no": row.no, "data": sealed})

    def _answers(self, values: Values) -> None:
        for row in self._pages("page_of_interrupt", ("interrupt_id",), {"interrupt_id": ""}):
            if row.answer is not None:
                at, sealed_as = {"interrupt_id": row.interrupt_id}, sealed_at.answer(row.interrupt_id)
                self._sealed("answers", "redact_answer", sealed_as, (row.answer_type, row.answer), at, values)
        [found] = self.transaction.run([(self._sql["facts_of_thread"], self._params)])
        lineage = {"lineage": found[0].lineage if found else self.thread_id}
        for row in self._pages("page_of_effect", ("effect_key",), {**lineage, "effect_key": ""}):
            if row.result is not None and row.thread_id == self.thread_id:
                at, sealed_as = {**lineage, "effect_key": row.effect_key}, sealed_at.result(row.effect_key)
                value = row.result_type, row.result
                self._sealed("results", "redact_result", sealed_as, value, at, values)

    def _runs(self, values: Values) -> None:
        for row in self._pages("page_of_run", ("number",), {"number": 0}):
            if row.input is not None:  # it has not ended
                at, sealed_as = {"number": row.number}, sealed_at.run_input(row.run_id)
                self._sealed("runs", "redact_input", sealed_as, (row.input_type, row.input), at, values)
            if row.error is not None:
                self._error(row, values)

    def _error(self, row: Row, values: Values) -> None:
        sealer, place = self.database.sealer, sealed_at.run_error(row.run_id)
        error = self._read(
            f"the error of run {row.run_id}", partial(sealer.open_text, self.thread_id, place, row.error)
        )
        if error is not None and (new := values.text(error)) != error:
            sealed = sealer.seal_text(self.thread_id, place, new)
            self._send("runs", "redact_error", {"number": row.number, "error": sealed})

    # --- the thread's own row, last

    def note_title(self) -> None:
        """Note the title that the thread's first words make, before its rows change."""
        [texts] = self.transaction.run([(self._sql["first_words"], self._params)])
        self._title_before = self._first_title(texts)

    def _first_title(self, texts: Sequence[Row]) -> str | None:
        return index.first_title(self.database.sealer, self.thread_id, texts)

    def end(self, values: Values) -> None:
        """Redact the title and the metadata of the thread, and make everything stale that has loaded it before."""
        sql = self._sql
        names = ("facts_of_thread", "first_words", "index_state")
        rows, texts, state = self.transaction.run([(sql[name], self._params) for name in names])
        if not rows:  # of a stock saver, and only looked at
            return
        stored = {**rows[0]._asdict(), "prompt": None}
        facts = {**stored, **open_record(self.database.sealer, self.thread_id, "thread", stored)}
        title = values.text(facts["title"]) if facts["title"] is not None else None
        if facts["title"] is not None and facts["title"] == self._title_before and not self._dry_run:
            title = self._first_title(texts) or title  # it may have been cut in the middle of what is redacted
        metadata = self._json("the metadata of the thread", facts["metadata"], values.metadata)
        self.places.update({"titles": int(title != facts["title"]), "threads": int(metadata is not None)})
        if self._dry_run or not self.has_changes:
            return
        new = {"title": title, "metadata": metadata or facts["metadata"]}
        sealed = index.sealed_fields(self.database.sealer, self.thread_id, new)
        calls: list[Call] = [(sql["redact_thread"], {**self._params, **sealed}), (sql["recount_thread"], self._params)]
        if self.places["messages"] and state and state[0].searched:
            calls += self.database.backend.full_text.remove(self.thread_id)
            calls.append((sql["set_searched"], {**self._params, "searched": 0}))
        self.transaction.run(calls)
        if self.places["messages"]:
            self.database.backend.full_text.clean(self.transaction)

    def record(self, facts: Mapping[str, Any], by: str | None) -> None:
        """Add the event that says who has redacted something, and why."""
        data = {**facts, "places": {place: number for place, number in self.places.items() if number}}
        self.transaction.send([index.add_event(self.database, self.thread_id, "redacted", data, by)])

    # --- inside

    def _sealed(
        self,
        place: Place,
        statement: str,
        sealed_as: str,
        stored: tuple[str, bytes | None],
        at: Mapping[str, Any],
        values: Values,
        *,
        is_checkpoint: bool = False,
    ) -> None:
        """Redact a value that passes through the sealer."""
        sealer, owner = self.database.sealer, self.thread_id
        type_, blob = stored

        def change() -> tuple[str, bytes] | None:
            part = Attachable("", *sealer.open_value(owner, sealed_as, type_, bytes(blob or b"")))
            body = values.stored(part.type, part.body, is_checkpoint=is_checkpoint)
            if body is part.body:
                return None
            return part.type, with_references(part.lists, body) if part.type == TYPE else body

        new = self._read(" ".join(sealed_as.split("\0")), change)
        if new is not None:
            new_type, new_blob = sealer.seal_value(owner, sealed_as, *new)
            self._send(place, statement, {**at, "type": new_type, "blob": new_blob})

    def _json(self, what: str, text: str | None, change: Callable[[Any], Any]) -> str | None:
        """Return a JSON text without what is to be redacted; `None` if nothing changes."""

        def changed() -> str | None:
            found = json.loads(text) if text is not None else None
            new = change(found) if isinstance(found, dict) else found
            return None if new is found else json.dumps(new)

        return self._read(what, changed)

    def _read(self, what: str, read: Callable[[], T]) -> T | None:
        """Return what a function returns; `None`, with a note, if what it reads is damaged or of an unknown form."""
        try:
            return read()
        except _DAMAGE as error:
            self.unread.append(f"{what} ({error})")
            return None

    def _pages(self, statement: str, key: Sequence[str], start: Mapping[str, Any]) -> Iterator[Row]:
        """Yield the rows of a statement that reads them in pages, ordered by a key."""
        after = {**self._params, **start}
        while True:
            [rows] = self.transaction.run([(self._sql[statement], {**after, "limit": _PAGE})])
            yield from rows
            if len(rows) < _PAGE:
                return
            after |= {name: getattr(rows[-1], name) for name in key}

    def _send(self, place: Place, statement: str, params: Mapping[str, Any]) -> None:
        self._change(place, (self._sql[statement], {**self._params, **params}))

    def _change(self, place: Place, call: Call) -> None:
        self.places[place] += 1
        if not self._dry_run:
            self.transaction.send([call])
