"""The places of what is encrypted, which it is bound to: table, row and column, without the thread.

Those of values and of writes are the backend's `value_place` and `records.write_place`; that of a message row is its
number.
"""

from __future__ import annotations

from typing import Final

TITLE: Final = "threads\0title"
METADATA: Final = "threads\0metadata"
PROMPT: Final = "threads\0prompt"


def event(kind: str) -> str:
    """Return the place of the data of an event. Its number is not part of it: the database gives it."""
    return f"events\0{kind}\0data"


def answer(interrupt_id: str) -> str:
    """Return the place of the answer to a request."""
    return f"interrupts\0{interrupt_id}\0answer"


def answer_digest(interrupt_id: str) -> str:
    """Return the place of the digest of an answer."""
    return f"interrupts\0{interrupt_id}\0answer_digest"


def result(key: str) -> str:
    """Return the place of a result in the ledger of effects; its thread is the one in which the effect ran."""
    return f"effects\0{key}\0result"


def arguments(key: str) -> str:
    """Return the place of the digest of an effect's arguments."""
    return f"effects\0{key}\0args_digest"


def run_input(run_id: str) -> str:
    """Return the place of the input of a run."""
    return f"runs\0{run_id}\0input"


def run_request(run_id: str) -> str:
    """Return the place of the digest of the request that a run was accepted for."""
    return f"runs\0{run_id}\0request_digest"


def run_error(run_id: str) -> str:
    """Return the place of the words why a run failed."""
    return f"runs\0{run_id}\0error"
