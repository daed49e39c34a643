"""Databases of LangGraph's own savers as older releases left them, made of those of today, row by row."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import ormsgpack
import psycopg
from langchain_core.load import dumpd
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Interrupt
from psycopg.types.json import Jsonb

from tests.support.dialects import VALUES, WRITES, dialect_of

TASKS = "__pregel_tasks"

_SERIALIZER = JsonPlusSerializer(allowed_msgpack_modules=None)
_KEY = ("thread_id", "checkpoint_ns", "checkpoint_id")


@contextmanager
def _connected(url: str) -> Iterator[Any]:
    if dialect_of(url) == "postgres":
        with psycopg.connect(url) as connection:
            yield connection
    else:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
            yield connection


def change_checkpoints(url: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change each checkpoint: all of it on SQLite, its document on PostgreSQL."""
    is_postgres = dialect_of(url) == "postgres"
    place = "?" if not is_postgres else "%s"
    where = " AND ".join(f"{name} = {place}" for name in _KEY)
    with _connected(url) as db:
        found = db.execute(f"SELECT {', '.join(_KEY)}, type, checkpoint FROM checkpoints").fetchall()
        for *key, type_, stored in found:
            checkpoint = stored if is_postgres else _SERIALIZER.loads_typed((type_, stored))
            change(checkpoint)
            new = Jsonb(checkpoint) if is_postgres else _SERIALIZER.dumps_typed(checkpoint)[1]
            db.execute(f"UPDATE checkpoints SET checkpoint = {place} WHERE {where}", (new, *key))


def set_version(url: str, version: int) -> None:
    """Give the checkpoints an older `v`: 1 to 3 before LangGraph 0.5, 4 since then."""

    def change(checkpoint: dict[str, Any]) -> None:
        checkpoint["v"] = version
        checkpoint.setdefault("pending_sends", [])

    change_checkpoints(url, change)


def take_sends_out(url: str) -> None:
    """Store Sends as before LangGraph 0.5: on PostgreSQL in the writes on the parent alone, on SQLite in a field."""
    set_version(url, 3)

    def change(checkpoint: dict[str, Any]) -> None:
        checkpoint["channel_versions"].pop(TASKS, None)
        checkpoint["pending_sends"] = checkpoint.get("channel_values", {}).pop(TASKS, [])

    change_checkpoints(url, change)
    if dialect_of(url) == "postgres":
        with _connected(url) as db:
            db.execute("DELETE FROM checkpoint_blobs WHERE channel = %s", [TASKS])


def make_interrupts_older(url: str, fields: Mapping[str, Any]) -> None:
    """Store each pause with the fields that an `Interrupt` had in an older LangGraph."""
    pause = ormsgpack.Ext(2, ormsgpack.packb(["langgraph.types", "Interrupt", dict(fields)]))
    dialect = dialect_of(url)
    table, column = WRITES[dialect]
    with _connected(url) as db:
        place = "?" if dialect == "sqlite" else "%s"
        changed = db.execute(
            f"UPDATE {table} SET {column} = {place} WHERE channel = '__interrupt__'", [ormsgpack.packb([pause])]
        )
        assert changed.rowcount == 1


def rename_branches(url: str) -> None:
    """Name the channels that start a node as before `v` 3."""

    def renamed(found: dict[str, Any]) -> dict[str, Any]:
        return {re.sub("^branch:to:", "start:", name): value for name, value in found.items()}

    def change(checkpoint: dict[str, Any]) -> None:
        for name in ("channel_values", "channel_versions"):
            checkpoint[name] = renamed(checkpoint[name])
        checkpoint["versions_seen"] = {node: renamed(seen) for node, seen in checkpoint["versions_seen"].items()}

    set_version(url, 2)
    change_checkpoints(url, change)


def number_versions(url: str, number: Callable[[str], float]) -> None:
    """Make the versions of channels numbers, as savers have them that do not override `get_next_version`."""

    def numbered(found: dict[str, Any]) -> dict[str, Any]:
        return {name: number(version) for name, version in found.items()}

    def change(checkpoint: dict[str, Any]) -> None:
        checkpoint["channel_versions"] = numbered(checkpoint["channel_versions"])
        checkpoint["versions_seen"] = {node: numbered(seen) for node, seen in checkpoint["versions_seen"].items()}

    change_checkpoints(url, change)
    if dialect_of(url) == "postgres":
        with _connected(url) as db:
            for (version,) in db.execute("SELECT DISTINCT version FROM checkpoint_blobs").fetchall():
                db.execute(
                    "UPDATE checkpoint_blobs SET version = %s WHERE version = %s", [str(number(version)), version]
                )


def put_nothing_inline(url: str) -> None:
    """Store small values in rows of their own too, and no values in the document, as PostgreSQL's saver did."""
    with _connected(url) as db:
        for thread_id, ns, id_, document in db.execute(
            "SELECT thread_id, checkpoint_ns, checkpoint_id, checkpoint FROM checkpoints"
        ).fetchall():
            for channel, value in document.pop("channel_values").items():
                type_, blob = _SERIALIZER.dumps_typed(value)
                db.execute(
                    "INSERT INTO checkpoint_blobs VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                    (thread_id, ns, channel, document["channel_versions"][channel], type_, blob),
                )
            db.execute(
                "UPDATE checkpoints SET checkpoint = %s WHERE (thread_id, checkpoint_ns, checkpoint_id) = (%s, %s, %s)",
                (Jsonb(document), thread_id, ns, id_),
            )


def store_as_json(url: str) -> None:
    """Store values as JSON, as before the use of msgpack."""
    dialect = dialect_of(url)
    place = "?" if dialect == "sqlite" else "%s"
    with _connected(url) as db:
        for table, column in (VALUES[dialect], WRITES[dialect]):
            for type_, blob in db.execute(f"SELECT DISTINCT type, {column} FROM {table}").fetchall():
                if type_ in {"msgpack", "null"}:
                    value = _SERIALIZER.loads_typed((type_, bytes(blob or b"")))
                    text = json.dumps(value, default=_json_of).encode()
                    same = f"type = {place} AND {column} = {place}"
                    db.execute(
                        f"UPDATE {table} SET type = 'json', {column} = {place} WHERE {same}", (text, type_, blob)
                    )


def _json_of(value: Any) -> Any:
    if isinstance(value, BaseMessage):
        return dumpd(value)
    if isinstance(value, Interrupt):
        kwargs = {"value": value.value, "resumable": True, "ns": ["ask:1"], "when": "during"}
        return {"lc": 2, "type": "constructor", "id": ["langgraph", "types", "Interrupt"], "kwargs": kwargs}
    raise TypeError(f"no JSON for {type(value)}")
