"""The data keys of threads: read from the table of keys, unwrapped, and kept in memory for the threads used last.

A key is read over a connection of its own, because a transaction may be open when the key is found to be needed. A new
key is stored in the transaction that begins its thread; where the keys are in another database, before that.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import Any, Final

from holdfast.checkpoints.backends.base import Backend, Call
from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.encryption.cipher import DataKey
from holdfast.checkpoints.encryption.masters import KeyService

OF_DATABASE: Final = ""
"""The `thread_id` of the key of the database itself, by which the master keys are checked when it is opened."""

_MOST_KEYS: Final = 8192


class Keyring:
    """The data keys of a database. Safe for threads."""

    def __init__(
        self, service: KeyService, backend: Backend, *, is_apart: bool = False, keeps_all: bool = False
    ) -> None:
        """
        Args:
            service: has the master keys.
            backend: the database of the table of keys. It is used while a transaction of another backend is open.
            is_apart: whether it is another database than that of the threads.
            keeps_all: whether no other process has the database, so that a key that is not kept is not there.
        """
        self.service = service
        self.backend = backend
        self.is_apart = is_apart
        self._keeps_all = keeps_all
        self._lock = Lock()
        self._keys: OrderedDict[str, DataKey] = OrderedDict()
        self._new: dict[str, DataKey] = {}  # not stored yet
        self._unsure: set[str] = set()  # of these, another process may have stored another one

    # --- finding

    def kept(self, thread_id: str) -> DataKey | None:
        """Return the key of a thread if it is in memory."""
        with self._lock:
            if (key := self._keys.get(thread_id)) is not None:
                self._keys.move_to_end(thread_id)
            return key or (None if thread_id in self._unsure else self._new.get(thread_id))

    def find(self, thread_id: str) -> DataKey | None:
        """Return the key of a thread; `None` if it has none.

        Raises:
            KeyMissing: the master key that has wrapped it was not given.
        """
        if (key := self.kept(thread_id)) is None:
            self._read((thread_id,))
            with self._lock:
                self._unsure.discard(thread_id)
            key = self.kept(thread_id)
        return key

    def named(self, thread_id: str, no: int) -> DataKey | None:
        """Return the key of this number; `None` if the thread has it no longer, or never had.

        Raises:
            KeyMissing: as `find`.
        """
        key = self.kept(thread_id)
        if key is None or key.no != no:  # the thread was deleted, and begun anew by another process
            self._read((thread_id,))
            key = self.kept(thread_id)
        return key if key is not None and key.no == no else None

    def prefetch(self, thread_ids: Iterable[str]) -> None:
        """Read the keys of some threads that are not in memory, at once."""
        wanted = [thread_id for thread_id in dict.fromkeys(thread_ids) if self.kept(thread_id) is None]
        if wanted:
            self._read(wanted)

    def _read(self, thread_ids: Iterable[str]) -> None:
        if self._keeps_all:
            return
        statement = self.backend.sql["key_of"]
        calls: list[Call] = [(statement, {"thread_id": thread_id}) for thread_id in thread_ids]

        def read() -> list[list[Row]]:
            with self.backend.reading() as transaction:
                return transaction.run(calls)

        for rows in persist(self.backend, read):
            for row in rows:
                self._keep(row.thread_id, self.unwrap(row))

    def unwrap(self, row: Row) -> DataKey:
        """Return the key in a row of the table of keys.

        Raises:
            KeyMissing: the master key that has wrapped it was not given, or is another key.
        """
        context = _context(row.thread_id, row.key_no)
        return DataKey(row.key_no, self.service.unwrap(row.master_id, bytes(row.wrapped), context), row.master_id)

    def _keep(self, thread_id: str, key: DataKey) -> None:
        with self._lock:
            self._new.pop(thread_id, None)
            self._unsure.discard(thread_id)
            self._keys[thread_id] = key
            self._keys.move_to_end(thread_id)
            while len(self._keys) > _MOST_KEYS and not self._keeps_all:
                self._keys.popitem(last=False)

    # --- new keys

    def make(self, thread_id: str) -> DataKey:
        """Return the new key of a thread that has none. It must be stored with the first save of the thread."""
        key = DataKey.new(self.service.key_ids[0])
        if self.is_apart:
            return self._store_apart(thread_id, key)
        with self._lock:  # another thread of this process may have stored one since the caller looked
            return self._keys.get(thread_id) or self._new.setdefault(thread_id, key)

    def is_new(self, thread_id: str) -> bool:
        """Return whether the key of a thread is not stored yet."""
        with self._lock:
            return thread_id in self._new

    def row_of(self, thread_id: str, key: DataKey) -> Mapping[str, Any]:
        """Return the row of a key, as the parameters of the statement `add_key`, wrapped by the newest master key."""
        master_id = self.service.key_ids[0]
        wrapped = self.service.wrap(master_id, key.secret, _context(thread_id, key.no))
        return {"thread_id": thread_id, "key_no": key.no, "master_id": master_id, "wrapped": wrapped}

    def is_stored(self, thread_id: str) -> None:
        """Note that the new key of a thread was committed."""
        if self._new and (key := self._new.get(thread_id)) is not None:
            self._keep(thread_id, key)

    def erase(self, thread_id: str) -> None:
        """Drop the key of a thread that was deleted, and delete it if it is in another database than the thread was."""
        with self._lock:
            self._keys.pop(thread_id, None)
        if self.is_apart:
            self._write((self.backend.sql["delete_keys"], {"thread_ids": self.backend.array([thread_id])}))

    def _store_apart(self, thread_id: str, key: DataKey) -> DataKey:
        """Return the key that the thread has then: of two writers, one is first.

        It is never one of the new keys: another thread of this process would store it beside the messages.
        """
        while True:
            self._write((self.backend.sql["add_key"], self.row_of(thread_id, key)))
            if (stored := self.find(thread_id)) is not None:  # else it was deleted at once
                return stored

    def _write(self, call: Call) -> None:
        def write() -> None:
            with self.backend.writing() as transaction:
                transaction.run([call])

        persist(self.backend, write)

    # --- forgetting

    def forget(self, thread_id: str) -> None:
        """Read the key of a thread again before it is used. One that is not stored yet stays, if there is no other."""
        if not self._keeps_all:
            with self._lock:
                self._keys.pop(thread_id, None)
                if thread_id in self._new:
                    self._unsure.add(thread_id)

    def forget_all(self) -> None:
        """Drop all keys from memory."""
        with self._lock:
            self._new.clear()
            self._unsure.clear()
            self._keys.clear()


OnPlainThread = Callable[[str], bool]
"""Encrypts a thread that is not encrypted yet; returns whether there was something to encrypt."""


def _context(thread_id: str, key_no: int) -> bytes:
    """Return what a wrapped key is bound to."""
    return f"holdfast-key\0{thread_id}\0{key_no}".encode()
