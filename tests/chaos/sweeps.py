"""The tests that the fast suite leaves out, and in full those of which it has a sample."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.support.forked import HOUSE

_FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (\S+)(?: - (.*))?$", re.MULTILINE)
_PASSED: Final = re.compile(r"^(\d+) passed", re.MULTILINE)


@dataclass
class Sweeps:
    """The outcome."""

    tests: int = 0
    """Those that passed."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0


def sweep(until: float, words: Sequence[str] = ()) -> Sweeps:
    """Run these tests with `--sweep`.

    Args:
        until: when to stop, on the clock `time.monotonic`.
        words: more for pytest, such as files.
    """
    began, done = time.monotonic(), Sweeps()
    command = [sys.executable, "-m", "pytest", "--sweep", "-q", "--timeout=300", "-n", "3", "--dist=worksteal", *words]
    try:
        ended = subprocess.run(
            command, cwd=HOUSE, timeout=max(until - began, 0), capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired:
        done.failures.append(("-", "out of time: the sweeps of the tests have not ended"))
    else:
        done.tests = sum(int(number) for number in _PASSED.findall(ended.stdout))
        done.failures += [(name, what or "it failed") for name, what in _FAILED.findall(ended.stdout)]
        if ended.returncode and not done.failures:
            done.failures.append(("-", f"pytest ended with {ended.returncode}: {ended.stdout[-500:]}{ended.stderr}"))
    done.seconds = time.monotonic() - began
    return done
