"""How thorough a test is that kills processes, or that has a crowd of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Sweep: TypeAlias = Callable[[int, int], int]
"""Chooses one of two numbers: that of the sample in the fast suite, or that of the sweep in `make chaos`."""
