"""Many short conversations at once, in one event loop."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from psycopg_pool import AsyncConnectionPool

from bench.peers import POOLED
from bench.places import new_database
from bench.rounds import Meter, Spent, summary
from bench.sizes import FULL, Sizes
from bench.talking import Texts, graph_of
from holdfast.checkpoints import open_checkpointer

CHARACTERS = 200


@asynccontextmanager
async def _stock_postgres(url: str) -> AsyncIterator[AsyncPostgresSaver]:
    async with AsyncConnectionPool(url, open=False, **POOLED) as pool:
        saver = AsyncPostgresSaver(pool)
        await saver.setup()
        yield saver


def crowd(database: str, folder: Path, server: str, sizes: Sizes = FULL) -> dict[str, Any]:
    """Compare the turns a second and the CPU time of a turn of many conversations at once, with `ainvoke`."""
    ours: AbstractAsyncContextManager[Any]
    stock: AbstractAsyncContextManager[Any]
    if database == "SQLite":
        at_once, meter = sizes.crowds[0], Meter()
        ours = open_checkpointer(f"sqlite:///{folder / uuid.uuid4().hex}.db")
        stock = AsyncSqliteSaver.from_conn_string(str(folder / f"{uuid.uuid4().hex}.db"))
    else:
        at_once, meter = sizes.crowds[1], Meter(server)
        ours, stock = open_checkpointer(new_database(server)), _stock_postgres(new_database(server))
    spent = asyncio.run(_talk_in_turn(ours, stock, at_once, meter, sizes))
    turns = at_once * sizes.crowd_turns
    found = summary(*spent, turns=turns)
    return {"database": database, "at_once": at_once, "turns_per_second": 1 / found["time"], **found}


async def _talk_in_turn(
    ours: AbstractAsyncContextManager[Any],
    stock: AbstractAsyncContextManager[Any],
    at_once: int,
    meter: Meter,
    sizes: Sizes,
) -> tuple[list[Spent], list[Spent]]:
    spent: tuple[list[Spent], list[Spent]] = [], []
    async with ours as our_saver, stock as stock_saver:
        for saver in (our_saver, stock_saver):
            await _talk(saver, at_once, 1)  # warms up: connections, statements
        both = list(zip((our_saver, stock_saver), spent, strict=True))
        for number in range(sizes.crowd_rounds):
            for saver, taken in both if number % 2 else reversed(both):
                with meter.timing(taken):
                    await _talk(saver, at_once, sizes.crowd_turns)
    return spent


async def _talk(saver: Any, conversations: int, turns: int) -> None:
    say = Texts(CHARACTERS)
    graph = graph_of(saver, say)

    async def talk() -> None:
        config: Any = {"configurable": {"thread_id": str(uuid.uuid4())}}
        for _ in range(turns):
            said = await graph.ainvoke({"messages": [("user", say())]}, config)
        if len(said["messages"]) != 2 * turns:
            raise AssertionError(f"{len(said['messages'])} messages in the state after {turns} turns")

    await asyncio.gather(*(talk() for _ in range(conversations)))
