"""The guard that keeps a process which was there before from bringing an erased user's long-term memory back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from langgraph.store.base import PutOp

from holdfast.checkpoints.backends.base import Backend, Call
from holdfast.checkpoints.core.erased import erased_since
from holdfast.checkpoints.errors import UserErased
from holdfast.checkpoints.sql import Statements


@dataclass(frozen=True)
class ErasureGuard:
    """What an open store asks after it has written items, before it commits."""

    sql: Statements
    opened_at: float
    """By the clock of the database."""

    @classmethod
    def of(cls, backend: Backend) -> ErasureGuard:
        """Return the guard of a store that is opened now."""
        with backend.reading() as transaction:
            [[clock]] = transaction.run([(backend.sql["clock"], {})])
        return cls(backend.sql, float(clock.now))

    def checks(self, puts: Sequence[tuple[int, PutOp]]) -> Iterator[tuple[str, Call]]:
        """Yield, for each user whose items are written, the user and the call that finds a row if it must not be.

        It runs after the items are written: a user who is being erased at this moment waits for one or the other.
        """
        for user in dict.fromkeys(put.namespace[0] for _, put in puts if put.value is not None):
            yield user, erased_since(self.sql, user, self.opened_at)


def refused(user_id: str) -> UserErased:
    """Return the error for items of a user who was erased."""
    return UserErased(
        f"User {user_id!r} was erased after this store was opened, so what it writes may be what was erased. Nothing "
        "of this batch was stored. If the user has come again: open the store anew, or wait an hour."
    )
