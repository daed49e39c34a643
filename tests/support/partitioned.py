"""Tables that are partitioned as the guide to PostgreSQL says."""

from __future__ import annotations

import subprocess
from typing import Final

from tests.support.cluster import PROGRAMS
from tests.support.forked import HOUSE

_SCRIPT: Final = HOUSE / "examples" / "deployment" / "partition.sql"


def partition(url: str, parts: int) -> str:
    """Partition the large tables of a database. Return the words of psql if it fails."""
    words = ["-v", "ON_ERROR_STOP=1", "-v", f"parts={parts}", "-f", _SCRIPT, url]
    done = subprocess.run([PROGRAMS / "psql", "-q", *words], check=False, capture_output=True, text=True)
    assert bool(done.returncode) == bool(done.stderr), done
    return done.stderr
