"""People's decisions, as an answer records them and as the agent notes them on a tool's result. Pure, no I/O.

Which decisions there are is the agent's matter: here they are only compared and named.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

# Keys of a ToolMessage's `additional_kwargs`. The agent notes there who decided about the call: {"decision", "by",
# "at"}, and "args" where a person changed them.
APPROVAL_NOTE: Final = "approval"

# The same for a call whose outcome was unknown: {"state": "in_doubt", "why"}, or {"state": "settled", "decision", "by",
# "at"}.
EFFECT_NOTE: Final = "effect"

# The same for a call that waits while the conversation goes on: {"interrupt_id", "decided"}.
KEPT_NOTE: Final = "kept"

# How people read a decision.
_LABELS: Final = {
    "approve": "Approved",
    "edit": "Approved with other arguments",
    "reject": "Rejected",
    "respond": "Answered in place of the tool",
    "expired": "Expired: no decision in time",
    "closed": "Closed because the conversation went on",
    "run_again": "To be run again",
    "happened": "It happened",
    "skip": "Not to be run",
}

NOT_RUN: Final = frozenset({"reject", "expired"})
"""The decisions after which a call is not run."""

CLOSED: Final = "closed"
"""The decision in the note on a call that was closed. Whether it had begun may be unknown; its text says so."""


class Decision(NamedTuple):
    """A decision, its author and its time. An answer and a note that have the same are about the same call."""

    decision: str
    by: str | None
    second: int
    """The time in whole epoch seconds: a note has no finer time."""


def label_of(decision: str) -> str:
    """Name a decision for people."""
    return _LABELS.get(decision) or f"Decided: {decision}"


def decision_word(answer: Any) -> str | None:
    """Return the decision in an answer in one word, such as "approve", or `None` if the answer has none.

    An answer about several calls has the word of each, as in "approve, reject".
    """
    decisions = answer.get("decisions", answer) if isinstance(answer, Mapping) else answer
    if isinstance(decisions, list):
        words = [decision.get("type") if isinstance(decision, Mapping) else None for decision in decisions]
        known = [word for word in words if isinstance(word, str)]
        return ", ".join(known) if known and len(known) == len(words) else None
    word = decisions.get("type") if isinstance(decisions, Mapping) else None
    return word if isinstance(word, str) else None


def decision_in_answer(word: str | None, answer: Any, by: str | None, at: datetime) -> Decision:
    """Return the decision that an answer records.

    Args:
        word: the decision in one word.
        answer: the answer as it was given. Its own author and time come first.
        by: the author on record.
        at: the time on record.
    """
    fields = answer if isinstance(answer, Mapping) else {}
    second = _whole_second(fields.get("at"))
    if second is None:
        second = math.floor(at.timestamp())
    return Decision(word or "", fields.get("by") or by, second)


def decision_in_note(note: Mapping[str, Any]) -> Decision | None:
    """Return the decision in a note on a tool's result, or `None` if the note has none."""
    decision, by, second = note.get("decision"), note.get("by"), _whole_second(note.get("at"))
    if not isinstance(decision, str) or not isinstance(by, str | None) or second is None:
        return None
    return Decision(decision, by, second)


def _whole_second(time: Any) -> int | None:
    """Return a time in ISO 8601 as whole epoch seconds, or `None` for anything else."""
    try:
        return math.floor(datetime.fromisoformat(time).timestamp())
    except (TypeError, ValueError, OverflowError, OSError):
        return None
