"""Databases for the tests: memory, a SQLite file and a real PostgreSQL, new for every test."""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langgraph._internal import _serde
from psycopg.conninfo import conninfo_to_dict

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from tests.chaos.servers import server

BACKENDS = ["memory", "sqlite", "postgres"]
SHARED_BACKENDS = ["sqlite", "postgres"]
"""Those that several processes can open."""


def pytest_collection_finish() -> None:
    """Leave what was imported out of every later search for garbage: a sixth of the time went there."""
    gc.collect()
    gc.freeze()


# What the types in a state are made of, LangGraph reads anew for each graph: most of what it takes to make a small one.
_serde._safe_get_type_hints = cache(_serde._safe_get_type_hints)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server, for as long as the tests run."""
    # Not in pytest's own folder: every pytest that starts closes that one to other users, such as the one that the
    # server runs as when root starts it.
    # With the locale that people have: the first test that needs the server may have taken it out of its environment.
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LC_ALL", "C.UTF-8")
            found = stack.enter_context(server("holdfast-tests-"))
        yield found.url


@pytest.fixture(scope="session")
def postgres_database(postgres_server: str) -> str:
    """The URL of a database that the tests use one after the other, and that has no tables in between."""
    return _new_database(postgres_server, "bare")


@pytest.fixture(scope="session")
def postgres_database_with_tables(postgres_server: str) -> tuple[str, list[str]]:
    """URL and tables of a database that the tests use one after the other, and that has no rows in between."""
    url = _new_database(postgres_server, "made")
    with open_checkpointer(url), psycopg.connect(url) as connection:
        return url, _tables(connection)


@pytest.fixture
def postgres_url(postgres_database: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL database; when the test ends, nobody may still be connected to it."""
    yield postgres_database
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        _wait_until_alone(connection)
        # Ten times as fast as another database for each test.
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


@pytest.fixture
def postgres_url_with_tables(postgres_database_with_tables: tuple[str, list[str]]) -> Iterator[str]:
    """As `postgres_url`, of a database whose tables are there: to make them is most of what a short test costs."""
    url, tables = postgres_database_with_tables
    yield url
    with psycopg.connect(url, autocommit=True) as connection:
        _wait_until_alone(connection)
        assert _tables(connection) == tables, "a test that changes tables needs `postgres_url`"
        for table in tables:
            connection.execute(f"DELETE FROM {table}")
        connection.execute(f"VACUUM {', '.join(tables)}")  # what was deleted is not to slow down the tests that follow


@pytest.fixture(scope="session")
def new_postgres_database(postgres_server: str) -> Callable[..., str]:
    """Makes a database: an empty one, or a copy of the one whose URL it is given. Gives its URL."""
    numbers = count()

    def new(original: str = "") -> str:
        return _new_database(postgres_server, f"made_{next(numbers)}", original)

    return new


def _new_database(server: str, name: str, original: str = "") -> str:
    template = f" TEMPLATE {conninfo_to_dict(original)['dbname']}" if original else ""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}{template}")
    return server.replace("/postgres?", f"/{name}?")


def _tables(connection: psycopg.Connection[Any]) -> list[str]:
    """The tables but for those that say which migrations were made."""
    found = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        " AND tablename NOT IN ('checkpoint_migrations', 'holdfast_schema') ORDER BY 1"
    )
    return [name for (name,) in found.fetchall()]


def _wait_until_alone(connection: psycopg.Connection[Any]) -> None:
    """A session ends a moment after its client is gone."""
    deadline = time.monotonic() + 5
    while others := connection.execute(
        "SELECT pid, state, query FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    ).fetchall():
        assert time.monotonic() < deadline, f"Somebody is still connected: {others}"
        time.sleep(0.005)  # nothing tells when a session has ended, and asking on end would keep it from ending


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'holdfast.db'}"


@pytest.fixture(scope="session")
def sqlite_file_with_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "holdfast.db"
    with open_checkpointer(f"sqlite:///{path}"):
        return path


@pytest.fixture
def sqlite_url_with_tables(sqlite_url: str, sqlite_file_with_tables: Path, tmp_path: Path) -> str:
    """As `sqlite_url`, of a database whose tables are there: to copy them takes a tenth of the time to make them."""
    shutil.copyfile(sqlite_file_with_tables, tmp_path / "holdfast.db")
    return sqlite_url


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest) -> str:
    """The URL of a database without a row in it, once for each backend."""
    return "memory://" if request.param == "memory" else _url(request)


@pytest.fixture(params=SHARED_BACKENDS)
def stored_url(request: pytest.FixtureRequest) -> str:
    """`url` without memory, which is SQLite: for what does the same there and says nothing new."""
    return _url(request)


@pytest.fixture(params=SHARED_BACKENDS)
def shared_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database that several processes can open."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def saver(url: str) -> Iterator[HoldfastSaver]:
    """An open checkpointer on an empty database, once for each backend."""
    with open_checkpointer(url) as saver:
        yield saver


@pytest.fixture
def other(saver: HoldfastSaver, url: str) -> Iterator[HoldfastSaver]:
    """The same database, as another process has it (memory has only one)."""
    if url == "memory://":
        yield saver
        return
    with open_checkpointer(url) as other:
        yield other


def _url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(f"{request.param}_url_with_tables")
    return found
