"""How a database is opened: by many at once, with what a stock saver left in it, and when it cannot be reached."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Barrier
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.base import BasePostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.backends.migrations import KNOWN_VERSION
from holdfast.checkpoints.backends.postgres.pool import is_quiet
from holdfast.checkpoints.errors import DatabaseUnavailable
from tests.support.children import Child, barrier, boot_and_talk
from tests.support.dialects import dialect_of
from tests.support.kit import change, checkpoint, echo_graph, put, rows, texts, thread
from tests.support.stock_kit import stock_saver
from tests.support.sweep import Sweep

Stock = Callable[[], AbstractContextManager[Any]]


@pytest.fixture
def stock(bare_url: str) -> Stock:
    """Opens the stock saver of the same database."""
    return lambda: stock_saver(bare_url)


def say(text: str) -> dict[str, Any]:
    return {"messages": [("user", text)]}


# --- many at once, and twice


@pytest.mark.sweep
def test_many_processes_open_the_same_empty_database_at_once(bare_url: str, sweep: Sweep) -> None:
    many = sweep(4, 8)
    gate = barrier(many)
    children = [Child(boot_and_talk, bare_url, number, gate) for number in range(many)]

    for child in children:
        assert child.result() == ["0", "You said: 0", "1", "You said: 1"]

    with open_checkpointer(bare_url) as saver:
        assert sorted(texts(saver)) == [f"word-{number}" for number in range(many)]
        assert rows(saver, "SELECT version FROM holdfast_schema ORDER BY version") == [
            (version,) for version in range(1, KNOWN_VERSION + 1)
        ]
        if dialect_of(bare_url) == "sqlite":
            assert rows(saver, "PRAGMA page_size") == [(4096,)]
            assert rows(saver, "PRAGMA journal_mode") == [("wal",)]


@pytest.mark.sweep
def test_eight_threads_open_the_same_empty_database_at_once(bare_url: str) -> None:
    def boot(number: int) -> list[str]:
        with open_checkpointer(bare_url) as saver:
            echo_graph(saver).invoke(say("one"), thread(f"t{number}"))
            return texts(saver, f"t{number}")

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(boot, range(8))) == [["one", "You said: one"]] * 8


def test_opening_again_changes_nothing(bare_url: str) -> None:
    with open_checkpointer(bare_url) as first, open_checkpointer(bare_url) as second:
        before = rows(first, "SELECT * FROM holdfast_schema")
        echo_graph(first).invoke(say("one"), thread())
        with open_checkpointer(bare_url) as third:
            assert rows(third, "SELECT * FROM holdfast_schema") == before
            assert texts(second) == texts(third) == ["one", "You said: one"]


def test_a_checkpointer_that_was_closed_can_be_opened_again(bare_url: str) -> None:
    saver = open_checkpointer(bare_url)
    for turn in range(2):
        with saver:
            echo_graph(saver).invoke(say(f"{turn}"), thread())
            assert texts(saver)[::2] == [f"{n}" for n in range(turn + 1)]
        saver.close()


# --- what a stock saver made


def setup_stock(saver: Any) -> Any:
    saver.setup()
    return saver


def test_a_stock_database_reads_as_before(bare_url: str, stock: Stock) -> None:
    with stock() as theirs:
        graph = echo_graph(setup_stock(theirs))
        for text in ("one", "two"):
            graph.invoke(say(text), thread())
        history = list(graph.get_state_history(thread()))

    with open_checkpointer(bare_url) as saver:
        mine = list(echo_graph(saver).get_state_history(thread()))

    assert [state.values for state in mine] == [state.values for state in history]
    assert [state.config for state in mine] == [state.config for state in history]
    assert [(state.metadata, state.next, state.parent_config) for state in mine] == [
        (state.metadata, state.next, state.parent_config) for state in history
    ]


def test_a_stock_database_that_holdfast_has_opened_still_serves_the_stock_saver(bare_url: str, stock: Stock) -> None:
    with stock() as theirs:
        echo_graph(setup_stock(theirs)).invoke(say("one"), thread())
    with open_checkpointer(bare_url) as saver:
        assert texts(saver) == ["one", "You said: one"]
    with stock() as theirs:
        echo_graph(setup_stock(theirs)).invoke(say("two"), thread())
        assert texts(theirs) == ["one", "You said: one", "two", "You said: two"]


def test_the_stock_saver_refuses_what_holds_message_rows(bare_url: str, stock: Stock) -> None:
    with open_checkpointer(bare_url) as saver:
        put(saver, thread("plain"), checkpoint([], note="n" * 500))
        echo_graph(saver).invoke(say("one"), thread())

    with stock() as theirs:
        setup_stock(theirs)
        with pytest.raises(NotImplementedError, match="holdfast-1"):
            theirs.get_tuple(thread())
        found = theirs.get_tuple(thread("plain"))
        assert found is not None, "what holds no message is theirs to read"
        assert found.checkpoint["channel_values"] == {"messages": [], "note": "n" * 500}


# What upstream makes, as far as this code was written for it. When a hash differs: read upstream's change, bring the
# statements in checkpoints/sql/ and the migration of upstream's tables in step with it (a CREATE INDEX CONCURRENTLY
# must still be found by its text), open a database made by the version before, and only then put the new hash here.
POSTGRES_MIGRATIONS = "73251d2dfecd0566"
SQLITE_TABLES = "7d564ac4f6973f79"


def digest(texts: list[str]) -> str:
    return hashlib.sha256("\0".join(" ".join(text.split()) for text in texts).encode()).hexdigest()[:16]


def test_the_migrations_of_the_stock_postgres_saver_are_those_this_was_written_for() -> None:
    assert digest(BasePostgresSaver.MIGRATIONS) == POSTGRES_MIGRATIONS


def test_the_tables_of_the_stock_sqlite_saver_are_those_this_was_written_for(tmp_path: Path) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "stock.db")) as theirs:
        theirs.setup()
        made = theirs.conn.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").fetchall()
    assert digest([sql for (sql,) in made]) == SQLITE_TABLES


TABLES_OF_LANGGRAPH = """
SELECT table_name, column_name, data_type, is_nullable, column_default
FROM information_schema.columns
WHERE table_schema = 'public' AND table_name LIKE 'checkpoint%'
ORDER BY table_name, ordinal_position"""
INDEXES = (  # but for ours
    "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename LIKE 'checkpoint%'"
    " AND indexname NOT LIKE 'holdfast%' ORDER BY 1"
)


def test_the_tables_are_those_that_the_stock_postgres_saver_would_have_made(postgres_url: str) -> None:
    def shape(saver: HoldfastSaver) -> list[Any]:
        versions = "SELECT v FROM checkpoint_migrations ORDER BY v"
        return [rows(saver, statement) for statement in (TABLES_OF_LANGGRAPH, INDEXES, versions)]

    with open_checkpointer(postgres_url) as saver:
        ours = shape(saver)
        tables = "checkpoints, checkpoint_blobs, checkpoint_writes, checkpoint_migrations"
        change(saver, f"DROP TABLE {tables}")
        with PostgresSaver.from_conn_string(postgres_url) as theirs:
            theirs.setup()
        assert shape(saver) == ours


# --- when the server does not answer


def terminate(url: str) -> None:
    """End all connections to a database, as a server does that restarts."""
    with psycopg.connect(url, autocommit=True) as admin:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
        assert admin.execute(others, [urlsplit(url).path[1:]]).fetchall()
        deadline = time.monotonic() + 5
        while len(admin.execute("SELECT 1 FROM pg_stat_activity WHERE datname = current_database()").fetchall()) > 1:
            assert time.monotonic() < deadline, "they have not ended"


def noticed(saver: HoldfastSaver) -> None:
    """Wait until the news has come to this end of the pool's connections."""
    deadline = time.monotonic() + 5
    while any(is_quiet(held.connection) for held in saver._backend._pool._idle):  # type: ignore[attr-defined]
        assert time.monotonic() < deadline, "the connections are not closed"


