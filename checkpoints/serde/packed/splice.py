"""Composition of a checkpoint of parts of others, as bytes: no type is imported, and no row is added. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import ormsgpack

from holdfast.checkpoints.errors import NotStorable
from holdfast.checkpoints.langgraph_internals import PENDING_SENDS, TASKS
from holdfast.checkpoints.serde.msgpack import NESTING
from holdfast.checkpoints.serde.values import (
    LIST,
    ONE,
    SPOKEN,
    TYPE,
    Attachable,
    with_references,
)

_OPTIONS = ormsgpack.OPT_NON_STR_KEYS


def channels_with_value(whole: Attachable) -> set[str]:
    """Return the channels that have a value in a checkpoint that is one value.

    Raises:
        ValueError: the bytes are damaged.
    """
    document = json.loads(whole.body) if whole.type == "json" else _top(whole)
    channels = set(document["channel_values"])
    return channels | {TASKS} if document.get(PENDING_SENDS) else channels


def graft(checkpoint_id: str, seeds: Mapping[str, Attachable]) -> tuple[str, bytes]:
    """Return a checkpoint that has each channel as one of other checkpoints has it.

    Args:
        checkpoint_id: the id of the new checkpoint.
        seeds: the checkpoint that each channel is taken from.

    Returns:
        The type and the bytes to store.

    Raises:
        NotStorable: one of them was stored by a LangGraph from before msgpack.
        ValueError: the bytes are damaged.
    """
    lists: list[list[int]] = []
    values: dict[str, Any] = {}
    versions: dict[str, Any] = {}
    for channel, whole in seeds.items():
        if whole.type not in {"msgpack", TYPE}:
            raise NotStorable(f"A checkpoint in the form {whole.type!r} cannot be squashed.")
        top = _top(whole)
        values[channel] = renumbered(ormsgpack.packb(top["channel_values"][channel], option=_OPTIONS), whole, lists)
        versions[channel] = top["channel_versions"].get(channel)
    body = ormsgpack.packb(
        {
            "v": 4,
            "id": checkpoint_id,
            "ts": "",
            "channel_values": values,
            "channel_versions": versions,
            "versions_seen": {},
            "updated_channels": None,
        },
        option=_OPTIONS,
    )
    if all(whole.type == "msgpack" for whole in seeds.values()):
        return "msgpack", body
    return TYPE, with_references(lists, body)


def _top(whole: Attachable) -> dict[str, Any]:
    """Return a checkpoint with all extensions left as they are."""
    document: dict[str, Any] = ormsgpack.unpackb(whole.body, ext_hook=ormsgpack.Ext, option=_OPTIONS)
    return document


def renumbered(packed: bytes, whole: Attachable, lists: list[list[int]]) -> Any:
    """Return a packed value with its lists of messages added to `lists`, and numbered by their places there."""
    if not whole.lists:
        return ormsgpack.unpackb(packed, ext_hook=ormsgpack.Ext, option=_OPTIONS)

    def moved(number: int) -> int:
        lists.append(whole.lists[number])
        return len(lists) - 1

    def renumber(code: int, data: bytes) -> ormsgpack.Ext:
        if code in {LIST, ONE}:
            data = ormsgpack.packb(moved(ormsgpack.unpackb(data)))
        elif code == SPOKEN:
            number, shell = ormsgpack.unpackb(data, ext_hook=renumber, option=_OPTIONS)
            data = ormsgpack.packb([moved(number), shell], option=_OPTIONS)
        elif code in NESTING:
            before = len(lists)
            inner = ormsgpack.unpackb(data, ext_hook=renumber, option=_OPTIONS)
            if len(lists) > before:  # else the bytes stay as they are
                data = ormsgpack.packb(inner, option=_OPTIONS)
        return ormsgpack.Ext(code, data)

    return ormsgpack.unpackb(packed, ext_hook=renumber, option=_OPTIONS)
