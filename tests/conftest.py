"""Databases for the tests: a SQLite file, a PostgreSQL server, and memory where it differs; without a row at first."""

from __future__ import annotations

import gc
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import scratch

if TYPE_CHECKING:
    # Imported where they are used: pytest-xdist's first process starts the workers, and needs none of it.
    import psycopg

    from holdfast.checkpoints import HoldfastSaver
    from tests.support.servers import Server
    from tests.support.sweep import Sweep

BACKENDS = ["sqlite", "postgres"]

_NOTES = pytest.StashKey[Path]()
"""The folder in which the workers tell each other what they share."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--sweep",
        action="store_true",
        help="run what the fast suite leaves out or only samples, in full: `make chaos`",
    )
    parser.addoption("--encrypted", action="store_true", help="encrypt every database that a test opens without keys")
    parser.addoption("--parts", type=int, help="partition the tables on PostgreSQL into so many parts")


def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, obj: object) -> list[pytest.Item] | None:
    """Make no item for each set of parameters of a test that no parameters bring into the fast suite."""
    from tests.support.sweep import is_left_out_whole

    config = collector.config
    left_out = not config.getoption("sweep") and not _names_a_test(config) and is_left_out_whole(collector.obj, obj)
    return [] if left_out else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _names_a_test(config):
        return
    from tests.support.sweep import choose

    kept = list(choose(items, swept=bool(config.getoption("sweep"))))
    chosen = set(kept)
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = kept


def _names_a_test(config: pytest.Config) -> bool:
    """Return whether the command line names a single test: it runs, whatever its marks."""
    return any("::" in word for word in config.args)


@pytest.fixture(autouse=True)
def _encrypted(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("encrypted"):
        from tests.support.encryption_kit import encrypt_everything

        encrypt_everything(request.getfixturevalue("monkeypatch"))


@pytest.fixture
def sweep(pytestconfig: pytest.Config) -> Sweep:
    swept = bool(pytestconfig.getoption("sweep"))
    return lambda sample, everything: everything if swept else sample


def pytest_configure(config: pytest.Config) -> None:
    gc.disable()  # while everything is imported
    given = getattr(config, "workerinput", {}).get("notes")
    if not given:
        scratch.enter()
    config.stash[_NOTES] = Path(given or tempfile.mkdtemp(prefix="holdfast-notes-"))
    if _only_starts_workers(config):
        _start_what_forks(config)
    else:
        from tests.support import forked
        from tests.support.repeated_work import spare_repeated_work
        from tests.support.sweep import load_profile

        if hasattr(config, "workerinput"):
            forked.join(config.workerinput["forked"])
        load_profile(swept=bool(config.getoption("sweep")))
        spare_repeated_work()


def _only_starts_workers(config: pytest.Config) -> bool:
    return bool(config.getoption("numprocesses")) and not hasattr(config, "workerinput")


def _start_what_forks(config: pytest.Config) -> None:
    from tests.support import forked, workers

    if config.args_source is config.ArgsSource.TESTPATHS and not config.getoption("sweep"):
        workers.fork_them()
    forked.share()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist where to look, and who forks its processes."""
    from tests.support import forked

    node.workerinput["notes"] = str(node.config.stash[_NOTES])
    node.workerinput["forked"] = forked.share()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers when the last worker has ended."""
    if not hasattr(config, "workerinput"):
        if list(config.stash[_NOTES].glob("*.url")):
            from tests.support.servers import stop_all

            stop_all(config.stash[_NOTES])
        shutil.rmtree(config.stash[_NOTES])


def pytest_collection_finish() -> None:
    """Leave what was imported out of every later search for garbage: a sixth of the time went there."""
    gc.freeze()  # with what is garbage already: to look for it takes longer than it is worth
    gc.enable()


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> Server:
    """The PostgreSQL server of all workers."""
    from tests.support.servers import shared

    with pytest.MonkeyPatch.context() as patch:
        # The locale that people have: the first test that needs the server may have taken it out of its environment.
        patch.setenv("LC_ALL", "C.UTF-8")
        return shared(pytestconfig.stash[_NOTES], "tests")


@pytest.fixture
def own_server(pytestconfig: pytest.Config) -> Iterator[Server]:
    """A server that no other test uses at the same time: it may be restarted, and its connections cut."""
    from tests.support.servers import locked, shared

    notes = pytestconfig.stash[_NOTES]
    with locked(notes / "own_server"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("LC_ALL", "C.UTF-8")
        yield shared(notes, "own")


@pytest.fixture(scope="session")
def postgres_database(postgres_server: Server, worker_id: str) -> str:
    """The URL of a database that the tests of this worker use one after the other, without tables in between."""
    return postgres_server.database(f"bare_{worker_id}")


@pytest.fixture(scope="session")
def postgres_database_with_tables(
    postgres_server: Server, worker_id: str, pytestconfig: pytest.Config
) -> tuple[str, list[Any]]:
    """URL and tables of a database that the tests of this worker use one after the other, without rows in between."""
    import psycopg

    from holdfast.checkpoints import open_checkpointer
    from tests.support.partitioned import partition

    url = postgres_server.database(f"made_{worker_id}")
    open_checkpointer(url).open().close()
    if parts := pytestconfig.getoption("--parts"):
        partition(url, parts)
    with psycopg.connect(url) as connection:
        return url, _schema(connection)


@pytest.fixture(scope="session")
def emptying() -> Iterator[Callable[[str], psycopg.Connection[Any]]]:
    """Gives the connection that empties a database after each test: a new one takes the server longer than the rest."""
    import psycopg

    from tests.support.servers import wait_until_alone

    connections: dict[str, psycopg.Connection[Any]] = {}

    def of(url: str) -> psycopg.Connection[Any]:
        try:
            connections[url].execute("SELECT 1")
        except (KeyError, psycopg.OperationalError):  # the first time, or the test has cut all connections
            connections[url] = psycopg.connect(url, autocommit=True, prepare_threshold=None)
        wait_until_alone(connections[url])
        return connections[url]

    yield of
    for connection in connections.values():
        connection.close()


@pytest.fixture
def postgres_url(postgres_database: str, emptying: Callable[[str], psycopg.Connection[Any]]) -> Iterator[str]:
    """The URL of an empty PostgreSQL database; when the test ends, no connection to it may be open."""
    yield postgres_database
    connection = emptying(postgres_database)
    # Ten times as fast as another database for each test.
    connection.execute("DROP SCHEMA public CASCADE")
    connection.execute("CREATE SCHEMA public")


@pytest.fixture
def postgres_url_with_tables(
    postgres_database_with_tables: tuple[str, list[Any]], emptying: Callable[[str], psycopg.Connection[Any]]
) -> Iterator[str]:
    """As `postgres_url`, of a database whose tables are there: to make them is most of what a short test costs.

    The tables are emptied. A copy of a database for each test takes four times as long, and deleting it ten times.
    """
    from holdfast.checkpoints import open_checkpointer

    url, schema = postgres_database_with_tables
    yield url
    connection = emptying(url)
    connection.execute("UPDATE holdfast_schema SET min_reader = 8 WHERE version = 10")  # more if it was encrypted
    if changed := _schema(connection) != schema:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
        open_checkpointer(url).open().close()
    assert not changed, "a test that changes the schema needs `postgres_url` or `bare_url`"
    _empty(connection, [name for (name,) in schema[0]])


@pytest.fixture(scope="session")
def new_postgres_database(postgres_server: Server, worker_id: str) -> Callable[..., str]:
    """Makes a database: an empty one, or a copy of the one whose URL it is given. Gives its URL."""
    from psycopg.conninfo import conninfo_to_dict

    numbers = count()

    def new(original: str = "") -> str:
        template = conninfo_to_dict(original)["dbname"] if original else "template1"
        return postgres_server.database(f"new_{worker_id}_{next(numbers)}", str(template))

    return new


def _schema(connection: psycopg.Connection[Any]) -> list[Any]:
    """The tables that a test may write to, and what the others say: which migrations were made."""
    notes = {"checkpoint_migrations": "v", "holdfast_schema": "version, name"}
    others = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> ALL(%s) ORDER BY 1"
    tables = connection.execute(others, [list(notes)]).fetchall()
    said = (f"SELECT {columns} FROM {note} ORDER BY 1" for note, columns in notes.items())
    return [tables, *(connection.execute(statement).fetchall() for statement in said)]


_emptied = count(1)


def _empty(connection: psycopg.Connection[Any], tables: list[str]) -> None:
    """Delete all rows, and let what was deleted not slow down the tests that follow."""
    sizes = " UNION ALL ".join(f"SELECT '{table}', pg_relation_size('{table}')" for table in tables)
    if used := [table for table, size in connection.execute(sizes).fetchall() if size]:
        for table in used:
            connection.execute(f"DELETE FROM {table}")
        if not next(_emptied) % 10:
            connection.execute(f"VACUUM {', '.join(used)}")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'holdfast.db'}"


@pytest.fixture(scope="session")
def sqlite_file_with_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from holdfast.checkpoints import open_checkpointer

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
    """The URL of a database with tables and without a row in them, once for each backend."""
    return _with_tables(request, request.param)


@pytest.fixture(params=BACKENDS)
def shared_url(request: pytest.FixtureRequest) -> str:
    """As `url`, for a test of several processes in a module whose `url` is memory as well."""
    return _with_tables(request, request.param)


@pytest.fixture(params=["memory", *BACKENDS])
def every_url(request: pytest.FixtureRequest) -> str:
    """As `url`, and memory: it is SQLite, but its readers and writers share one connection."""
    return "memory://" if request.param == "memory" else _with_tables(request, request.param)


@pytest.fixture(params=BACKENDS)
def bare_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database without tables, once for each backend."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def dialect(url: str) -> str:
    """Return the SQL dialect of the database at `url`: "sqlite" or "postgres"."""
    return "postgres" if url.startswith("postgres") else "sqlite"


@pytest.fixture
def saver(url: str) -> Iterator[HoldfastSaver]:
    """An open checkpointer on an empty database, once for each backend."""
    from holdfast.checkpoints import open_checkpointer

    with open_checkpointer(url) as saver:
        yield saver


@pytest.fixture
def other(saver: HoldfastSaver, url: str) -> Iterator[HoldfastSaver]:
    """The same database, as another process has it (memory has only one)."""
    if url == "memory://":
        yield saver
        return
    from holdfast.checkpoints import open_checkpointer

    with open_checkpointer(url) as other:
        yield other


def _with_tables(request: pytest.FixtureRequest, backend: str) -> str:
    found: str = request.getfixturevalue(f"{backend}_url_with_tables")
    return found
