"""The lines that a person has typed before, in files that only they can read."""

from __future__ import annotations

import os
from pathlib import Path

from prompt_toolkit.history import FileHistory, History, InMemoryHistory


class PrivateHistory(FileHistory):
    """A history in a file with the mode 0600. If it cannot be written, the chat goes on without it."""

    def load_history_strings(self) -> list[str]:
        try:
            return list(super().load_history_strings())
        except OSError:
            return []

    def store_string(self, string: str) -> None:
        try:
            os.close(os.open(self.filename, os.O_CREAT | os.O_APPEND, 0o600))
            super().store_string(string)
        except OSError:
            return


def open_history(folder: Path | None, name: str) -> History:
    """Return the history of a name in a folder, which is created; `None` is a history that ends with the command."""
    if folder is None:
        return InMemoryHistory()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return InMemoryHistory()
    return PrivateHistory(str(folder / name))
