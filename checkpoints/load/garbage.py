"""The cyclic garbage collector of Python, while many objects are made at once.

It runs after every 700 new containers, to look for garbage among them. The messages of a long conversation are some
thousand containers, and none of them is garbage: at 800 messages these runs took more than a third of a turn's time.
"""

from __future__ import annotations

import gc
from types import TracebackType
from typing import Final, Self

_FEW: Final = 64  # objects for which it hardly runs


class Paused:
    """No automatic collection within the block, which makes a number of objects. Collections are made up for after it.

    Safe for threads: the first block switches the collector off, and its end switches it on again, for all threads. A
    collector that the program has switched off stays off.
    """

    __slots__ = ("_is_mine",)

    def __init__(self, number: int) -> None:
        self._is_mine = number > _FEW and gc.isenabled()

    def __enter__(self) -> Self:
        if self._is_mine:
            gc.disable()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._is_mine:
            gc.enable()
