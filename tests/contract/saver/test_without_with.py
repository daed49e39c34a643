"""What code does around a stock saver: it makes one without `with`, calls `setup`, and gives it a serializer."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.errors import DatabaseUnavailable, NotOpen
from tests.support.kit import echo_graph, texts, thread


@pytest.fixture
def url(every_url: str) -> str:
    """Memory as well."""
    return every_url


@pytest.fixture
def unopened(url: str) -> Iterator[HoldfastSaver]:
    saver = open_checkpointer(url)
    yield saver
    saver.close()


@pytest.fixture
def openings(unopened: HoldfastSaver, monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """The threads in which the database was opened."""
    opened: list[threading.Thread] = []
    open_ = unopened._backend.open
    monkeypatch.setattr(unopened._backend, "open", lambda: (opened.append(threading.current_thread()), open_()))
    return opened


def say(text: str) -> dict[str, Any]:
    return {"messages": [("user", text)]}


async def listed(saver: HoldfastSaver) -> list[Any]:
    return [item async for item in saver.alist(thread())]


FIRST_USES: dict[str, Callable[[HoldfastSaver], Any]] = {
    "get_tuple": lambda saver: saver.get_tuple(thread()),
    "list": lambda saver: list(saver.list(thread())),
    "invoke": lambda saver: echo_graph(saver).invoke(say("one"), thread()),
    "ainvoke": lambda saver: asyncio.run(echo_graph(saver).ainvoke(say("one"), thread())),
    "aget_tuple": lambda saver: asyncio.run(saver.aget_tuple(thread())),
    "alist": lambda saver: asyncio.run(listed(saver)),
    "delete_thread": lambda saver: saver.delete_thread("ada-1"),
    "threads": lambda saver: saver.threads.list(),
    "interrupts": lambda saver: saver.interrupts.waiting(),
    "heads": lambda saver: saver.heads(),
    "setup": lambda saver: saver.setup(),
    "asetup": lambda saver: asyncio.run(saver.asetup()),
}


@pytest.mark.sweep(every=4)
@pytest.mark.parametrize("use", FIRST_USES)
def test_the_first_use_opens_the_database(unopened: HoldfastSaver, openings: list[Any], use: str) -> None:
    FIRST_USES[use](unopened)
    echo_graph(unopened).invoke(say("more"), thread("bob-1"))
    assert texts(unopened, "bob-1") == ["more", "You said: more"]
    assert len(openings) == 1


def test_threads_that_use_it_first_at_once_open_it_once(unopened: HoldfastSaver, openings: list[Any]) -> None:
    gate = threading.Barrier(8, timeout=30)

    def talk(number: int) -> list[str]:
        gate.wait()
        echo_graph(unopened).invoke(say("one"), thread(f"t{number}"))
        return texts(unopened, f"t{number}")

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(talk, range(8))) == [["one", "You said: one"]] * 8
    assert len(openings) == 1


@pytest.mark.sweep
async def test_tasks_that_use_it_first_at_once_open_it_once_and_off_the_loop(
    unopened: HoldfastSaver, openings: list[threading.Thread]
) -> None:
    graph = echo_graph(unopened)
    await asyncio.gather(*(graph.ainvoke(say("one"), thread(f"t{number}")) for number in range(20)))
    assert len(openings) == 1
    assert openings[0] is not threading.current_thread()


async def test_setup_can_be_awaited_and_does_not_block_the_loop(
    unopened: HoldfastSaver, openings: list[threading.Thread]
) -> None:
    await unopened.setup()
    await unopened.setup()
    assert len(openings) == 1
    assert openings[0] is not threading.current_thread()


def test_setup_inside_of_with_does_nothing(url: str) -> None:
    with open_checkpointer(url) as saver:
        saver.setup()
        asyncio.run(saver.asetup())
        echo_graph(saver).invoke(say("one"), thread())
        assert texts(saver) == ["one", "You said: one"]


async def test_setup_that_is_not_awaited_on_an_event_loop_harms_nothing(unopened: HoldfastSaver) -> None:
    unopened.setup()
    await echo_graph(unopened).ainvoke(say("one"), thread())
    assert await unopened.aget_tuple(thread()) is not None


def test_with_takes_over_what_the_first_use_has_opened(unopened: HoldfastSaver, openings: list[Any]) -> None:
    echo_graph(unopened).invoke(say("one"), thread())
    with unopened as saver:
        assert saver is unopened
        assert texts(saver) == ["one", "You said: one"]
        with pytest.raises(NotOpen, match="open already"):
            saver.open()
    assert len(openings) == 1

    with pytest.raises(NotOpen, match="was closed"):
        unopened.get_tuple(thread())
    with pytest.raises(NotOpen, match="was closed"):
        unopened.setup()
    with unopened:
        assert unopened.heads() is not None


async def test_async_with_takes_over_as_well(unopened: HoldfastSaver) -> None:
    await echo_graph(unopened).ainvoke(say("one"), thread())
    async with unopened as saver:
        assert await saver.aget_tuple(thread()) is not None
    with pytest.raises(NotOpen, match="was closed"):
        await unopened.aget_tuple(thread())
    with pytest.raises(NotOpen, match="was closed"):
        await unopened.setup()


def test_a_database_that_cannot_be_opened_is_reported_by_each_use_until_it_can(tmp_path: Path) -> None:
    saver = open_checkpointer(f"sqlite:///{tmp_path}/chats/holdfast.db")
    for use in (lambda: saver.get_tuple(thread()), saver.setup, lambda: asyncio.run(saver.asetup())):
        with pytest.raises(DatabaseUnavailable, match="Cannot open the SQLite database"):
            use()

    (tmp_path / "chats").mkdir()

    assert saver.get_tuple(thread()) is None
    saver.close()


# --- the end of the interpreter

TALK = """
import asyncio, os, sys
from holdfast import open_checkpointer
from tests.support.kit import echo_graph, texts, thread

