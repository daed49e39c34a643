"""One turn, told as it happens, that Ctrl-C ends at once and cleanly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from holdfast.cli.output.screen import Shows
from holdfast.graph import Event

# After this many seconds without a sign, say that the command is not dead.
_PATIENCE = 3.0


def play(
    runner: asyncio.Runner, turn: AsyncGenerator[Event, None], shows: Shows, *, still: Callable[[], object] | None
) -> None:
    """Run a turn to its end. On an event loop, because there Ctrl-C also ends a call to a model that hangs.

    Args:
        still: called when nothing has happened for a while.

    Raises:
        KeyboardInterrupt: Ctrl-C; what was saved by then is saved.
        whatever the turn raises.
    """
    try:
        runner.run(_play(turn, shows, still))
    finally:
        shows.end()


async def _play(turn: AsyncGenerator[Event, None], shows: Shows, still: Callable[[], object] | None) -> None:
    waiting = asyncio.get_running_loop().call_later(_PATIENCE, still) if still else None
    try:
        async with aclosing(turn) as events:
            async for event in events:
                if waiting:
                    waiting.cancel()
                shows.event(event)
    finally:
        if waiting:
            waiting.cancel()
