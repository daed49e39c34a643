"""The key of a thread, stored in the transaction that begins the thread."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.checkpoints.backends.base import Backend, Call, Transaction
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.encryption.sealer import KeyedSealer
from holdfast.checkpoints.serde.encryption import Sealer


def add_new_key(backend: Backend, sealer: Sealer, thread_id: str) -> list[Call]:
    """Return the call that stores the key of a thread, if it is new. It must find one row."""
    if not isinstance(sealer, KeyedSealer) or not sealer.encrypts or not sealer.keyring.is_new(thread_id):
        return []
    key = sealer.keyring.make(thread_id)
    return [(backend.sql["add_key"], sealer.keyring.row_of(thread_id, key))]


def give_key(transaction: Transaction, backend: Backend, sealer: Sealer, thread_id: str) -> bool:
    """Give a thread that is locked in a transaction its key, if the database is encrypted.

    The transaction may not be committed: the caller drops the key after that (`Sealer.forget`), or notes that it is
    stored.

    Returns:
        Whether it has this key now; else another process has stored another one.
    """
    if not isinstance(sealer, KeyedSealer) or not sealer.encrypts:
        return True
    key = sealer.keyring.find(thread_id) or sealer.keyring.make(thread_id)
    add = add_new_key(backend, sealer, thread_id)
    set_key: Call = (backend.sql["set_thread_key"], {"thread_id": thread_id, "key_no": key.no})
    *added, _ = transaction.run([*add, set_key])
    return all(added)


def write_with_key(backend: Backend, sealer: Sealer, thread_id: str, write: Callable[[Transaction], object]) -> None:
    """Write to a thread that is locked, in a transaction of its own. The thread is begun if it is new.

    Args:
        backend: the database.
        sealer: encrypts with the key of the thread, which the transaction stores if it is new.
        thread_id: the thread.
        write: writes. It is called again if another process has begun the thread, with another key.
    """
    while not persist(backend, lambda: _write(backend, sealer, thread_id, write)):
        sealer.forget(thread_id)


def _write(backend: Backend, sealer: Sealer, thread_id: str, write: Callable[[Transaction], object]) -> bool:
    """Return whether the thread has the key that was used."""
    key_no, thread = sealer.key_no(thread_id), {"thread_id": thread_id}
    with backend.writing() as transaction:
        _, [row] = transaction.run([(backend.sql[name], thread) for name in ("add_thread", "lock_thread")])
        if row.key_no != key_no and (row.key_no is not None or not give_key(transaction, backend, sealer, thread_id)):
            return False
        write(transaction)
    sealer.is_stored(thread_id)
    return True
