"""Database URLs: where conversations are stored.

`memory://`, `sqlite:///relative.db`, `sqlite:////absolute.db`, `postgresql://…` (or `postgres://…`). A PostgreSQL URL
is passed to libpq unchanged, but without these options of Holdfast, so every option of libpq works:

- `timeout`: the seconds to wait for a server that is out of reach, or for a free connection. The default is 30.
- `schema`: the schema of the tables, made if it is not there. Without it, the `search_path` of the role decides.
- `prepare_threshold`: after how many uses a statement is prepared on the server, or `none`. By default none is behind
  a pooler, and each after a few uses on a direct connection.
  Prepared statements belong to a session, and a pooler in transaction mode gives each transaction another one.

With several hosts, libpq tries one after the other, and takes the first that is a primary server, unless the URL has an
option `target_session_attrs`.

Its password is never shown. `types=strict` and `compact_after=N` go with every URL.

`redis://`, `valkey://`, `mongodb://`, `dynamodb://` and `mysql://` name databases of other checkpointers, which
`holdfast.savers.open_saver` opens.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol
from urllib.parse import parse_qsl, quote, unquote

from holdfast.checkpoints.errors import InvalidURL

DEFAULT_URL = "sqlite:///holdfast.db"

POOL_SIZE: Final = 10
"""The largest number of connections to PostgreSQL, unless the caller says otherwise."""

_FORMS = "memory://, sqlite:///relative.db, sqlite:////absolute/path.db or postgresql://user:password@host/database"
_TIMEOUT = "timeout is a number of seconds, as in sqlite:///holdfast.db?timeout=10."
_LONGEST_SCHEMA = 63  # bytes; PostgreSQL cuts off the rest of a longer name

# Holdfast's own options of a PostgreSQL URL, which libpq would refuse.
_OWN_OPTION = re.compile(r"(?<=[?&])(timeout|types|compact_after|schema|prepare_threshold)=([^&]*)&?")
_SEVERAL_HOSTS = re.compile(r"(?i)[?&]host(addr)?=[^&]*(,|%2c)")
_SECRET_OPTION = re.compile(r"(?i)([?&](?:\w*password|passwd|oauth_client_secret|authMechanismProperties)=)([^&]+)")


class HasSecrets(Protocol):
    """A location that says what no error may show. Every class in `Location` is one."""

    @property
    def secrets(self) -> frozenset[str]:
        """The passwords and keys of the URL, in every form in which an error may show them."""
        ...


@dataclass(frozen=True)
class MemoryURL:
    """A database in memory, which exists while a checkpointer has it open."""

    strict: bool = False
    """Load only types that are named; see `open_checkpointer`."""
    compact_after: int | None = field(default=None, repr=False)
    """See `open_checkpointer`."""

    def __str__(self) -> str:
        return "memory://"

    @property
    def secrets(self) -> frozenset[str]:
        return frozenset()


@dataclass(frozen=True)
class SqliteURL:
    """A database in a SQLite file."""

    path: Path
    synchronous: str = "FULL"
    """`FULL`: a commit returns once it is on the disk. `NORMAL`: a power cut may undo the last commits."""
    timeout: float = 30.0
    """Seconds to wait while another process writes."""
    strict: bool = False
    """Load only types that are named; see `open_checkpointer`."""
    compact_after: int | None = field(default=None, repr=False)
    """See `open_checkpointer`."""

    def __str__(self) -> str:
        return f"sqlite:///{quote(str(self.path))}"

    @property
    def secrets(self) -> frozenset[str]:
        return frozenset()


@dataclass(frozen=True)
class PostgresURL:
    """A database on a PostgreSQL server."""

    dsn: str = field(repr=False)
    shown: str
    written: frozenset[str] = field(default=frozenset(), repr=False)
    """The secrets as the URL has them."""
    timeout: float = 30.0
    """Seconds to wait for a server that is out of reach, or for a connection while all are in use."""
    strict: bool = False
    """Load only types that are named; see `open_checkpointer`."""
    compact_after: int | None = field(default=None, repr=False)
    """See `open_checkpointer`."""
    schema: str | None = None
    """The schema of the tables; `None`: the one that the role's `search_path` begins with."""
    prepare_threshold: int | Literal["auto"] | None = field(default="auto", repr=False)
    """After how many uses a statement is prepared on the server; `None`: never, which every pooler can carry; `"auto"`:
    after a few, if there is no pooler."""

    def __str__(self) -> str:
        if self.schema is None:
            return self.shown
        return f"{self.shown}{'&' if '?' in self.shown else '?'}schema={quote(self.schema)}"

    @property
    def has_several_hosts(self) -> bool:
        """Whether the URL names several servers, which libpq tries in their order."""
        place = self.dsn.partition("://")[2].rpartition("@")[2]
        return "," in re.split("[/?]", place, maxsplit=1)[0] or _SEVERAL_HOSTS.search(self.dsn) is not None

    @property
    def secrets(self) -> frozenset[str]:
        return self.written | {unquote(secret) for secret in self.written}

    def hide(self, text: str) -> str:
        """Return a text, such as an error of libpq, without any part of the password."""
        if any(set(secret) & set("@/?#") for secret in self.written):
            # libpq may split such a password differently, and then quotes the rest of it as a host.
            return (
                "(libpq's words are left out, since the password holds @, /, ? or #; write these as %40, %2F, %3F, %23)"
            )
        for secret in sorted(self.secrets, key=len, reverse=True):
            # Short passwords are parts of many words.
            part = re.escape(secret) if len(secret) > 3 else rf"(?<!\w){re.escape(secret)}(?!\w)"
            text = re.sub(part, "***", text)
        return text.strip()


