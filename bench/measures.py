"""The measures, one function each. Every figure is compared with the peers of the same run."""

from __future__ import annotations

import asyncio
import gc
import resource
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.prebuilt import create_react_agent
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from bench.peers import Peer, new_database, vacuum
from bench.talking import Talk, Texts, graph_of
from holdfast.checkpoints import open_checkpointer

EVERY = 20
"""The number of turns between two points of a curve."""


@dataclass
class Long:
    """Figures of one long conversation with one checkpointer."""

    name: str
    database: str
    ours: bool
    bytes_per_text: float
    """Bytes on disk for each byte of text, with every checkpoint kept."""
    pruned_per_text: float | None
    """The same after `prune(keep_latest)` and vacuum; only Holdfast can."""
    first_turns_ms: float
    """The median time of turns 1 to 10."""
    last_turns_ms: float
    """The median time of the last 20 turns."""
    times_ms: list[float] = field(repr=False, default_factory=list)
    """The time of each turn."""
    curve: list[tuple[int, int]] = field(repr=False, default_factory=list)
    """Pairs of a number of turns and the bytes on disk after them."""


def long_conversation(peer: Peer, turns: int) -> Long:
    """Measure a conversation of `turns` turns, each of two messages of 2,000 characters."""
    with peer.opened() as (saver, taken):
        talk, curve = Talk(saver, delta=peer.delta), []
        for number in range(1, turns + 1):
            talk.turn()
            if number % EVERY == 0:
                curve.append((number, taken()))
        talk.check()
        whole, pruned = taken(), None
        if peer.ours and peer.database != "memory":
            saver.prune([talk.config["configurable"]["thread_id"]])
            vacuum(saver, peer.database)
            talk.check()
            pruned = taken() / talk.text_bytes
    last = talk.median(max(1, turns - 19), turns)
    stored = whole / talk.text_bytes
    return Long(
        peer.label, peer.database, peer.ours, stored, pruned, talk.median(1, 10), last, talk.times, curve
    )  # fmt: skip


def growth(peer: Peer, near: int = 20, far: int = 2000, span: int = 40) -> float:
    """Return the bytes that a turn adds at turn `far`, divided by those at turn `near`.

    Both are taken over `span` turns, because a database grows by whole pages.
    """
    with peer.opened() as (saver, taken):
        talk, at = Talk(saver), {}
        for number in range(1, far + span + 1):
            talk.turn()
            if number in (near, near + span, far, far + span):
                at[number] = taken()
        talk.check()
    return (at[far + span] - at[far]) / (at[near + span] - at[near])


def with_tools(peer: Peer, turns: int = 100) -> int:
    """Return the bytes on disk of LangGraph's `create_react_agent` with one tool call in every turn."""
    with peer.opened() as (saver, taken):
        agent = create_react_agent(Looker(say=Texts()), [look], checkpointer=saver)
        config: Any = {"configurable": {"thread_id": str(uuid.uuid4())}}
        for _ in range(turns):
            agent.invoke({"messages": [("user", "Is there an order 1001?")]}, config)
        said = len(agent.get_state(config).values["messages"])
        if said != 4 * turns:
            raise AssertionError(f"{said} messages in the state after {turns} turns")
        return taken()


@tool
def look(order_id: int) -> str:
    """Look an order up."""
    return f"Order {order_id}: a brass calculator, 49.00 EUR, not refunded."


class Looker(BaseChatModel):
    """A model that calls the tool, and then answers with a text."""

    say: Callable[[], str]

    @property
    def _llm_type(self) -> str:
        return "looker"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        call = {"name": "look", "args": {"order_id": 1001}, "id": str(uuid.uuid4()), "type": "tool_call"}
        answer = AIMessage(self.say()) if messages[-1].type == "tool" else AIMessage("", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=answer)])


# --- many conversations at once


@dataclass
class Throughput:
    """The rate of turns in many short conversations at once."""

    name: str
    database: str
    ours: bool
    turns_per_second: float


def at_once(folder: Path, server: str, *, turns: int = 6) -> Iterator[Throughput]:
    """Measure 32 conversations at once on SQLite and 64 on PostgreSQL, with `ainvoke`."""
    sqlite, postgres = folder / f"{uuid.uuid4().hex}.db", new_database(server)

    async def stock_sqlite() -> float:
        async with AsyncSqliteSaver.from_conn_string(str(folder / f"{uuid.uuid4().hex}.db")) as saver:
            return await _talk_at_once(saver, 32, turns)

    async def stock_postgres() -> float:
        kwargs: dict[str, Any] = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
        async with AsyncConnectionPool(new_database(server), max_size=10, kwargs=kwargs, open=False) as pool:
            saver = AsyncPostgresSaver(pool)  # type: ignore[arg-type]  # its rows are dicts, as the saver needs them
            await saver.setup()
            return await _talk_at_once(saver, 64, turns)

    async def ours(opened: AbstractAsyncContextManager[Any], conversations: int) -> float:
        async with opened as saver:
            return await _talk_at_once(saver, conversations, turns)

    yield Throughput(
        "SQLite, Holdfast", "SQLite", True, asyncio.run(ours(open_checkpointer(f"sqlite:///{sqlite}"), 32))
    )
    yield Throughput("SQLite, stock", "SQLite", False, asyncio.run(stock_sqlite()))
    yield Throughput("PostgreSQL, Holdfast", "PostgreSQL", True, asyncio.run(ours(open_checkpointer(postgres), 64)))
    yield Throughput("PostgreSQL, stock with a pool", "PostgreSQL", False, asyncio.run(stock_postgres()))


async def _talk_at_once(saver: Any, conversations: int, turns: int) -> float:
    say = Texts(200)
    graph = graph_of(saver, say)

    async def talk() -> None:
        config = {"configurable": {"thread_id": str(uuid.uuid4())}}
        for _ in range(turns):
            await graph.ainvoke({"messages": [("user", say())]}, config)

    await talk()  # warms up
    begin = time.perf_counter()
    await asyncio.gather(*(talk() for _ in range(conversations)))
    return conversations * turns / (time.perf_counter() - begin)


# --- memory


def memory_held(peer: Peer, *, few: int = 1000, many: int = 10_000, threads: int = 1000) -> float:
    """Return the memory of the process after `many` turns over `threads` threads, divided by that after `few` turns."""
    with peer.opened() as (saver, _):
        say = Texts(200)
        graph = graph_of(saver, say)
        names = [str(uuid.uuid4()) for _ in range(threads)]
        held = {}
        for number in range(1, many + 1):
            config = {"configurable": {"thread_id": names[number % threads]}}
            graph.invoke({"messages": [("user", say())]}, config)
            if number in (few, many):
                gc.collect()
                held[number] = _resident()
    return held[many] / held[few]


def _resident() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
