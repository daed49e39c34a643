"""Results and arguments of effects as the ledger stores them."""

from __future__ import annotations

from typing import Any

from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.effects.states import Entry, entry_of_row
from holdfast.checkpoints.encryption import places
from holdfast.checkpoints.errors import NotStorable, SealBroken
from holdfast.checkpoints.serde.msgpack import Packing, Unpacking


def pack_result(database: Database, thread_id: str, key: str, value: Any) -> tuple[str, bytes]:
    """Return the type and the bytes of a result of an effect that ran in a thread.

    Raises:
        NotStorable: `value` cannot be stored.
    """
    body = Packing(database.types).pack(value)
    if database.storage_filter is not None:
        body = database.storage_filter.body("msgpack", body)
    database.sealer.key_no(thread_id)
    return database.sealer.seal_value(thread_id, places.result(key), "msgpack", body)


def result_of(database: Database, row: Row) -> Any:
    """Return the result in a row of the ledger; `None` if it has none.

    Raises:
        NotStorable: it is in a form that this version does not read.
        SealBroken, KeyMissing: it cannot be decrypted.
    """
    if row.result is None or row.result_type is None:
        return None
    place = places.result(row.effect_key)
    type_, body = database.sealer.open_value(row.thread_id, place, row.result_type, bytes(row.result))
    if type_ != "msgpack":
        raise NotStorable(
            f"A result in the ledger has the type {type_!r}; this version reads msgpack only. Open the database "
            "with the version of Holdfast that wrote it."
        )
    return Unpacking(database.types).unpack(body)


def stored_arguments(database: Database, thread_id: str, key: str, digest: bytes) -> bytes:
    """Return the digest of an effect's arguments as it is stored."""
    database.sealer.key_no(thread_id)
    return database.sealer.seal_bytes(thread_id, places.arguments(key), digest)


def entry_of(database: Database, row: Row) -> Entry:
    """Return the entry in a row of the ledger."""
    try:
        digest = database.sealer.open_bytes(row.thread_id, places.arguments(row.effect_key), bytes(row.args_digest))
    except SealBroken:  # the thread in which it ran was deleted, and its key with it
        digest = b""
    return entry_of_row(row, digest)
