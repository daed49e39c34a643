"""Whether the records of a thread that come from a file can be put into a database. No I/O.

Such a file may say anything. What gets through here is a thread that can be written and that loads, or says itself that
it is damaged: nothing in it is run, imported or unpacked beyond bytes, it names rows that are its own, and it takes no
more memory when it is loaded than it has rows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from holdfast.checkpoints.core.conflicts import moment_of
from holdfast.checkpoints.errors import NotStorable
from holdfast.checkpoints.serde.messages import BLOCKS, OPAQUE, TEXT, digest
from holdfast.checkpoints.serde.values import TYPE, Attachable
from holdfast.checkpoints.transfer.canonical import FORMS, STOCK, MessageSeqs, canonical_value
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

MOST_REFERENCES: Final = 1_000_000
"""Messages that one value may hold."""

# A checkpoint's id is a time, and who loads it sets his clock past it: from the future it would be everybody's.
_AHEAD: Final = 24 * 3600.0

_ORDER: Final = tuple(RECORDS)
_STATES: Final = frozenset({"started", "done", "failed", "in_doubt", "skipped"})
_DOCUMENT: Final = frozenset({"v", "id", "ts", "channel_versions", "versions_seen"})
_RESERVED: Final = frozenset({"channel_values", "stored", "packed"})


class ThreadValidator:
    """Looks at the records of one thread, in the order of a file."""

    def __init__(self, thread_id: str, thread: ThreadRecord) -> None:
        """
        Raises:
            NotALine: the thread's own record cannot be right.
        """
        self._thread_id = thread_id
        self._lineage = thread.fields["lineage"] or thread_id
        self._next_seq: int = thread.fields["next_seq"]
        self._rows = MessageSeqs()
        self._keys: set[tuple[Any, ...]] = set()
        self._at = 0
        self._look: dict[str, Callable[[dict[str, Any]], None]] = {
            MESSAGE: self._message,
            "event": self._event,
            CHECKPOINT: self._checkpoint,
            WRITE: self._write,
            "run_write": self._run_write,
            "interrupt": self._interrupt,
            EFFECT: self._effect,
        }
        _need(self._next_seq >= 1 and thread.fields["live_from"] >= 1, "the thread counts its messages from 1")
        _need_json(thread.fields["metadata"], "the thread's metadata")

    def look(self, record: ThreadRecord) -> None:
        """
        Raises:
            NotALine: the record cannot be right.
        """
        at = _ORDER.index(record.kind)
        _need(at >= max(self._at, 1), f"a record of the kind {record.kind!r} is out of order")
        self._at = at
        key = (record.kind, *record.key)
        _need(key not in self._keys, f"it is the second {record.kind!r} under the same key")
        self._keys.add(key)
        self._look[record.kind](record.fields)

    def _message(self, row: dict[str, Any]) -> None:
        _need(self._rows.last < row["seq"] < self._next_seq, f"no row {row['seq']} can be here")
        _need(row["codec"] in {TEXT, BLOCKS, OPAQUE}, f"this version knows no message row of the form {row['codec']}")
        # A redacted row keeps the digest of what it was.
        is_right = digest(row["role"], row["content"], row["body"]) == row["digest"]
        _need(is_right or (row["redacted_at"] is not None and len(row["digest"]) == 16), "the message was altered")
        self._rows.add(row["seq"])

    def _event(self, event: dict[str, Any]) -> None:
        _need(0 <= event["after_seq"] <= self._next_seq, "the event comes after a message that is not there")
        _need_json(event["data"], "the event's data")

    def _checkpoint(self, found: dict[str, Any]) -> None:
        id_, document = found["checkpoint_id"], found["document"]
        _need(id_ != "", "the checkpoint has no id")
        _need((moment_of(id_) or 0.0) < time.time() + _AHEAD, f"checkpoint {id_} is from the future")
        _need(document.keys() >= _DOCUMENT and not _RESERVED & document.keys(), "it is no checkpoint")
        versions, seen = document["channel_versions"], document["versions_seen"]
        _need(document["id"] == id_ and _are_versions(versions), "the checkpoint's versions are none")
        _need(isinstance(seen, dict) and all(map(_are_versions, seen.values())), "the checkpoint's versions are none")
        with _explained("the checkpoint"):
            is_json = canonical_json(document) == document and canonical_json(found["metadata"]) == found["metadata"]
        _need(is_json, "the checkpoint holds what a database would not give back")
        for channel, (type_, blob) in found["values"].items():
            _need(type_ in {STOCK, TYPE}, f"the value of {channel[:40]!r} has an unknown form")
            with _explained(f"the value of {channel[:40]!r}"):
                is_normal = canonical_value(self._opened(type_, blob)) == (type_, blob)
            _need(is_normal, f"the value of {channel[:40]!r} is not in its normal form")

    def _write(self, write: dict[str, Any]) -> None:
        _need(write["type"] in FORMS, "what was written has an unknown form")
        with _explained("what was written"):
            canonical_value(self._opened(write["type"], write["blob"]))

    def _run_write(self, write: dict[str, Any]) -> None:
        replaced = [write[name] is None for name in ("channel", "type", "blob")]
        _need(all(replaced) or not any(replaced), "what a run has replaced is not whole")
        if not any(replaced):
            self._write(write)

    def _interrupt(self, asked: dict[str, Any]) -> None:
        _need(asked["answer_type"] in {None, STOCK, TYPE}, "the answer has an unknown form")
        _need((asked["answer_type"] is None) == (asked["answer"] is None), "the answer is not whole")
        _need(asked["answer"] is None or asked["answered_at"] is not None, "the answer has no time")

    def _effect(self, effect: dict[str, Any]) -> None:
        _need(effect["lineage"] == self._lineage, "the tool call is of another thread")
        _need(effect["state"] in _STATES and effect["attempt"] >= 1, "the tool call is in no state")
        _need(effect["result_type"] in {None, STOCK, TYPE}, "the tool's result has an unknown form")
        _need((effect["result_type"] is None) == (effect["result"] is None), "the tool's result is not whole")

    def _opened(self, type_: str, blob: bytes) -> Attachable:
        """A value whose references are those of rows that are there."""
        total = self._rows.check(type_, blob)
        _need(total <= MOST_REFERENCES, f"it holds {total} messages, and {MOST_REFERENCES} are the most")
        return Attachable("", type_, blob)


def _are_versions(found: Any) -> bool:
    return isinstance(found, dict) and all(type(version) in {str, int, float} for version in found.values())


def _need(fulfilled: bool, what: str) -> None:
    if not fulfilled:
        raise InvalidLine(what)


def _need_json(text: str | None, what: str) -> None:
    if text is not None:
        with _explained(what):
            json.loads(text)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Bytes that are not what they should be fail in many ways."""
    try:
        yield
    except InvalidLine:
        raise
    except (NotStorable, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise InvalidLine(f"{what} cannot be read ({str(error)[:120]})") from error
