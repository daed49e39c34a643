"""A folder in memory for what the tests write: on a disk every commit and every new database wait for it."""

from __future__ import annotations

import os
import shutil
import tempfile
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Final

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - whatever is made there gets a name of its own

_ROOM: Final = 2 * 2**30
"""Bytes that must be free: a run writes a quarter of that, and a container has 64 MB by default."""


def enter(memory: Path = _MEMORY) -> Finalize | None:
    """Let temporary files of this process, and of those it starts, be in memory until it ends.

    Return what deletes them, which may be called before; or `None` if there is no room, or if `TMPDIR` says where they
    belong. There they are also kept after the run.
    """
    if "TMPDIR" in os.environ or not os.access(memory, os.W_OK) or shutil.disk_usage(memory).free < _ROOM:
        return None
    folder = Path(tempfile.mkdtemp(prefix="holdfast-", dir=memory))
    folder.chmod(0o711)  # started by root, PostgreSQL runs as another user
    os.environ["TMPDIR"], tempfile.tempdir = str(folder), None
    # After the server that forks processes has closed its socket in there, which has the priority -100.
    return Finalize(None, shutil.rmtree, [folder], {"ignore_errors": True}, exitpriority=-200)