Location = MemoryURL | SqliteURL | PostgresURL


@dataclass(frozen=True)
class OtherURL:
    """A database of another checkpointer of LangGraph's ecosystem."""

    kind: str
    """The extra of Holdfast that installs the checkpointer: `redis`, `valkey`, `mongodb`, `dynamodb` or `mysql`."""
    url: str = field(repr=False)

    def __str__(self) -> str:
        scheme, _, rest = self.url.partition("://")
        login, at, place = rest.rpartition("@")
        user, colon, _ = login.partition(":")
        return f"{scheme}://" + _SECRET_OPTION.sub(r"\1***", f"{user}:***@{place}" if colon else f"{login}{at}{place}")

    @property
    def secrets(self) -> frozenset[str]:
        rest = self.url.partition("://")[2]
        password = rest.rpartition("@")[0].partition(":")[2]
        written = {match[2] for match in _SECRET_OPTION.finditer(rest)} | ({password} if password else set())
        return frozenset(written | {unquote(secret) for secret in written})


OTHER_KINDS: Final = {
    "redis": "redis",
    "rediss": "redis",
    "valkey": "valkey",
    "valkeys": "valkey",
    "mongodb": "mongodb",
    "mongodb+srv": "mongodb",
    "dynamodb": "dynamodb",
    "mysql": "mysql",
}
"""The kind of another checkpointer's database, by the scheme of its URL."""


def parse(url: str | None = None) -> Location:
    """Return the database that a URL names. `None` is the default, a file `holdfast.db` in the working directory.

    Raises:
        InvalidURL: the scheme is unknown, or is that of another checkpointer, or a part is missing, or an option is
            unknown.
    """
    location = parse_any(url)
    if isinstance(location, OtherURL):
        raise InvalidURL(
            f"{location} is a database of another checkpointer, without the ledger of @once tools, list of threads, "
            f"transcripts, search and the list of requests. Needed: one of Holdfast's own, {_FORMS}. Copy the "
            f"conversations: holdfast db copy {location} sqlite:///chat.db. Without these, `holdfast chat` and "
            "holdfast.savers.open_saver(url) run an agent over it."
        )
    return location


def parse_any(url: str | None = None) -> Location | OtherURL:
    """Do as `parse`, and return the database of another checkpointer too.

    Raises:
        InvalidURL: as `parse`, but for another checkpointer's scheme.
    """
    if not isinstance(url, str | None):
        raise InvalidURL(f"A database URL is text, such as {DEFAULT_URL!r}; found {type(url).__name__}.")
    url = DEFAULT_URL if url is None else url.strip()
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise InvalidURL(f"No database URL: found {_shorten(url)!r}, needed one like {_FORMS}.")
    match scheme.lower():
        case "memory":
            return _memory(rest)
        case "sqlite":
            return _sqlite(rest)
        case "postgresql" | "postgres":
            return _postgres(url)
        case other if other in OTHER_KINDS:
            return OtherURL(OTHER_KINDS[other], url)
        case other:
            raise InvalidURL(
                f"Unknown kind of database {other!r}; known are {_FORMS}; and of other checkpointers "
                f"{', '.join(f'{scheme}://' for scheme in OTHER_KINDS)}."
            )


