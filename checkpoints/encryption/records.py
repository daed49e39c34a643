"""What is encrypted of each kind of record of a thread, for whatever works on a thread as a whole.

A record has the columns of a row, by name, under the names of the statements `page_of_…`. *Open* is a record as it is
in every database, *stored* as it is in this one. Checkpoints are not among the kinds: each database stores them in a
form of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from holdfast.checkpoints.backends.records import CheckpointKey, write_place
from holdfast.checkpoints.encryption import places
from holdfast.checkpoints.errors import SealBroken
from holdfast.checkpoints.serde.encryption import Sealer
from holdfast.checkpoints.serde.messages import MessageRow, digest

Fields: TypeAlias = Mapping[str, Any]
_Change: TypeAlias = Callable[[Sealer, str, Fields], dict[str, Any]]


def open_record(sealer: Sealer, thread_id: str, kind: str, fields: Fields) -> dict[str, Any]:
    """Return the columns of a stored record that differ when it is open.

    Raises:
        SealBroken, KeyMissing: the record cannot be decrypted.
    """
    return _OPEN[kind](sealer, thread_id, fields) if sealer.encrypts and kind in _OPEN else {}


def seal_record(sealer: Sealer, thread_id: str, kind: str, fields: Fields) -> dict[str, Any]:
    """Return the columns of an open record that differ when it is stored."""
    return _SEAL[kind](sealer, thread_id, fields) if sealer.encrypts and kind in _SEAL else {}


def _open_message(sealer: Sealer, thread_id: str, fields: Fields) -> dict[str, Any]:
    row = sealer.open_row(thread_id, fields["seq"], fields["key_no"], _row(fields))
    opened = {"name": row.name, "content": row.content, "body": row.body, "key_no": None}
    # A redacted row keeps the digest of the original, of which nothing else is left.
    is_own = fields["redacted_at"] is None
    return {**opened, "digest": digest(row.role, row.content, row.body) if is_own else row.digest}


def _seal_message(sealer: Sealer, thread_id: str, fields: Fields) -> dict[str, Any]:
    row = _row(fields)
    if fields["redacted_at"] is None:
        row = row._replace(digest=digest(row.role, row.content, row.body, key=sealer.digest_key(thread_id)))
    key_no, row = sealer.seal_row(thread_id, fields["seq"], row)
    return {"digest": row.digest, "name": row.name, "content": row.content, "body": row.body, "key_no": key_no}


def _row(fields: Fields) -> MessageRow:
    names = ("message_id", "digest", "codec", "role", "name", "content", "body")
    row = MessageRow(*(fields[name] for name in names))
    return row._replace(digest=bytes(row.digest), body=bytes(row.body))


def _values(places_of: Callable[[str, Fields], str], type_: str, blob: str) -> tuple[_Change, _Change]:
    """Return how a record opens and seals a value, given the names of its columns."""

    def open_(sealer: Sealer, thread_id: str, fields: Fields) -> dict[str, Any]:
        if fields[type_] is None:
            return {}
        opened = sealer.open_value(thread_id, places_of(thread_id, fields), fields[type_], bytes(fields[blob] or b""))
        return dict(zip((type_, blob), opened, strict=True))

    def seal(sealer: Sealer, thread_id: str, fields: Fields) -> dict[str, Any]:
        if fields[type_] is None:
            return {}
        sealed = sealer.seal_value(thread_id, places_of(thread_id, fields), fields[type_], bytes(fields[blob] or b""))
        return dict(zip((type_, blob), sealed, strict=True))

    return open_, seal


def _of_write(thread_id: str, fields: Fields) -> str:
    key = CheckpointKey(thread_id, fields["ns"], fields["checkpoint_id"])
    return write_place(key, fields["task_id"], fields["idx"])


def _open_thread(sealer: Sealer, thread_id: str, fields: Fields) -> dict[str, Any]:
    texts: dict[str, Any] = {
        name: sealer.open_text(thread_id, place, fields[name]) for name, place in _texts_of(fields)
    }
    if fields["prompt"] is not None:
        texts["prompt"] = sealer.open_bytes(thread_id, places.PROMPT, bytes(fields["prompt"]))
    return texts


def _seal_thread(sealer: Sealer, thread_id: str, fields: Fields) -> dict[str, Any]:
    texts: dict[str, Any] = {
        name: sealer.seal_text(thread_id, place, fields[name]) for name, place in _texts_of(fields)
    }
    if fields["prompt"] is not None:
        texts["prompt"] = sealer.seal_bytes(thread_id, places.PROMPT, bytes(fields["prompt"]))
    return texts


def _texts_of(fields: Fields) -> list[tuple[str, str]]:
    named = {"title": places.TITLE, "metadata": places.METADATA}
    return [(name, place) for name, place in named.items() if fields[name] is not None]


def _open_event(sealer: Sealer, thread_id: str, fields: Fields) -> dict[str, Any]:
    data = fields["data"]
    return {} if data is None else {"data": sealer.open_text(thread_id, places.event(fields["kind"]), data)}


def _seal_event(sealer: Sealer, thread_id: str, fields: Fields) -> dict[str, Any]:
    data = fields["data"]
    return {} if data is None else {"data": sealer.seal_text(thread_id, places.event(fields["kind"]), data)}


_ANSWER: Final = _values(lambda _, fields: places.answer(fields["interrupt_id"]), "answer_type", "answer")


def _open_interrupt(sealer: Sealer, thread_id: str, fields: Fields) -> dict[str, Any]:
    if fields["answer_type"] is None:  # not answered, or expired, which has the same digest everywhere
        return {}
    place = places.answer_digest(fields["interrupt_id"])
    opened = sealer.open_bytes(thread_id, place, bytes(fields["answer_digest"]))
    return {**_ANSWER[0](sealer, thread_id, fields), "answer_digest": opened}


def _seal_interrupt(sealer: Sealer, thread_id: str, fields: Fields) -> dict[str, Any]:
    if fields["answer_type"] is None:
        return {}
    place = places.answer_digest(fields["interrupt_id"])
    sealed = sealer.seal_bytes(thread_id, place, bytes(fields["answer_digest"]))
    return {**_ANSWER[1](sealer, thread_id, fields), "answer_digest": sealed}


_RESULT: Final = _values(lambda _, fields: places.result(fields["effect_key"]), "result_type", "result")


def _open_effect(sealer: Sealer, thread_id: str, fields: Fields) -> dict[str, Any]:
    ran_in, place = fields["thread_id"], places.arguments(fields["effect_key"])
    try:
        opened = sealer.open_bytes(ran_in, place, bytes(fields["args_digest"]))
    except SealBroken:
        if fields["result"] is not None:
            raise
        opened = b""  # the thread in which it ran was deleted, and its key with it
    return {**_RESULT[0](sealer, ran_in, fields), "args_digest": opened}


def _seal_effect(sealer: Sealer, thread_id: str, fields: Fields) -> dict[str, Any]:
    ran_in, place = fields["thread_id"], places.arguments(fields["effect_key"])
    sealed = sealer.seal_bytes(ran_in, place, bytes(fields["args_digest"]))
    return {**_RESULT[1](sealer, ran_in, fields), "args_digest": sealed}


_INPUT: Final = _values(lambda _, fields: places.run_input(fields["run_id"]), "input_type", "input")


def _open_run(sealer: Sealer, thread_id: str, fields: Fields) -> dict[str, Any]:
    run_id, digest_, error = fields["run_id"], fields["request_digest"], fields["error"]
    opened = sealer.open_bytes(thread_id, places.run_request(run_id), bytes(digest_))
    told = None if error is None else sealer.open_text(thread_id, places.run_error(run_id), error)
    return {**_INPUT[0](sealer, thread_id, fields), "request_digest": opened, "error": told}


def _seal_run(sealer: Sealer, thread_id: str, fields: Fields) -> dict[str, Any]:
    run_id, digest_, error = fields["run_id"], fields["request_digest"], fields["error"]
    sealed = sealer.seal_bytes(thread_id, places.run_request(run_id), bytes(digest_))
    told = None if error is None else sealer.seal_text(thread_id, places.run_error(run_id), error)
    return {**_INPUT[1](sealer, thread_id, fields), "request_digest": sealed, "error": told}


_WRITE: Final = _values(_of_write, "type", "blob")

_OPEN: Final[Mapping[str, _Change]] = {
    "thread": _open_thread,
    "message": _open_message,
    "event": _open_event,
    "write": _WRITE[0],
    "run_write": _WRITE[0],
    "interrupt": _open_interrupt,
    "effect": _open_effect,
    "run": _open_run,
}

_SEAL: Final[Mapping[str, _Change]] = {
    "thread": _seal_thread,
    "message": _seal_message,
    "event": _seal_event,
    "write": _WRITE[1],
    "run_write": _WRITE[1],
    "interrupt": _seal_interrupt,
    "effect": _seal_effect,
    "run": _seal_run,
}
