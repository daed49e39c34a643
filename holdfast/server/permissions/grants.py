"""What a request was granted, for the server's own access control, which comes later."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from holdfast.server.access import Principal


@dataclass(frozen=True, slots=True)
class Grant:
    """What the gate has granted to a request."""

    principal: Principal
    threads: frozenset[str] = frozenset()
    """The threads that the request may touch, in the way that its route does."""
    owner: str | None = None
    """The user of the thread that the path names; the caller if there is none yet."""

    @property
    def user_id(self) -> str:
        """The caller."""
        return self.principal.user_id


current_grant: Final[ContextVar[Grant | None]] = ContextVar("current_grant", default=None)
"""The grant of the request that this task answers; `None` if access control is off."""
