"""The output of commands: for a terminal, for a pipe, or as JSON. This module imports nothing slow."""

from __future__ import annotations

import json
from dataclasses import asdict
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
    typer.echo(json.dumps(value, indent=indent, default=str))


def pending_facts(pending: Pending, thread_id: str) -> dict[str, Any]:
    """Return a call that waits for a decision, for JSON."""
    return {"thread_id": thread_id, **asdict(pending)}
