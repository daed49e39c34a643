"""The output of commands: for a terminal, for a pipe, or as JSON. This module imports nothing slow."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from holdfast.cli.output.text import one_line

if TYPE_CHECKING:
    from holdfast.graph import Pending


def print_notice(text: str) -> None:
    """Print a line about the command to standard error, so that a pipe gets only the result."""
    typer.echo(one_line(text), err=True)


def print_json(value: Any, *, indent: int | None = None) -> None:
    """Print a value as JSON, in ASCII."""
    typer.echo(json.dumps(value, indent=indent, default=_shown))


def _shown(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def pending_facts(pending: Pending, thread_id: str) -> dict[str, Any]:
    """Return a request that waits for a decision, for JSON. A question has the value that the graph asks with."""
    facts = {name: value for name, value in vars(pending).items() if name not in ("value", "schema", "actions")}
    actions = [asdict(action) for action in pending.actions]
    question = {"value": pending.value} if pending.kind == "question" else {}
    return {"thread_id": thread_id, **facts, "actions": actions, **question}
