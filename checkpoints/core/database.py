"""What loading and saving share."""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.checkpoints.backends.base import Backend, Call, Row
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.core.cache import MessageCache
from holdfast.checkpoints.core.queue import SaveQueues
from holdfast.checkpoints.serde.encryption import Plain, Sealer
from holdfast.checkpoints.serde.types import Types


@dataclass(frozen=True)
class Database:
    """A database, with what this process knows about it."""

    backend: Backend
    types: Types
    sealer: Sealer = field(default_factory=Plain)
    cache: MessageCache = field(default_factory=MessageCache)
    queues: SaveQueues = field(default_factory=SaveQueues)
    prompts: dict[str, str] = field(default_factory=dict)
    """By thread: the system prompt that is in force there, to go on record with what is saved next."""

    def read(self, *calls: Call) -> list[list[Row]]:
        """What some statements find, all at one moment. While the database is away, it is waited for."""

        def read() -> list[list[Row]]:
            with self.backend.reading() as transaction:
                return transaction.run(calls)

        return persist(self.backend, read)

    def write(self, *calls: Call, repeatable: bool = True) -> list[list[Row]]:
        """Run some statements in a transaction of their own, and give what they return.

        Args:
            calls: the statements.
            repeatable: whether they may be run again when nobody knows whether they were committed; see `persist`.
        """

        def write() -> list[list[Row]]:
            with self.backend.writing() as transaction:
                return transaction.run(calls)

        return persist(self.backend, write, repeatable=repeatable)
