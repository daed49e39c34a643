"""A LangGraph checkpointer that keeps every message once, as a row.

    from holdfast.checkpoints import open_checkpointer

    with open_checkpointer("sqlite:///chat.db") as checkpointer:
        graph = builder.compile(checkpointer=checkpointer)

The same object serves `invoke` and `ainvoke`.

Other packages import the names below, and from these modules; import-linter checks it:

- `errors`: all errors. `errors.logged`: what a log tells of one. `encryption.masters`: master keys. `urls`: database
  URLs. `moments`: times as callers give them. `extras`: what to install. `core.arguments`: the check of a caller's
  arguments.
- `convert`, `deploy`, `maintenance`, `transfer` and `transfer.archive`: work on a database as a whole.
- `store.items`: long-term memory as rows of the database. `store.service`: `open_store`.
- `transcript.export`: transcripts as text. `search.query`: parsing of search queries.
- `threads.histories`: conversations from elsewhere.
- `redaction`: the names of patterns. `erasure`: receipts, and their check.
- `runtime`, `effects`, `interrupts`: what an agent uses within a run. `interrupts.forms`: the forms of requests.
- `langgraph_internals`: LangGraph's private names, in one place for all packages.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from langgraph.checkpoint.serde.base import SerializerProtocol

from holdfast.checkpoints import urls
from holdfast.checkpoints.backends.by_url import backend_of
from holdfast.checkpoints.core.arguments import checked
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.effects import Effects
from holdfast.checkpoints.effects.states import Effect, Ended, InDoubt, Started, Why
from holdfast.checkpoints.encryption.masters import Keys, KeyService
from holdfast.checkpoints.encryption.opening import encryption_for
from holdfast.checkpoints.erasure import Erased, ReceiptCheck
from holdfast.checkpoints.interrupts import Answered, Interrupts, Waiting
from holdfast.checkpoints.langgraph_internals import STRICT_MSGPACK_ENABLED, types_of_serializer
from holdfast.checkpoints.lifecycle import Head, HoldfastDatabase
from holdfast.checkpoints.redaction.service import Redacted
from holdfast.checkpoints.retention import RetentionPolicy, RetentionRule, Swept
from holdfast.checkpoints.runs import Claimed, DeadTurn, EndedRun, NewRun, Run, Runs
from holdfast.checkpoints.saver import HoldfastSaver
from holdfast.checkpoints.search.service import Hit, Search
from holdfast.checkpoints.serde.types import TypeName
from holdfast.checkpoints.threads import Begun, Damage, Page, Salvaged, Status, Thread, Threads
from holdfast.checkpoints.threads.leases import Lease
from holdfast.checkpoints.transcript import Transcript
from holdfast.checkpoints.transcript.entries import (
    ApprovalEntry,
    CalledTool,
    Entry,
    EventEntry,
    MessageEntry,
    Tokens,
)

__all__ = [
    "Answered",
    "ApprovalEntry",
    "Begun",
    "CalledTool",
    "Claimed",
    "Damage",
    "Database",
    "DeadTurn",
    "Effect",
    "Effects",
    "Ended",
    "EndedRun",
    "Entry",
    "Erased",
    "EventEntry",
    "Head",
    "Hit",
    "HoldfastDatabase",
    "HoldfastSaver",
    "InDoubt",
    "Interrupts",
    "KeyService",
    "Keys",
    "Lease",
    "MessageEntry",
    "NewRun",
    "Page",
    "ReceiptCheck",
    "Redacted",
    "RetentionPolicy",
    "RetentionRule",
    "Run",
    "Runs",
    "Salvaged",
    "Search",
    "Started",
    "Status",
    "Swept",
    "Thread",
    "Threads",
    "Tokens",
    "Transcript",
    "Waiting",
    "Why",
    "open_checkpointer",
    "open_database",
]


@checked
def open_checkpointer(  # noqa: PLR0913 - each is a choice of the caller, by name
    url: str | None = None,
    *,
    allow: Collection[type | TypeName] = (),
    strict: bool | None = None,
    pool_size: int = urls.POOL_SIZE,
    serde: SerializerProtocol | None = None,
    compact_after: int | None = None,
    redact: Sequence[str | re.Pattern[str]] = (),
    keys: Keys | None = None,
    keys_database: str | None = None,
) -> HoldfastSaver:
    """Return a checkpointer for a database.

    `with` or `async with` opens and closes it. Without them, the first use opens it, and it is closed when the
    interpreter exits.

    Args:
        url: `memory://`, `sqlite:///relative.db`, `sqlite:////absolute.db`, or `postgresql://…` with any option of
            libpq and `timeout`, `schema` and `prepare_threshold`; see `urls`. `None` is `sqlite:///holdfast.db`.
        allow: more types that may be loaded, as classes or as (module, qualified name); the latter may be imported.
        strict: load no other types than messages, standard types, those that a graph names in its state, and those of
            `allow`. Values of other types become what they consist of. Otherwise, a value also becomes any type of data
            that this program has imported. The default is what the URL says (`?types=strict`), and else
            `LANGGRAPH_STRICT_MSGPACK`.
        pool_size: the largest number of connections of a PostgreSQL checkpointer.
        serde: for code that gives it to a stock saver. Holdfast stores values in a form of its own, which takes all
            that `JsonPlusSerializer` takes. So that serializer is accepted, and a list of types that it is limited to
            counts as `allow` with `strict`. Any other serializer is refused, because it would not be used.
        compact_after: prune each thread as it goes on, to this number of newest checkpoints and what undo, rollback and
            open requests need, whenever it has gone as many steps further. It is done in the background, and the
            transcript stays. The default is what the URL says (`?compact_after=50`), and else to keep all checkpoints.
        redact: redact what these patterns find before anything is stored, as `HoldfastSaver.redact` does afterwards:
            `card`, `email`, `iban`, `phone`, or expressions, `re.compile(…)`. What the run that goes on has in its
            memory stays as it is.
        keys: the master keys of an encrypted database, or of one that is new and is to be encrypted: `id:base64`, or a
            list of these, newest first, or a `KeyService`.
        keys_database: the URL of another database for the data keys of the threads, and of this database alone. Then a
            deleted thread cannot be read in older backups of this database either.

    Raises:
        InvalidURL: the URL has another form.
        InvalidKeys: the keys cannot be used. Whether they are those of the database is seen when it is opened.
        DriverMissing: the driver of the database is not installed.
        ValueError: `pool_size` or `compact_after` is below 1, or `serde` cannot be honoured.
    """
    if pool_size < 1:
        raise ValueError(f"pool_size must be at least 1, the largest number of connections; found {pool_size}.")
    if (limited_to := _types_of(serde)) is not None:
        allow, strict = [*allow, *limited_to], True if strict is None else strict
    place = urls.parse(url)
    if strict is None:
        strict = place.strict or STRICT_MSGPACK_ENABLED
    if compact_after is None:
        compact_after = place.compact_after
    backend, encryption = backend_of(place, pool_size), encryption_for(place, keys, keys_database=keys_database)
    return HoldfastSaver(
        backend, allow=allow, strict=strict, compact_after=compact_after, redact=redact, encryption=encryption
    )


def open_database(
    url: str | None = None,
    *,
    allow: Collection[type | TypeName] = (),
    redact: Sequence[str | re.Pattern[str]] = (),
    keys: Keys | None = None,
    keys_database: str | None = None,
    takes_plain: bool = False,
) -> HoldfastDatabase:
    """Return a database for a program that reads it or looks after it, and runs no graph.

    It has everything of `open_checkpointer(url)` but the checkpointer, and does not import LangGraph's graphs, which
    takes about a second.

    Args:
        url: as for `open_checkpointer`.
        allow, keys, keys_database: as for `open_checkpointer`.
        redact: as for `open_checkpointer`: the program may rename threads and record answers.
        takes_plain: whether to open a database that is not encrypted although there are keys, and to leave it so.

    Raises:
        InvalidURL, DriverMissing, InvalidKeys: as `open_checkpointer`.
    """
    place = urls.parse(url)
    encryption = encryption_for(place, keys, keys_database=keys_database, takes_plain=takes_plain)
    strict = place.strict or STRICT_MSGPACK_ENABLED
    return HoldfastDatabase(backend_of(place), allow=allow, strict=strict, redact=redact, encryption=encryption)


def _types_of(serde: SerializerProtocol | None) -> Collection[type | TypeName] | None:
    """Return the types that a serializer is limited to; `None` if it takes all.

    Raises:
        ValueError: what the serializer does would be lost.
    """
    try:
        return None if serde is None else types_of_serializer(serde)
    except ValueError as error:
        raise ValueError(
            f"This serde cannot be used: {error}. Holdfast stores messages as rows and values as msgpack, without "
            "pickles, and encrypts them by itself. Needed: no serde, or JsonPlusSerializer() without "
            "pickle_fallback, and keys= for encryption. Keep values that only a pickle can hold outside of the state."
        ) from None
