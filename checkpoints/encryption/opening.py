"""The check of keys and database against each other, when the database is opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from holdfast.checkpoints.backends.base import Backend, Call
from holdfast.checkpoints.backends.by_url import backend_of
from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.encryption.cipher import DataKey
from holdfast.checkpoints.encryption.keyring import OF_DATABASE, Keyring
from holdfast.checkpoints.encryption.masters import Keys, KeyService, key_service
from holdfast.checkpoints.encryption.reseal import encrypt_thread
from holdfast.checkpoints.encryption.sealer import KeyedSealer, State
from holdfast.checkpoints.errors import HoldfastError, InvalidKeys, KeyMissing, NotEncrypted, SealBroken, ThreadConflict
from holdfast.checkpoints.serde.encryption import Plain, Sealer
from holdfast.checkpoints.urls import Location, MemoryURL, PostgresURL, parse

_CONNECTIONS: Final = 2
"""The largest number of connections to PostgreSQL for reading keys."""


@dataclass(frozen=True)
class Encryption:
    """How a database is to be opened that is encrypted, or that is to be."""

    service: KeyService
    """Has the master keys."""
    keys_backend: Backend | None = None
    """Where the table of keys is read; `None`: over the backend of the threads."""
    is_apart: bool = False
    """Whether the table of keys is in another database than the threads."""
    takes_plain: bool = False
    """Whether to open a database that is not encrypted all the same, and to leave it so."""


def encryption_for(
    place: Location, keys: Keys | None, *, keys_database: str | None = None, takes_plain: bool = False
) -> Encryption | None:
    """Return how a database is to be opened with some master keys; `None` if there are none.

    Args:
        place: the database.
        keys: the master keys.
        keys_database: the URL of the database with the table of keys, if that is another one.
        takes_plain: whether to open a database that is not encrypted all the same.

    Raises:
        InvalidKeys: the keys cannot be used, or there is a database for keys and no key.
    """
    if keys is None and keys_database is not None:
        raise InvalidKeys("A database for data keys is given, and no master key. Needed: `keys=`, or HOLDFAST_KEYS.")
    if keys is None:
        return None
    if keys_database is not None:
        other = parse(keys_database)
        if isinstance(other, MemoryURL) or str(other) == str(place):
            raise InvalidKeys(f"The data keys cannot be in {other}. Needed: another database, which outlives this one.")
        return Encryption(key_service(keys), backend_of(other, _CONNECTIONS), is_apart=True, takes_plain=takes_plain)
    # A key is read while a connection is in use. So on PostgreSQL it is not one of the same pool.
    apart = backend_of(place, _CONNECTIONS) if isinstance(place, PostgresURL) else None
    return Encryption(key_service(keys), apart, takes_plain=takes_plain)


def sealer_of(backend: Backend, encryption: Encryption | None) -> Sealer:
    """Return the sealer for a database that is not open yet."""
    if encryption is None:
        return Plain()
    keys = encryption.keys_backend or backend
    keyring = Keyring(encryption.service, keys, is_apart=encryption.is_apart, keeps_all=keys.is_exclusive)
    sealer = KeyedSealer(keyring, lambda: read_state(backend if encryption.is_apart else keys))
    sealer.encrypt_thread = partial(encrypt_thread, backend, sealer)
    return sealer


def open_keys(backend: Backend, sealer: Sealer, encryption: Encryption | None) -> None:
    """Check the keys against a database that was just opened. With keys, a new database becomes an encrypted one.

    Raises:
        KeyMissing: the database is encrypted, and a key is missing or another one.
        NotEncrypted: keys were given, and the database has threads that are not encrypted.
    """
    if encryption is None or not isinstance(sealer, KeyedSealer):
        _refuse_encrypted(backend)
        return
    if encryption.keys_backend is not None:
        encryption.keys_backend.open()
    state = read_state(backend)
    if state == "off" and not encryption.takes_plain:
        _refuse_contents(backend)
        begin_encryption(backend, sealer, "on")
        state = read_state(backend)  # another process may have been first
    if state != "off":
        if encryption.is_apart:
            _check_database_of_keys(backend, sealer.keyring)
        _refuse_keys_apart(backend, is_apart=encryption.is_apart)
        check_masters(sealer.keyring)
    sealer.state = state


def close_keys(encryption: Encryption | None) -> None:
    """Disconnect from the table of keys."""
    if encryption is not None and encryption.keys_backend is not None:
        encryption.keys_backend.close()


def read_state(backend: Backend) -> State:
    """Return whether a database is encrypted."""
    [rows] = _read(backend, (backend.sql["encryption_state"], {}))
    state: State = rows[0].state if rows else "off"
    return state


def check_masters(keyring: Keyring) -> list[str]:
    """Check that each master key that is in use was given, and return their ids.

    Raises:
        KeyMissing: one was not, or is another key.
    """
    [rows] = _read(keyring.backend, (keyring.backend.sql["masters_in_use"], {}))
    for row in rows:
        keyring.unwrap(row)
    return [row.master_id for row in rows]


def begin_encryption(backend: Backend, sealer: KeyedSealer, state: State) -> None:
    """Note that a database is encrypted, or is being encrypted, and give it a key of its own. Idempotent.

    Raises:
        InvalidKeys: the database of keys has those of another database.
    """
    keyring = sealer.keyring
    if keyring.is_apart and _own_key(keyring.backend) and not _own_key(backend):
        raise InvalidKeys(
            f"{keyring.backend} has the data keys of another database. Needed: one for the keys of {backend} alone."
        )
    key = DataKey.new(keyring.service.key_ids[0])
    _write(
        backend,
        [
            (backend.sql["add_key"], keyring.row_of(OF_DATABASE, key)),
            (backend.sql["set_encryption"], {"state": state}),
            (backend.sql["ask_for_encryption"], {}),
        ],
    )
    if keyring.is_apart:
        _check_database_of_keys(backend, keyring)


def _check_database_of_keys(backend: Backend, keyring: Keyring) -> None:
    """Check that a database of keys is that of this database. An empty one becomes it.

    Raises:
        KeyMissing: it has the keys of another database, or none, and this one has encrypted threads.
    """
    own, there = _own_key(backend), _own_key(keyring.backend)
    if own and not there and not _read(backend, (backend.sql["any_thread_key"], {}))[0]:
        _write(keyring.backend, [(keyring.backend.sql["add_key"], own[0]._asdict())])
        there = _own_key(keyring.backend)
    if [row.key_no for row in own] != [row.key_no for row in there]:
        raise KeyMissing(
            f"The data keys of {backend} are not in {keyring.backend}. Needed: the database that has them, as "
            "`keys_database=` or in HOLDFAST_KEYS_DATABASE."
        )


def _refuse_keys_apart(backend: Backend, *, is_apart: bool) -> None:
    """Refuse a database whose data keys are in another one, if that was not given, or the other way round.

    Raises:
        KeyMissing: they are not where they were said to be.
    """
    [threads] = _read(backend, (backend.sql["any_thread_key"], {}))
    for row in threads:
        is_here = bool(_read(backend, (backend.sql["key_of"], {"thread_id": row.thread_id}))[0])
        if is_here == is_apart:
            where = f"in {backend} itself" if is_here else "in another database"
            needed = "no `keys_database=`" if is_here else "its URL, as `keys_database=` or in HOLDFAST_KEYS_DATABASE"
            raise KeyMissing(f"The data keys of {backend} are {where}. Needed: {needed}.")


def _own_key(backend: Backend) -> list[Row]:
    """Return the row of the key of a database itself, if there is one."""
    return _read(backend, (backend.sql["key_of"], {"thread_id": OF_DATABASE}))[0]


def no_keys(backend: Backend) -> KeyMissing:
    """Return the error for a process without keys whose database is encrypted."""
    [rows] = _read(backend, (backend.sql["masters_in_use"], {}))
    named = f" with the master keys {', '.join(row.master_id for row in rows)}" if rows else ""
    return KeyMissing(
        f"The database {backend} is encrypted{named}, and no keys were given. Needed: these keys, as `keys=` or in "
        "HOLDFAST_KEYS."
    )


def stale_thread(backend: Backend, sealer: Sealer, thread_id: str) -> HoldfastError:
    """Return the error for a save that finds its thread otherwise each time."""
    if not sealer.encrypts and read_state(backend) != "off":
        return no_keys(backend)
    if sealer.encrypts:
        return SealBroken(thread_id, "it is not encrypted, and in this database it must be")
    return ThreadConflict(thread_id, "it is deleted and begun anew all the time")


def _refuse_encrypted(backend: Backend) -> None:
    if read_state(backend) != "off":
        raise no_keys(backend)


def _refuse_contents(backend: Backend) -> None:
    [[row]] = _read(backend, (backend.sql["has_content"], {}))
    if row.has_content:
        raise NotEncrypted(
            f"Keys were given, and the database {backend} is not encrypted. `holdfast db encrypt` encrypts it. To use "
            "it as it is, give no keys."
        )


def _read(backend: Backend, *calls: Call) -> list[list[Row]]:
    def read() -> list[list[Row]]:
        with backend.reading() as transaction:
            return transaction.run(calls)

    return persist(backend, read)


def _write(backend: Backend, calls: Sequence[Call]) -> None:
    def write() -> None:
        with backend.writing() as transaction:
            transaction.run(calls)

    persist(backend, write)
