"""Validation of a thread's records from a file, before they are written to a database. No I/O.

The file is untrusted. A thread that passes can be written, and afterwards either loads or is reported as damaged.
Nothing in it is executed, imported or unpacked beyond bytes. It refers only to message rows of its own, and loading it
takes memory in proportion to its rows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from holdfast.checkpoints.backends.canonical import FORMS, STOCK, canonical_value
from holdfast.checkpoints.core.conflicts import moment_of
from holdfast.checkpoints.errors import NotStorable
from holdfast.checkpoints.serde.messages import BLOCKS, OPAQUE, TEXT, digest
from holdfast.checkpoints.serde.values import TYPE, Attachable
from holdfast.checkpoints.transfer.jsonl import InvalidLine
from holdfast.checkpoints.transfer.records import (
    CHECKPOINT,
    EFFECT,
    MESSAGE,
    RECORDS,
    WRITE,
    ThreadRecord,
    canonical_json,
)
from holdfast.checkpoints.transfer.references import MessageSeqs

MOST_REFERENCES: Final = 1_000_000
"""The maximum number of messages in one value."""

# A checkpoint's id is a time, and a process that loads it moves its clock past it. An id from the future would move the
# clocks of all processes.
_AHEAD: Final = 24 * 3600.0

_ORDER: Final = tuple(RECORDS)
_STATES: Final = frozenset({"started", "done", "failed", "in_doubt", "skipped"})
_DOCUMENT: Final = frozenset({"v", "id", "ts", "channel_versions", "versions_seen"})
_RESERVED: Final = frozenset({"channel_values", "stored", "packed"})


class ThreadValidator:
    """A validator of the records of one thread, in the order of a file."""

    def __init__(self, thread_id: str, thread: ThreadRecord) -> None:
        """
        Args:
            thread_id: the thread.
            thread: the thread's own record.

        Raises:
            InvalidLine: the thread's own record is invalid.
        """
        self._thread_id = thread_id
        self._lineage = thread.fields["lineage"] or thread_id
        self._next_seq: int = thread.fields["next_seq"]
        self._seqs = MessageSeqs()
        self._keys: set[tuple[Any, ...]] = set()
        self._at = 0
        self._validators: dict[str, Callable[[dict[str, Any]], None]] = {
            MESSAGE: self._message,
            "event": self._event,
            CHECKPOINT: self._checkpoint,
            WRITE: self._write,
            "run_write": self._run_write,
            "interrupt": self._interrupt,
            "member": self._member,
            EFFECT: self._effect,
        }
        _need(self._next_seq >= 1 and thread.fields["live_from"] >= 1, "the thread counts its messages from 1")
        _need_json(thread.fields["metadata"], "the thread's metadata")

    def validate(self, record: ThreadRecord) -> None:
        """Validate a record.

        Raises:
            InvalidLine: the record is invalid.
        """
        at = _ORDER.index(record.kind)
        _need(at >= max(self._at, 1), f"a record of the kind {record.kind!r} is out of order")
        self._at = at
        key = (record.kind, *record.key)
        _need(key not in self._keys, f"it is the second {record.kind!r} under the same key")
        self._keys.add(key)
        self._validators[record.kind](record.fields)

    def _message(self, row: dict[str, Any]) -> None:
        _need(self._seqs.last < row["seq"] < self._next_seq, f"no row {row['seq']} can be here")
        _need(row["codec"] in {TEXT, BLOCKS, OPAQUE}, f"this version knows no message row of the form {row['codec']}")
        # A redacted row keeps the digest of the original message.
        is_right = digest(row["role"], row["content"], row["body"]) == row["digest"]
        _need(is_right or (row["redacted_at"] is not None and len(row["digest"]) == 16), "the message was altered")
        self._seqs.add(row["seq"])

    def _event(self, event: dict[str, Any]) -> None:
        _need(0 <= event["after_seq"] <= self._next_seq, "the event comes after a message that is not there")
        _need_json(event["data"], "the event's data")

    def _checkpoint(self, checkpoint: dict[str, Any]) -> None:
        id_, document = checkpoint["checkpoint_id"], checkpoint["document"]
        _need(id_ != "", "the checkpoint has no id")
        _need((moment_of(id_) or 0.0) < time.time() + _AHEAD, f"checkpoint {id_} is from the future")
        _need(document.keys() >= _DOCUMENT and not _RESERVED & document.keys(), "it is no checkpoint")
        versions, seen = document["channel_versions"], document["versions_seen"]
        _need(document["id"] == id_ and _are_versions(versions), "the checkpoint's versions are invalid")
        _need(
            isinstance(seen, dict) and all(map(_are_versions, seen.values())), "the checkpoint's versions are invalid"
        )
        with _explained("the checkpoint"):
            is_json = (
                canonical_json(document) == document
                and canonical_json(checkpoint["metadata"]) == checkpoint["metadata"]
            )
        _need(is_json, "the checkpoint holds JSON that a database would change")
        for channel, (type_, blob) in checkpoint["values"].items():
            _need(type_ in {STOCK, TYPE}, f"the value of {channel[:40]!r} has an unknown form")
            with _explained(f"the value of {channel[:40]!r}"):
                is_canonical = canonical_value(self._opened(type_, blob)) == (type_, blob)
            _need(is_canonical, f"the value of {channel[:40]!r} is not in its canonical form")

    def _write(self, write: dict[str, Any]) -> None:
        _need(write["type"] in FORMS, "the write has an unknown form")
        with _explained("the write"):
            canonical_value(self._opened(write["type"], write["blob"]))

    def _run_write(self, write: dict[str, Any]) -> None:
        replaced = [write[name] is None for name in ("channel", "type", "blob")]
        _need(all(replaced) or not any(replaced), "the write that a run has replaced is incomplete")
        if not any(replaced):
            self._write(write)

    def _interrupt(self, interrupt: dict[str, Any]) -> None:
        _need(interrupt["answer_type"] in {None, STOCK, TYPE}, "the answer has an unknown form")
        _need((interrupt["answer_type"] is None) == (interrupt["answer"] is None), "the answer is incomplete")
        _need(interrupt["answer"] is None or interrupt["answered_at"] is not None, "the answer has no time")

    def _member(self, member: dict[str, Any]) -> None:
        _need(bool(member["user_id"] and member["owner_id"]), "the member has no name")

    def _effect(self, effect: dict[str, Any]) -> None:
        _need(effect["lineage"] == self._lineage, "the tool call is of another thread")
        _need(effect["state"] in _STATES and effect["attempt"] >= 1, "the tool call is in no state that exists")
        _need(effect["result_type"] in {None, STOCK, TYPE}, "the tool's result has an unknown form")
        _need((effect["result_type"] is None) == (effect["result"] is None), "the tool's result is incomplete")

    def _opened(self, type_: str, blob: bytes) -> Attachable:
        """Open a value after checking that its message rows exist."""
        total = self._seqs.check(type_, blob)
        _need(total <= MOST_REFERENCES, f"it holds {total} messages; at most {MOST_REFERENCES} are allowed")
        return Attachable("", type_, blob)


def _are_versions(found: Any) -> bool:
    return isinstance(found, dict) and all(type(version) in {str, int, float} for version in found.values())


def _need(condition: bool, problem: str) -> None:
    if not condition:
        raise InvalidLine(problem)


def _need_json(text: str | None, what: str) -> None:
    if text is not None:
        with _explained(what):
            json.loads(text)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn the various errors of damaged bytes into `InvalidLine`."""
    try:
        yield
    except InvalidLine:
        raise
    except (NotStorable, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise InvalidLine(f"{what} cannot be read ({str(error)[:120]})") from error