saver = open_checkpointer(sys.argv[1])
graph = echo_graph(saver)
graph.invoke({"messages": [("user", "one")]}, thread())
asyncio.run(graph.ainvoke({"messages": [("user", "two")]}, thread()))
"""
FORK = """
if not os.fork():
    sys.exit()
os.wait()
"""


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("more", "warn"),
    [("", "error"), (FORK, "ignore")],
    ids=["alone", "after a fork"],
)
def test_it_is_closed_when_the_interpreter_exits(shared_url: str, more: str, warn: str) -> None:
    program = f"{TALK}{more}\nprint(texts(saver)[-1])"
    ended = subprocess.run(
        [sys.executable, "-W", f"{warn}::ResourceWarning", "-c", program, shared_url],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (ended.stdout, ended.stderr) == ("You said: two\n", "")
    if shared_url.startswith("sqlite"):
        file = Path(shared_url.removeprefix("sqlite:///"))
        assert not file.with_name(f"{file.name}-wal").exists(), "the last connection moves the log into the file"
    with open_checkpointer(shared_url) as saver:
        assert len(texts(saver)) == 4


# --- serde


@pytest.mark.parametrize("serde", [None, JsonPlusSerializer(), JsonPlusSerializer(allowed_msgpack_modules=True)])
def test_langgraphs_own_serializer_is_accepted(serde: Any) -> None:
    with open_checkpointer("memory://", serde=serde) as saver:
        assert not saver.database.types.strict
        echo_graph(saver).invoke(say("one"), thread())
        assert texts(saver) == ["one", "You said: one"]


@pytest.mark.parametrize("types", [[("tests.nowhere", "Plan")], None])
def test_the_types_that_a_serializer_is_limited_to_limit_holdfast(types: Any) -> None:
    saver = open_checkpointer("memory://", serde=JsonPlusSerializer(allowed_msgpack_modules=types))
    assert saver.database.types.strict
    assert saver.database.types.is_allowed("tests.nowhere", "Plan") == bool(types)


class Other(JsonPlusSerializer):
    pass


@pytest.mark.parametrize(
    ("serde", "reason"),
    [
        (JsonPlusSerializer(pickle_fallback=True), "pickle_fallback=True"),
        (EncryptedSerializer(None), "EncryptedSerializer"),  # type: ignore[arg-type]  # it is not used
        (Other(), "Other"),
        (object(), "builtins.object"),
    ],
)
def test_a_serializer_that_would_not_be_used_is_refused_at_once(serde: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"This serde cannot be used: .*{reason}.* Needed: no serde, or"):
        open_checkpointer("memory://", serde=serde)
