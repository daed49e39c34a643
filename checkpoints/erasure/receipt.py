"""The receipt of an erasure, as JSON and as text, and its check. No I/O.

It has ids, counts and times, and no word of what was erased. Its digest is the SHA-256 of the canonical JSON of
everything else in it (`json.dumps(value, sort_keys=True, separators=(",", ":"))`). As the digest of an export, it shows
a change, and is no proof against a forger; the database keeps it too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self

from holdfast.checkpoints.errors import InvalidExport

FORMAT: Final = "holdfast-erasure"
VERSION: Final = 1

UNREACHABLE: Final = (
    "Exports, archives and copies in other databases, and long-term memory in another store.",
    "What providers of models have kept, and what tools have done or sent.",
    "Logs of the application and the server, and traces such as LangSmith's.",
    "The memory of processes: a run that is going on has what it has read, and cannot save it.",
)
"""Where copies may be that no database reaches."""

_TIMES: Final = ("began_at", "ended_at")
_HEADING: Final = "# Receipt of an erasure"
_MOST_THREADS: Final = 50  # listed in the text; the JSON has all


@dataclass(frozen=True, slots=True)
class Erased:
    """The receipt of an erasure: what was erased, by whom and why, what stays, and what could not be reached."""

    erasure_id: str
    thread_id: str | None
    """The thread, or that whose copies were erased with it; `None`: a user was erased."""
    user_id: str | None
    """The user; `None`: a thread was erased."""
    began_at: datetime
    ended_at: datetime
    """By the clock of the database."""
    by: str | None
    reason: str | None
    database: str
    """Its URL, without a password."""
    holdfast: str
    """The version of Holdfast."""
    threads: list[str] = field(default_factory=list)
    """The threads that were erased."""
    rows: dict[str, int] = field(default_factory=dict)
    """The number of rows that were erased, by table. `store` is long-term memory."""
    kept: dict[str, int] = field(default_factory=dict)
    """The number of rows of these threads that stay, by table: the tombstones, `holdfast_threads`, which have the id
    and times; and of calls that copies share, `holdfast_effects`, that they have run, without what came of it."""
    copies: list[str] = field(default_factory=list)
    """Threads that are copies of erased ones, or that these were copied from. They stay as they are."""
    redacted: dict[str, int] = field(default_factory=dict)
    """What was redacted in threads of others: messages of the user, and by column the rows that named the user."""
    elsewhere: dict[str, int] = field(default_factory=dict)
    """What is left in threads of others: `messages` that the user said there, and by column rows that name the user."""
    said_in: list[str] = field(default_factory=list)
    """Threads of others in which the user has said something that is left."""
    failed: dict[str, str] = field(default_factory=dict)
    """What could not be erased or read, and why, by thread."""
    is_vacuumed: bool = False
    """Whether the files of the database were rewritten, and have no erased bytes any more."""
    remains: list[str] = field(default_factory=list)
    """What the files of the database may still have of the erased bytes, and why."""
    shreds_backups: bool = False
    """Whether older backups of the database cannot be read any more as far as these threads are encrypted in them:
    their keys were in another database, and are deleted there."""
    unreachable: list[str] = field(default_factory=list)
    """Where copies may be that this database cannot reach."""
    digest: str = ""
    """`sha256:` and the digest of everything else in the receipt."""

    @property
    def is_complete(self) -> bool:
        """Return whether every row was erased that was to be."""
        return not self.failed

    @property
    def is_intact(self) -> bool:
        """Return whether the receipt is as it was made."""
        return self.digest == digest_of(self.facts())

    def facts(self) -> dict[str, Any]:
        """Return the receipt as plain JSON values, in the order of its fields."""
        found = {"format": FORMAT, "version": VERSION, **asdict(self)}
        return {**found, **{name: getattr(self, name).isoformat() for name in _TIMES}}

    def json(self) -> str:
        """Return the receipt as JSON."""
        return json.dumps(self.facts(), indent=2) + "\n"

    def text(self) -> str:
        """Return the receipt as text for people. Its last line is the receipt as JSON."""
        return "\n".join([*_lines(self), "", json.dumps(self.facts())]) + "\n"

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """Return the receipt of its facts.

        Raises:
            ValueError: these are not the facts of a receipt.
        """
        try:
            given = {one.name: facts[one.name] for one in fields(cls)}
            return cls(**{**given, **{name: datetime.fromisoformat(facts[name]) for name in _TIMES}})
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(f"These are not the facts of a receipt: {error!r}.") from None


def digest_of(facts: Mapping[str, Any]) -> str:
    """Return the digest of a receipt's facts."""
    content = {name: value for name, value in facts.items() if name != "digest"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return f"sha256:{sha256(canonical.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class ReceiptCheck:
    """What is known of the file of a receipt."""

    receipt: Erased
    is_intact: bool
    """Whether the file is as it was written."""


def read_receipt(path: str | Path) -> ReceiptCheck:
    """Read and check a file with a receipt, as JSON or as text.

    Raises:
        InvalidExport: it is no receipt of this version.
        OSError: the file cannot be read.
    """
    written = Path(path).read_text("utf-8")
    is_text = written.startswith(_HEADING)
    try:
        facts = json.loads(written.rstrip("\n").rpartition("\n")[2] if is_text else written)
        receipt = Erased.of(facts)
    except (ValueError, TypeError):
        raise InvalidExport(path, f"it is no receipt of an erasure of version {VERSION}") from None
    as_written = receipt.text() if is_text else receipt.json()
    return ReceiptCheck(receipt, receipt.is_intact and written == as_written)


def is_receipt(path: str | Path) -> bool:
    """Return whether a file begins as a receipt does."""
    with Path(path).open("rb") as file:
        begin = file.read(200).decode(errors="replace")
    return begin.startswith(_HEADING) or (begin.startswith("{") and f'"format": "{FORMAT}"' in begin)


def _lines(receipt: Erased) -> Iterator[str]:
    what = f"User {receipt.user_id}" if receipt.user_id is not None else f"Thread {receipt.thread_id}"
    yield _HEADING
    yield ""
    yield f"{what} was erased from {receipt.database}."
    yield f"Began {receipt.began_at:%Y-%m-%d %H:%M:%S} UTC, ended {receipt.ended_at:%Y-%m-%d %H:%M:%S} UTC."
    yield f"By: {receipt.by or 'not named'}. Reason: {receipt.reason or 'not given'}."
    yield f"Erasure {receipt.erasure_id}, Holdfast {receipt.holdfast}."
    yield from _section("Erased rows, by table", _counts(receipt.rows))
    yield from _section("Erased threads", _some(receipt.threads))
    yield from _section("Redacted in threads of others", _counts(receipt.redacted))
    yield from _section("Kept of the erased threads, without a word that was said", _counts(receipt.kept))
    yield from _section("Left in threads of others", _counts(receipt.elsewhere))
    yield from _section("Threads of others in which the user has spoken", _some(receipt.said_in))
    yield from _section("Copies and origins that stay", _some(receipt.copies))
    yield from _section("Not erased", [f"{name}: {reason}" for name, reason in receipt.failed.items()])
    rewritten = ["The files of the database were rewritten, and have none of the erased bytes."]
    yield from _section("Bytes", rewritten if receipt.is_vacuumed else receipt.remains)
    yield from _section("Not reached", receipt.unreachable)
    yield ""
    yield f"Digest: {receipt.digest}"


def _section(heading: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield from ("", f"## {heading}", "", *(f"- {line}" for line in lines))


def _counts(numbers: Mapping[str, int]) -> list[str]:
    return [f"{name}: {number:,}" for name, number in sorted(numbers.items())]


def _some(names: list[str]) -> list[str]:
    shown = [" ".join(name.split()) for name in names[:_MOST_THREADS]]
    return [*shown, f"and {len(names) - _MOST_THREADS:,} more"] if len(names) > _MOST_THREADS else shown
