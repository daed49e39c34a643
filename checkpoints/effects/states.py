"""What a row of the ledger means for somebody who wants to run its effect. Pure, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, TypeAlias

Why: TypeAlias = Literal["owner", "timeout", "error", "cancelled", "arguments", "elsewhere"]
"""Why somebody has to decide:

- `owner`: the process that ran it is gone, or has said nothing for too long;
- `timeout`: the tool did not answer in time;
- `error`: the tool raised something that does not say whether it took effect;
- `cancelled`: the run was cancelled while the tool was running;
- `arguments`: it has run before, with other arguments;
- `elsewhere`: it has run before, in another copy of the conversation.
"""

ENDED: Final = ("done", "failed", "skipped")


@dataclass(frozen=True)
class Effect:
    """A tool call that changes the world, as somebody wants to run it."""

    thread_id: str
    key: str
    """Which call of which message; see `effect_key`."""
    tool: str
    args_digest: bytes
    ns: str
    checkpoint_id: str
    """With `ns`: the checkpoint that has the call. It must be committed."""
    interrupt_id: str | None = None
    """The question that was asked about it; `None` if it needs no approval."""
    answer_digest: bytes | None = None
    """The answer under which it is to run, which must be on record."""
    run_id: str | None = None


class Entry(NamedTuple):
    """A row of the ledger."""

    lineage: str
    key: str
    thread_id: str
    """Where it ran, or runs."""
    tool: str
    args_digest: bytes
    state: str
    attempt: int
    owner: str
    alive_until: float
    expired: bool
    """Whether the owner should have said by now that it lives."""
    why: Why | None
    interrupt_id: str | None
    started_at: float
    result_type: str | None
    result: bytes | None


@dataclass(frozen=True)
class Started:
    """It is on record as started, and whoever holds this runs it, and says how it ended."""

    lineage: str
    key: str
    attempt: int
    """Grows when a person lets it run again: the ledger takes an outcome only from the last."""
    owner: str
    """Who runs it: which claim of which process."""


@dataclass(frozen=True)
class Running:
    """Somebody runs it: wait for the outcome."""

    entry: Entry


@dataclass(frozen=True)
class Ended:
    """It has run, or was decided about: this is what came of it, and it is not run."""

    entry: Entry
    value: Any = None


@dataclass(frozen=True)
class InDoubt:
    """Nobody knows, or it is not clear whether what happened is what is meant: a person has to decide."""

    entry: Entry
    why: Why
    value: Any = None
    """What came of it, if it ended with other arguments or elsewhere."""


def classify(entry: Entry, effect: Effect) -> Running | Ended | InDoubt:
    """What the ledger says to somebody who wants to run an effect that is on record already."""
    if entry.state == "started":
        return Running(entry)
    if entry.state == "in_doubt":
        return InDoubt(entry, entry.why or "owner")
    if entry.thread_id != effect.thread_id:
        return InDoubt(entry, "elsewhere")
    if bytes(entry.args_digest) != effect.args_digest:
        return InDoubt(entry, "arguments")
    return Ended(entry)
