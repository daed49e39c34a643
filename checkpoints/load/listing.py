"""Lists of checkpoints, read in pages, that go on past a checkpoint that cannot be read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Final

from langgraph.checkpoint.base import CheckpointTuple

from holdfast.checkpoints import load
from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.backends.records import CheckpointKey, Cursor, Wanted
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.errors import DamagedThread, NotStorable

_log = logging.getLogger(__name__)

# The checkpoints that are read in one transaction. They share message rows, so a page costs little more than one.
_PAGE: Final = 50

_Found = tuple[CheckpointKey, load.RawCheckpoint | DamagedThread | NotStorable]


def list_checkpoints(database: Database, wanted: Wanted, limit: int | None) -> Iterator[CheckpointTuple]:
    """Yield checkpoints, newest first; see `HoldfastSaver.list`.

    Args:
        database: the open database.
        wanted: the checkpoints; its `limit` and `after` do not count.
        limit: the largest number of checkpoints.

    Raises:
        DamagedThread, NotStorable: one checkpoint was asked for and cannot be read, or none can be read.
    """
    asks_for_one = limit == 1 or bool(wanted.checkpoint_id)
    first_error: Exception | None = None
    found_any = False
    after: Cursor | None = None
    while limit is None or limit > 0:
        page = _PAGE if limit is None else min(limit, _PAGE)
        found = persist(database.backend, partial(_find, database, replace(wanted, limit=page, after=after)))
        for key, raw in found:
            try:
                if isinstance(raw, Exception):
                    raise raw
                item = load.to_tuple(raw, database)
            except (DamagedThread, NotStorable) as error:
                if asks_for_one:
                    raise
                first_error = first_error or error
                _log.warning("Checkpoint %s was left out of a list: %s", key.checkpoint_id, error)
                continue
            found_any = True
            limit = None if limit is None else limit - 1
            yield item
        if len(found) < page:
            break
        last, _ = found[-1]
        after = Cursor(last.checkpoint_id, last.thread_id, last.ns)
    if first_error is not None and not found_any:
        raise first_error


def _find(database: Database, wanted: Wanted) -> list[_Found]:
    """Read the wanted checkpoints with their keys; in place of one that cannot be read, the error."""
    with database.backend.reading() as transaction:
        try:
            found = load.find(transaction, database, wanted)
        except (DamagedThread, NotStorable):
            [rows] = transaction.run([database.backend.wanted_checkpoints(wanted)])
            keys = [CheckpointKey(row.thread_id, row.ns, row.checkpoint_id) for row in rows]
            return [(key, _find_one(transaction, database, key)) for key in keys]
        return [(CheckpointKey(raw.stored.thread_id, raw.stored.ns, raw.stored.checkpoint_id), raw) for raw in found]


def _find_one(
    transaction: Transaction, database: Database, key: CheckpointKey
) -> load.RawCheckpoint | DamagedThread | NotStorable:
    try:
        [found] = load.find(transaction, database, Wanted(1, key.thread_id, key.ns, key.checkpoint_id))
    except (DamagedThread, NotStorable) as error:
        return error
    return found
