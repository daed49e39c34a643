"""Who calls, and what they may do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, TypeAlias

from fastapi import Request

from holdfast.checkpoints.errors import NotPermitted
from holdfast.server.access.principal import Principal

_Found: TypeAlias = str | Principal | None

FindUser: TypeAlias = Callable[[Request], _Found | Awaitable[_Found]]
"""Returns the user of a request, or the principal with its roles; `None` refuses the request."""


class NotAuthenticated(Exception):
    """A request has no user."""

    def __init__(self) -> None:
        super().__init__("This request names no user that is known here. Needed: valid credentials.")


@dataclass(frozen=True, slots=True)
class Caller:
    """The user of a request."""

    user_id: str | None
    """`None`: there is no access control, and the application vouches for the caller."""
    is_approver: bool = False
    """Whether the caller sees and answers the requests of all threads."""
    is_auditor: bool = False
    """Whether the caller reads all threads, and changes nothing."""

    @property
    def reads_as(self) -> str | None:
        """The user whose threads the caller may read; `None`: all threads."""
        return None if self.is_auditor else self.user_id

    def check_may_write(self) -> None:
        """Refuse a caller who may only read.

        Raises:
            NotPermitted: the caller is an auditor.
        """
        if self.is_auditor:
            raise NotPermitted(f"User {self.user_id!r} is an auditor, who only reads. Nothing was changed.")


def find_caller(user: FindUser | None) -> Callable[[Request], Awaitable[Caller]]:
    """Return the dependency that finds the caller of a request.

    Args:
        user: finds the user. Without it there is no access control.
    """

    async def caller(request: Request) -> Caller:
        if user is None:
            return Caller(None)
        found: Any = user(request)
        if isawaitable(found):
            found = await found
        if not found:
            raise NotAuthenticated
        if isinstance(found, Principal):
            return Caller(found.user_id, found.is_approver, found.is_auditor)
        return Caller(str(found))

    return caller
