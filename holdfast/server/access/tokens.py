"""Tokens of callers, in a file that has their hashes.

The file only grows: a line for each token and for each revocation, so that two commands at once lose nothing, and the
file tells who had access when.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from holdfast.server.access.principal import Principal, Role

PREFIX: Final = "holdfast_"
"""The beginning of every token: scanners that look for leaked secrets find it by that."""


class InvalidAccess(ValueError):
    """Access control cannot be set up, or a file that it needs cannot be used. The message holds no secret."""


@dataclass(frozen=True, slots=True)
class Token:
    """What the file knows of a token. The token itself is not in it."""

    id: str
    user_id: str
    roles: frozenset[Role]
    sha256: str
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Return whether the token is neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or now < self.expires)


class TokenFile:
    """Tokens in a file that only its owner may read.

    Args:
        path: the file. It is read again whenever it has changed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, int, int] | None = None
        self._tokens: dict[str, Token] = {}

    def find(self, token: str) -> Principal | None:
        """Return the caller that a token belongs to; `None` if there is none, or it is expired or revoked.

        Raises:
            InvalidAccess: the file cannot be used.
        """
        self._read_if_changed()
        token_id = token.removeprefix(PREFIX).partition("_")[0] if token.startswith(PREFIX) else ""
        found = self._tokens.get(token_id)
        # An unknown id takes the same time as a wrong secret.
        is_same = hmac.compare_digest(_digest(token), found.sha256 if found else _digest(""))
        if found is None or not is_same or not found.is_valid(datetime.now(UTC)):
            return None
        return Principal(found.user_id, found.roles)

    def add(self, user_id: str, roles: Iterable[Role] = (), expires: datetime | None = None) -> str:
        """Make a token, and add its hash to the file, which is made if it is not there.

        Args:
            user_id: the user who will have the token.
            roles: what the user may do beside using their own threads.
            expires: the time from which on it is refused, with an offset.

        Returns:
            The token. It cannot be read again.

        Raises:
            InvalidAccess: the `user_id` is empty or no text that can be stored, or the file cannot be used.
        """
        if not user_id.strip() or "\0" in user_id:
            raise InvalidAccess(f"{user_id!r} is no user. Needed: the id of a user, as text that is not empty.")
        if self._path.exists():
            self._read_if_changed()  # refuses a file that others can read before more goes into it
        token_id = secrets.token_hex(4)
        token = f"{PREFIX}{token_id}_{secrets.token_urlsafe(32)}"
        self._append(
            token=token_id,
            user=user_id,
            roles=sorted(roles),
            sha256=_digest(token),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            expires=None if expires is None else expires.isoformat(),
        )
        return token

    def all(self) -> list[Token]:
        """Return all tokens, oldest first, those that are expired and revoked among them.

        Raises:
            InvalidAccess: the file cannot be used.
        """
        self._read_if_changed()
        return list(self._tokens.values())

    def revoke(self, token_id: str) -> Token:
        """Refuse a token from now on. Idempotent. A server that runs knows it at the next request.

        Args:
            token_id: the id of the token, as `all` has it.

        Returns:
            The token.

        Raises:
            InvalidAccess: there is no such token, or the file cannot be used.
        """
        self._read_if_changed()
        found = self._tokens.get(token_id)
        if found is None:
            raise InvalidAccess(f"There is no token {token_id!r} in {self._path}. List them: holdfast tokens list")
        if found.revoked is None:
            self._append(revoked=token_id, at=datetime.now(UTC).isoformat(timespec="seconds"))
        return found

    def _append(self, **line: Any) -> None:
        try:
            file = os.open(self._path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
            try:
                os.write(file, (json.dumps(line) + "\n").encode())
            finally:
                os.close(file)
        except OSError as error:
            raise InvalidAccess(f"Cannot write the file of tokens {self._path}: {error.strerror}.") from None

    def _read_if_changed(self) -> None:
        try:
            found = self._path.stat()
            version = (found.st_mtime_ns, found.st_size, found.st_ino)
            if version == self._version:
                return
            if os.name == "posix" and found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise InvalidAccess(
                    f"{self._path} can be read by others. Needed: a file of tokens that its owner alone can read. "
                    f"Run: chmod 600 {self._path}"
                )
            text = self._path.read_text("utf-8")
        except FileNotFoundError:
            raise InvalidAccess(
                f"There is no file of tokens {self._path}. Make it with a first token: holdfast tokens add --user NAME"
            ) from None
        except OSError as error:
            raise InvalidAccess(f"Cannot read the file of tokens {self._path}: {error.strerror}.") from None
        self._tokens = _parse(text, self._path)
        self._version = version


def _digest(token: str) -> str:
    # A token is 32 random bytes: no list of likely ones exists, and a slow hash would protect nothing.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _parse(text: str, path: Path) -> dict[str, Token]:
    tokens: dict[str, Token] = {}
    for number, line in enumerate(text.splitlines(), 1):
        try:
            found = json.loads(line)
            if revoked := found.get("revoked"):
                tokens[revoked] = _revoked(tokens[revoked], datetime.fromisoformat(found["at"]))
            else:
                tokens[found["token"]] = _token(found)
        except (ValueError, LookupError, TypeError, AttributeError):
            raise InvalidAccess(
                f"Line {number} of {path} is none of a file of tokens. Needed: lines that `holdfast tokens add` wrote."
            ) from None
    return tokens


def _token(line: dict[str, Any]) -> Token:
    return Token(
        id=str(line["token"]),
        user_id=str(line["user"]),
        roles=frozenset(map(Role, line["roles"])),
        sha256=str(line["sha256"]),
        created=datetime.fromisoformat(line["created"]),
        expires=None if line["expires"] is None else datetime.fromisoformat(line["expires"]),
    )


def _revoked(token: Token, at: datetime) -> Token:
    return Token(token.id, token.user_id, token.roles, token.sha256, token.created, token.expires, at)
