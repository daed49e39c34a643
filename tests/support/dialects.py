"""Where each database keeps what, for tests that look into tables."""

from __future__ import annotations

from holdfast.checkpoints import HoldfastSaver

VALUES = {"sqlite": ("checkpoints", "checkpoint"), "postgres": ("checkpoint_blobs", "blob")}
"""Table and column of the values of channels."""

WRITES = {"sqlite": ("writes", "value"), "postgres": ("checkpoint_writes", "blob")}
"""Table and column of what tasks wrote."""

STOCK_TABLES = {
    "sqlite": ["checkpoints", "writes"],
    "postgres": ["checkpoints", "checkpoint_blobs", "checkpoint_writes"],
}
"""The tables that LangGraph's own savers have too, but for the one of their migrations."""


def dialect_of(database: HoldfastSaver | str) -> str:
    """Return "sqlite" or "postgres", whichever the database of a checkpointer or a URL speaks."""
    url = database if isinstance(database, str) else str(database._backend)
    return "postgres" if url.startswith("postgres") else "sqlite"
