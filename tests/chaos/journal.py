"""The two files that tell what happened, whatever the database says."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.dialects import dialect_of


@dataclass(frozen=True)
class Book:
    """A file of lines, each appended with one write: by any number of processes, and one that is killed tears none."""

    path: Path

    def write(self, **line: Any) -> None:
        """Append a line, with who writes it and when, by the clock `time.monotonic` of this machine."""
        data = (json.dumps({**line, "pid": os.getpid(), "at": time.monotonic()}) + "\n").encode()
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, data)
        finally:
            os.close(file)

    def read(self) -> Iterator[dict[str, Any]]:
        """All lines, in the order in which they were written."""
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                yield json.loads(line)


@dataclass(frozen=True)
class Place:
    """Where something goes on: a database, and a folder for what is outside of it."""

    url: str
    folder: Path
    seed: int

    @property
    def world(self) -> Book:
        """Return the effects of the tools: order, tool, amount, key."""
        return Book(self.folder / "world")

    @property
    def journal(self) -> Book:
        """Return what the processes saw, did and were told. The first key of a line says which."""
        return Book(self.folder / "journal")

    @property
    def backend(self) -> str:
        """Of the database."""
        return dialect_of(self.url)