def _memory(rest: str) -> MemoryURL:
    before, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    strict, compact_after = _is_strict(options.pop("types", None)), _count(options.pop("compact_after", None))
    if before or options:
        raise InvalidURL(f"memory:// takes nothing after it but ?types=strict and ?compact_after=N; found {rest!r}.")
    return MemoryURL(strict, compact_after)


def _sqlite(rest: str) -> SqliteURL:
    path, _, query = rest.partition("?")
    if not path.startswith("/"):
        raise InvalidURL(
            f"A SQLite URL has three slashes before a relative path and four before an absolute one; found "
            f"sqlite://{path}. Did you mean sqlite:///{path or 'holdfast.db'}? (For no file at all: memory://)"
        )
    name = unquote(path[1:])
    if not name or name == ":memory:":
        raise InvalidURL("A SQLite URL needs a path, as in sqlite:///holdfast.db. For no file at all use memory://.")
    if "\0" in name:
        raise InvalidURL("A SQLite path cannot hold a NUL character.")
    options = dict(parse_qsl(query, keep_blank_values=True))
    synchronous = options.pop("synchronous", "FULL").upper()
    if synchronous not in {"FULL", "NORMAL"}:
        raise InvalidURL(f"synchronous is full or normal; found {synchronous!r}.")
    timeout = _seconds(options.pop("timeout", "30"))
    strict, compact_after = _is_strict(options.pop("types", None)), _count(options.pop("compact_after", None))
    if options:
        raise InvalidURL(
            f"Unknown SQLite option {min(options)!r}; known are compact_after, synchronous, timeout and types."
        )
    return SqliteURL(Path(name), synchronous, timeout, strict, compact_after)


def _is_strict(types: str | None) -> bool:
    if types not in {None, "strict"}:
        raise InvalidURL(f"types is strict or left out, as in sqlite:///holdfast.db?types=strict; found {types!r}.")
    return types is not None


def _count(text: str | None) -> int | None:
    if text is not None and not (text.isascii() and text.isdigit() and int(text) > 0):
        raise InvalidURL(
            "compact_after is a number of checkpoints from 1, as in sqlite:///holdfast.db?compact_after=50; found "
            f"{text[:80]!r}."
        )
    return None if text is None else int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError as error:
        raise InvalidURL(_TIMEOUT) from error
    if not 0 <= seconds < math.inf:
        raise InvalidURL(_TIMEOUT)
    return seconds


def _postgres(url: str) -> PostgresURL:
    """Parse a PostgreSQL URL. Rather hide too much than too little: this finds more passwords in it than libpq does."""
    given = {match[1]: match[2] for match in _OWN_OPTION.finditer(url)}
    url = _OWN_OPTION.sub("", url).rstrip("?&") if given else url
    scheme, _, rest = url.partition("://")
    login, at, place = rest.rpartition("@")
    user, colon, password = login.partition(":")
    shown = f"{user}:***@{place}" if colon else f"{login}{at}{place}"
    secrets = [match[2] for match in _SECRET_OPTION.finditer(rest)] + ([password] if password else [])
    return PostgresURL(
        dsn=url,
        shown=f"{scheme}://" + _SECRET_OPTION.sub(r"\1***", shown),
        written=frozenset(secrets),
        timeout=_seconds(given.get("timeout", "30")),
        strict=_is_strict(given.get("types")),
        compact_after=_count(given.get("compact_after")),
        schema=_schema(unquote(given["schema"])) if "schema" in given else None,
        prepare_threshold=_threshold(given["prepare_threshold"]) if "prepare_threshold" in given else "auto",
    )


def _schema(name: str) -> str:
    if not name or "\0" in name or len(name.encode()) > _LONGEST_SCHEMA:
        raise InvalidURL(
            f"schema is the name of one schema, of 1 to {_LONGEST_SCHEMA} bytes, as in "
            f"postgresql://host/database?schema=chat; found {name[:80]!r}."
        )
    return name


def _threshold(text: str) -> int | None:
    if text.lower() == "none":
        return None
    if not (text.isascii() and text.isdigit()):
        raise InvalidURL(
            "prepare_threshold is none, or the number of uses after which a statement is prepared on the server, as in "
            f"postgresql://host/database?prepare_threshold=5; found {text[:80]!r}."
        )
    return int(text)


def _shorten(url: str) -> str:
    """Return enough of a URL to recognise it, and nothing after a colon, because a password may follow it."""
    shown = url.partition(":")[0][:12]
    return shown if shown == url else shown[:8] + "…"
