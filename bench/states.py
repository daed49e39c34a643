"""States that are not lists of messages: plain dicts, large dicts, files, and many channels."""

from __future__ import annotations

import operator
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Final, TypedDict

from langgraph.graph import START, StateGraph

from bench.peers import Pair
from bench.rounds import Meter, Step, compare
from bench.sizes import FULL, Sizes
from bench.talking import Texts

CHANNELS = 50
FILES = 50

MakeStep = Callable[[Any, Sizes], Step]


def states(pair: Pair, kind: str, meter: Meter, sizes: Sizes = FULL) -> dict[str, Any]:
    """Compare the time of a turn with one kind of state, and the bytes on disk after all turns."""
    make, rounds, turns = KINDS[kind]
    with pair.ours.opened() as (ours, our_place), pair.stock.opened() as (stock, stock_place):
        found = compare(make(ours, sizes), make(stock, sizes), rounds=rounds(sizes), turns=turns, meter=meter)
        sides = {"ours_bytes": our_place.size(), "stock_bytes": stock_place.size()}
    ratio = sides["ours_bytes"] / sides["stock_bytes"]
    return {"kind": kind, "database": pair.database, "files_mb": sizes.files_mb, **found, "bytes": ratio, **sides}


# --- a list of plain dicts, as the clients of OpenAI have it


class Chat(TypedDict):
    chat: Annotated[list[Any], operator.add]


def _dicts(saver: Any, sizes: Sizes) -> Step:
    """Return the step of one turn in a conversation of so many plain dicts."""
    say = Texts(300)
    builder = StateGraph(Chat)
    builder.add_node("model", lambda _: {"chat": [{"role": "assistant", "content": say()}]})
    builder.add_edge(START, "model")
    graph, config = builder.compile(checkpointer=saver), _new_thread()
    before = [{"role": role, "content": say()} for role in ("user", "assistant") * (sizes.dicts // 2)]
    graph.invoke({"chat": before}, config)

    def turn() -> None:
        graph.invoke({"chat": [{"role": "user", "content": say()}]}, config)

    return turn


# --- a list that grows by one large dict a turn


class Results(TypedDict):
    results: Annotated[list[Any], operator.add]


GROWN = 5
"""Turns of a step."""


def _growing(saver: Any, _: Sizes) -> Step:
    """Return the step of some turns, each of which adds a dict of about 20 KB to a list."""
    say = Texts(180)
    builder = StateGraph(Results)
    builder.add_node("search", lambda _: {"results": [_result(say)]})
    builder.add_edge(START, "search")
    graph, config = builder.compile(checkpointer=saver), _new_thread()

    def turns() -> None:
        for _ in range(GROWN):
            graph.invoke({"results": []}, config)

    return turns


def _result(say: Texts) -> dict[str, Any]:
    rows = [{"id": number, "title": say(), "score": number / 7, "tags": ["a", "b"]} for number in range(90)]
    return {"query": say(), "rows": rows}


# --- files, of which a turn changes one or none


class Folder(TypedDict):
    files: Annotated[dict[str, str], operator.or_]
    turn: int


def _files(*, edits: bool) -> MakeStep:
    def make(saver: Any, sizes: Sizes) -> Step:
        """Return the step of one turn with a channel of so many megabytes of files."""
        say = Texts(sizes.files_mb * 10**6 // FILES)

        def work(state: Folder) -> dict[str, Any]:
            turn = state["turn"]
            return {"turn": turn, "files": {f"{turn % FILES}.txt": say()}} if edits else {"turn": turn}

        builder = StateGraph(Folder)
        builder.add_node("work", work)
        builder.add_edge(START, "work")
        graph: Any = builder.compile(checkpointer=saver)
        config = _new_thread()
        graph.invoke({"turn": 0, "files": {f"{number}.txt": say() for number in range(FILES)}}, config)
        turns = iter(range(1, 10**6))

        def turn() -> None:
            graph.invoke({"turn": next(turns)}, config)

        return turn

    return make


# --- many channels


def _channels(saver: Any, _: Sizes) -> Step:
    """Return the step of a new thread of ten turns, each of which changes five of 50 channels."""
    say = Texts(200)
    names = [f"field_{number}" for number in range(CHANNELS)]
    builder = StateGraph(TypedDict("Fields", dict.fromkeys(names, str)))  # type: ignore[operator]
    builder.add_node("work", lambda _: {name: say() for name in names[:5]})
    builder.add_edge(START, "work")
    graph = builder.compile(checkpointer=saver)

    def thread() -> None:
        config = _new_thread()
        graph.invoke({name: say() for name in names}, config)
        for _ in range(9):
            graph.invoke({names[-1]: say()}, config)

    return thread


def _new_thread() -> Any:
    return {"configurable": {"thread_id": str(uuid.uuid4())}}


KINDS: Final[dict[str, tuple[MakeStep, Callable[[Sizes], int], int]]] = {
    "dicts": (_dicts, lambda sizes: sizes.dict_rounds, 1),
    "growing": (_growing, lambda sizes: sizes.grown_rounds, GROWN),
    "files": (_files(edits=True), lambda sizes: sizes.files_rounds, 1),
    "files-untouched": (_files(edits=False), lambda sizes: sizes.files_rounds, 1),
    "channels": (_channels, lambda sizes: sizes.channel_rounds, 10),
}
"""By kind: how its step is made, the number of rounds, and the turns of a step."""
