"""The states of an effect, and what an entry in the ledger means for a caller. Pure, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.errors import row_explained
from holdfast.checkpoints.moments import utc_datetime

Why: TypeAlias = Literal["owner", "timeout", "error", "cancelled", "arguments", "elsewhere"]
"""The reason why a person has to decide:

- `owner`: the process that ran the effect is gone, or has not renewed its claim for too long;
- `timeout`: the tool did not return in time;
- `error`: the tool raised an error that does not tell whether it took effect;
- `cancelled`: the run was cancelled while the tool was running;
- `arguments`: the effect has run before, with other arguments;
- `elsewhere`: the effect has run before, in another copy of the conversation.
"""

ENDED: Final = ("done", "failed", "skipped")


@dataclass(frozen=True)
class Effect:
    """A tool call that changes the world, as a caller wants to run it."""

    thread_id: str
    key: str
    """The call and its message, as `effect_key` names them."""
    tool: str
    args_digest: bytes
    ns: str
    checkpoint_id: str
    """With `ns`: the checkpoint that holds the call. It must be committed."""
    interrupt_id: str | None = None
    """The request for approval; `None` if the call needs none."""
    answer_digest: bytes | None = None
    """The answer under which the effect may run. It must be on record."""
    run_id: str | None = None
    root_id: str | None = None
    """The root checkpoint at which the run is. If the thread has gone on from there with a new message, the effect may
    not begin, since the call was closed as not run. `None` for a run that was sent to an older checkpoint on purpose:
    it is another branch, in which nothing was closed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An effect in the ledger. Times are in UTC, by the database's clock."""

    lineage: str
    key: str
    thread_id: str
    """The thread in which the effect ran, or runs."""
    tool: str
    args_digest: str
    """The digest of the arguments, in hexadecimal."""
    state: str
    attempt: int
    owner: str
    alive_until: datetime
    """The time until which the owner's claim holds, if it is not renewed."""
    expired: bool
    """True if the owner should have renewed its claim by now."""
    why: Why | None
    interrupt_id: str | None
    started_at: datetime


def entry_of_row(row: Row, args_digest: bytes) -> Entry:
    """Make an entry from a row of the statements `effect` and `effects_in_doubt`, and the digest of the arguments."""
    with row_explained(str(row.thread_id), f"the effect {row.effect_key} in its ledger"):
        return Entry(
            lineage=row.lineage,
            key=row.effect_key,
            thread_id=row.thread_id,
            tool=row.tool,
            args_digest=args_digest.hex(),
            state=row.state,
            attempt=row.attempt,
            owner=row.owner,
            alive_until=utc_datetime(row.alive_until),
            expired=bool(row.is_orphaned),
            why=row.why,
            interrupt_id=row.interrupt_id,
            started_at=utc_datetime(row.started_at),
        )


@dataclass(frozen=True)
class Started:
    """The claim on an effect: its holder runs the effect and records how it ended."""

    lineage: str
    key: str
    attempt: int
    """Grows when a person lets the effect run again. The ledger takes an outcome from the last attempt only."""
    owner: str
    """Identifies this claim among those of all processes."""
    thread_id: str
    """The thread in which it runs."""


@dataclass(frozen=True)
class Running:
    """An effect that another execution is running: wait for its outcome."""

    entry: Entry


@dataclass(frozen=True)
class Ended:
    """An effect with an outcome, by running or by a person's decision: it must not run."""

    entry: Entry
    value: Any = None


@dataclass(frozen=True)
class InDoubt:
    """An effect that a person has to decide about: its outcome is unknown, or may not be the one that is meant."""

    entry: Entry
    why: Why
    value: Any = None
    """The outcome, if the effect ended with other arguments or elsewhere."""


def classify(entry: Entry, effect: Effect) -> Running | Ended | InDoubt:
    """Tell what an entry in the ledger means for a caller that wants to run an effect."""
    if entry.state == "started":
        return Running(entry)
    if entry.state == "in_doubt":
        return InDoubt(entry, entry.why or "owner")
    if entry.thread_id != effect.thread_id:
        return InDoubt(entry, "elsewhere")
    if entry.args_digest != effect.args_digest.hex():
        return InDoubt(entry, "arguments")
    return Ended(entry)
