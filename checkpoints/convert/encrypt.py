"""The encryption of a database that is in use, and the change of its master key.

Both are made of small transactions, one thread or some keys each. So a process may be killed at any time: what is done
stays done, and the next process continues.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from holdfast.checkpoints.backends.base import Call
from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.encryption.keyring import OF_DATABASE
from holdfast.checkpoints.encryption.opening import begin_encryption, check_masters, read_state
from holdfast.checkpoints.encryption.reseal import encrypt_thread
from holdfast.checkpoints.encryption.sealer import KeyedSealer
from holdfast.checkpoints.errors import DamagedThread, KeyMissing

_BATCH: Final = 100  # keys that one transaction wraps anew

Progress = Callable[[int], None]
"""Called with the number of threads, or of keys, that are done."""


@dataclass(frozen=True, slots=True)
class EncryptedThreads:
    """The outcome of the encryption of a database."""

    threads: int = 0
    """The number of threads that were encrypted."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why other threads could not be, by thread. As long as there are some, they can be read as they are."""


@dataclass(frozen=True, slots=True)
class RotatedKeys:
    """The outcome of a change of the master key."""

    keys: int
    """The number of data keys that were wrapped anew."""
    master_id: str
    """The master key that wraps all of them now."""


def prepare_encryption(database: Database) -> None:
    """Let processes with keys open a database that is not encrypted yet. What they write is encrypted. Idempotent.

    Raises:
        KeyMissing: the database was opened without keys, or with others than it is being encrypted with.
    """
    sealer = _keyed(database)
    if read_state(database.backend) == "off":
        begin_encryption(database.backend, sealer, "converting")
    check_masters(sealer.keyring)
    sealer.state = read_state(database.backend)


def count_plain(database: Database) -> int:
    """Count the threads that are not encrypted."""
    return sum(1 for _ in database.find_threads("plain_threads"))


def encrypt_database(database: Database, progress: Progress = lambda _: None) -> EncryptedThreads:
    """Encrypt all threads of a database, one after the other, while it is in use. Idempotent.

    A process that writes to it meanwhile needs the keys too: one without them is refused in a thread that is encrypted.

    Args:
        database: the database, opened with keys.
        progress: called after each thread.

    Raises:
        KeyMissing: as `prepare_encryption`.
    """
    prepare_encryption(database)
    sealer, done = _keyed(database), 0
    failed: dict[str, str] = {}
    for _ in range(2):  # and those that a process without keys has begun meanwhile: it can begin no more
        for thread_id in database.find_threads("plain_threads"):
            try:
                encrypt_thread(database.backend, sealer, thread_id)
            except DamagedThread as error:
                failed[thread_id] = str(error)
                continue
            database.forget(thread_id)
            done += 1
            progress(done)
        if failed:
            break
        begin_encryption(database.backend, sealer, "on")
        sealer.state = "on"
    return EncryptedThreads(done, failed)


def rotate_keys(database: Database, progress: Progress = lambda _: None) -> RotatedKeys:
    """Wrap all data keys with the newest master key, while the database is in use. Idempotent.

    What is encrypted with the data keys stays as it is. After that, the older master keys are needed no more, unless a
    process that does not have the newest one goes on.

    Args:
        database: the database, opened with the new key and the older ones.
        progress: called after each batch.

    Raises:
        KeyMissing: the database was opened without keys, or lacks one that is in use.
    """
    keyring = _keyed(database).keyring
    newest, done = keyring.service.key_ids[0], 0
    if keyring.is_apart:  # the key of the database itself is in both
        own = database.read((database.backend.sql["key_of"], {"thread_id": OF_DATABASE}))[0]
        database.write(*(_rewrapped(database, row) for row in own))
    for master_id in check_masters(keyring):
        if master_id == newest:
            continue
        while page := _keys_of(database, master_id):
            persist(keyring.backend, partial(_rewrap, database, page))
            done += len(page)
            progress(done)
    return RotatedKeys(done, newest)


def keys_in_use(database: Database) -> dict[str, int]:
    """Return how many data keys each master key has wrapped; nothing if the database is not encrypted."""
    if not database.sealer.encrypts:
        return {}
    backend = _keyed(database).keyring.backend
    with backend.reading() as transaction:
        [rows] = transaction.run([(backend.sql["count_keys"], {})])
    return {row.master_id: int(row.number) for row in rows}


def _keys_of(database: Database, master_id: str) -> list[Row]:
    """Return some of the keys that a master key has wrapped."""
    backend = _keyed(database).keyring.backend
    params = {"master_id": master_id, "limit": _BATCH}

    def read() -> list[Row]:
        with backend.reading() as transaction:
            return transaction.run([(backend.sql["keys_of_master"], params)])[0]

    return persist(backend, read)


def _rewrap(database: Database, page: list[Row]) -> None:
    with _keyed(database).keyring.backend.writing() as transaction:
        transaction.send([_rewrapped(database, row) for row in page])


def _rewrapped(database: Database, row: Row) -> Call:
    keyring = _keyed(database).keyring
    wrapped = keyring.row_of(row.thread_id, keyring.unwrap(row))
    return keyring.backend.sql["rewrap_key"], {**wrapped, "was_master_id": row.master_id}


def _keyed(database: Database) -> KeyedSealer:
    """Return the sealer of a database that was opened with keys.

    Raises:
        KeyMissing: it was opened without.
    """
    if not isinstance(database.sealer, KeyedSealer):
        raise KeyMissing(
            f"No keys were given for {database.backend}. Needed: a master key, as `keys=` or in HOLDFAST_KEYS. "
            "`holdfast db new-key` makes one."
        )
    return database.sealer