@pytest.mark.sweep
def test_the_pool_heals_when_the_server_has_closed_its_connection(postgres_url: str) -> None:
    with open_checkpointer(postgres_url) as saver:
        put(saver, thread(), checkpoint([HumanMessage("one")]))
        terminate(postgres_url)
        noticed(saver)

        put(saver, thread(), checkpoint([HumanMessage("two")]))
        assert texts(saver) == ["two"]


def test_the_pool_heals_when_all_of_it_was_closed(postgres_url: str) -> None:
    inside = Barrier(10, timeout=20)

    def read(saver: HoldfastSaver) -> None:
        with saver._backend.reading():
            inside.wait()

    with open_checkpointer(postgres_url) as saver, ThreadPoolExecutor(10) as pool:
        list(pool.map(read, [saver] * 10))
        terminate(postgres_url)
        noticed(saver)
        started = time.monotonic()
        assert texts(saver) == []
        assert time.monotonic() - started < 5, "the pool waited for its own back-off"


def test_a_connection_that_breaks_during_a_save_is_reported_and_nothing_is_saved(postgres_url: str) -> None:
    with open_checkpointer(f"{postgres_url}&timeout=0") as saver:  # else it would be repeated: test_outages
        put(saver, thread(), checkpoint([HumanMessage("one")]))

        def break_off(name: str) -> None:
            if name == "save_checkpoint":
                terminate(postgres_url)

        saver._backend.on_statement = break_off
        with pytest.raises(DatabaseUnavailable, match=r"The connection to .* failed: .* step was saved"):
            put(saver, thread(), checkpoint([HumanMessage("two")]))
        saver._backend.on_statement = None

        assert texts(saver) == ["one"]
        put(saver, thread(), checkpoint([HumanMessage("two")]))
        assert texts(saver) == ["two"]


