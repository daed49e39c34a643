"""The caller of a server: a user, and what this user may do beside their own threads."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    """What a caller may do beside using their own threads and those that are shared with them."""

    APPROVER = "approver"
    """Sees and answers the requests of all threads, and reads no conversation."""
    AUDITOR = "auditor"
    """Reads all threads, and changes nothing, not even threads of their own."""
    METRICS = "metrics"
    """Reads the metrics of the server."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller whose token was verified."""

    user_id: str
    roles: frozenset[Role] = field(default_factory=frozenset)

    @property
    def is_approver(self) -> bool:
        """Whether the caller sees and answers the requests of all threads."""
        return Role.APPROVER in self.roles

    @property
    def is_auditor(self) -> bool:
        """Whether the caller reads all threads and changes nothing."""
        return Role.AUDITOR in self.roles