@pytest.fixture
def silent_server() -> Iterator[int]:
    """The port of a server that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield listener.getsockname()[1]


@pytest.mark.sweep
def test_a_server_that_does_not_answer_is_reported_within_five_seconds(silent_server: int) -> None:
    saver = open_checkpointer(f"postgresql://ada:s3cret@127.0.0.1:{silent_server}/chat")
    started = time.monotonic()
    with pytest.raises(DatabaseUnavailable, match=f"ada:.*@127.0.0.1:{silent_server}/chat") as error:
        saver.open()
    assert time.monotonic() - started < 5
    assert "s3cret" not in everything_shown(error.value)


@pytest.mark.parametrize("options", ["", "?password=s3cret", "?connect_timeout=1&password=s3cret"])
def test_a_server_that_is_not_there_is_reported_without_the_password(options: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    saver = open_checkpointer(f"postgresql://ada:s3cret@127.0.0.1:{port}/chat{options}")

    with pytest.raises(
        DatabaseUnavailable, match=rf"(?s)127\.0\.0\.1:{port}/chat.*Needed: a server that answers"
    ) as error:
        saver.open()

    assert "s3cret" not in everything_shown(error.value) + repr(saver) + str(saver) + repr(vars(saver))
    assert "s3cret" not in repr(saver._backend._url) + str(saver._backend) + str(saver._backend._url)


def test_a_wrong_password_is_reported_without_it(postgres_url: str) -> None:
    url = postgres_url.replace("postgres:@", "stranger:s3cret@")
    assert "s3cret" in url
    with pytest.raises(DatabaseUnavailable, match="stranger") as error:
        open_checkpointer(url).open()
    assert "s3cret" not in everything_shown(error.value)


def test_a_file_that_is_not_a_database_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_text("these are not the tables that you are looking for " * 100)
    with pytest.raises(DatabaseUnavailable, match=r"notes\.db.*not a database"):
        open_checkpointer(f"sqlite:///{path}").open()
    assert path.read_text().startswith("these are not")


def test_a_folder_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match=r"nowhere/chat\.db.*folder"):
        open_checkpointer(f"sqlite:///{tmp_path}/nowhere/chat.db").open()


def everything_shown(error: BaseException | None) -> str:
    """Return the text that a traceback of the error would show, with its causes."""
    shown = ""
    while error is not None:
        shown += f"{error!r} {error}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return shown
