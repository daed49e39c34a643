"""A PostgreSQL as its administrators have set it up: schemas, rights, defaults of roles, limits, a standby."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest
from langchain_core.messages import HumanMessage

from holdfast.checkpoints import HoldfastSaver, maintenance, open_checkpointer, urls
from holdfast.checkpoints.errors import DatabaseUnavailable, ReadOnlyDatabase
from holdfast.server.observed import HealthGate
from tests.support.kit import checkpoint, put, rows, say, texts, thread
from tests.support.roles import MAY_MAKE, MAY_USE, Run, work
from tests.support.servers import Server, standby_of

# --- schemas


def test_a_schema_of_the_url_is_made_and_holds_everything(postgres_url: str, run: Run) -> None:
    url = f"{postgres_url}&schema=my%20%22chat%22"
    try:
        assert not maintenance.read_schema(urls.parse(url)).is_there
        with open_checkpointer(url) as saver:
            work(saver)
            assert maintenance.collect_stats(saver.database).messages == 4
            assert rows(saver, "SELECT schemaname FROM pg_tables WHERE schemaname NOT LIKE ALL ('{pg_%,info%}')")
            assert {
                name
                for (name,) in rows(
                    saver,
                    "SELECT DISTINCT relnamespace::regnamespace::text FROM pg_class"
                    " WHERE relname LIKE 'holdfast%' OR relname LIKE 'checkpoint%'",
                )
            } == {'"my ""chat"""'}
        assert maintenance.read_schema(urls.parse(url)).is_there
        assert not maintenance.read_schema(urls.parse(postgres_url)).is_there
        maintenance.vacuum(urls.parse(url))
    finally:
        run('DROP SCHEMA "my ""chat""" CASCADE')


def test_a_schema_that_a_role_may_not_make_is_told(ada: str, run: Run) -> None:
    with pytest.raises(DatabaseUnavailable, match=r"permission denied for database.*Needed: .*schema 'chat'.*GRANT"):
        open_checkpointer(f"{ada}&schema=chat").open()
    run("CREATE SCHEMA chat AUTHORIZATION ada")
    with open_checkpointer(f"{ada}&schema=chat") as saver:
        work(saver)


def test_a_search_path_of_the_role_is_used(ada: str, run: Run) -> None:
    run("CREATE SCHEMA chat AUTHORIZATION ada", "ALTER ROLE ada SET search_path = chat")
    with open_checkpointer(ada) as saver:
        work(saver)
        assert rows(saver, "SELECT to_regclass('chat.holdfast_messages') IS NOT NULL") == [(True,)]


def test_a_search_path_without_a_schema_is_told(ada: str, run: Run) -> None:
    run("ALTER ROLE ada SET search_path = ''")
    with pytest.raises(DatabaseUnavailable, match=r"no schema has been selected.*Needed: the tables of Holdfast"):
        open_checkpointer(ada).open()


# --- rights


@pytest.mark.sweep
def test_a_role_that_may_not_make_tables_uses_those_that_are_there(postgres_url: str, ada: str, run: Run) -> None:
    with pytest.raises(DatabaseUnavailable, match=r"permission denied for schema public.*Needed:.*holdfast db upgrade"):
        open_checkpointer(ada).open()
    open_checkpointer(postgres_url).open().close()
    with pytest.raises(DatabaseUnavailable, match=r"permission denied for table.*GRANT"):
        open_checkpointer(ada).open()
    run(MAY_USE)
    with open_checkpointer(ada) as saver:
        work(saver)


def test_a_role_that_may_only_read_reads_and_is_told_what_it_needs(postgres_url: str, ada: str, run: Run) -> None:
    with open_checkpointer(postgres_url) as saver:
        say(saver, "apples")
    run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO ada")
    with open_checkpointer(ada) as saver:
        assert texts(saver) == ["apples", "You said: apples"]
        with pytest.raises(DatabaseUnavailable, match=r"permission denied for table.*rights for this role: GRANT"):
            say(saver, "pears")


# --- defaults of a role


@pytest.mark.sweep
@pytest.mark.parametrize("level", ["serializable", "repeatable read", "read committed"])
def test_every_default_isolation_level_serves_writers_at_once(ada: str, run: Run, level: str) -> None:
    run(
        MAY_MAKE,
        f"ALTER ROLE ada SET default_transaction_isolation = '{level}'",
        "ALTER ROLE ada SET default_transaction_deferrable = on",
    )
    savers = [open_checkpointer(ada) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(HoldfastSaver.open, savers))  # they make the tables at once
        try:
            list(threads.map(lambda saver: say(saver, *"abc", thread_id=f"t{id(saver)}"), savers))
            ids = [f"t{id(saver)}" for saver in savers]
            assert {len(texts(savers[0], name)) for name in ids} == {6}

            def leased(saver: HoldfastSaver) -> None:
                for _ in range(3):
                    with saver.lease("shared"):
                        say(saver, "again", thread_id="shared")

            list(threads.map(leased, savers))
            assert rows(savers[0], "SELECT max(seq) FROM holdfast_messages WHERE thread_id = 'shared'")
            assert len(savers[0].get_tuple(thread("shared")).checkpoint["channel_values"]["messages"]) == 13  # type: ignore[union-attr]
        finally:
            list(threads.map(HoldfastSaver.close, savers))


def test_settings_of_a_role_that_change_how_values_are_written_change_nothing(ada: str, run: Run) -> None:
    given = {
        "bytea_output": "escape",
        "DateStyle": "German",
        "IntervalStyle": "sql_standard",
        "TimeZone": "Asia/Kathmandu",
        "extra_float_digits": "-15",
        "client_encoding": "LATIN1",
        "idle_in_transaction_session_timeout": "1min",
        "quote_all_identifiers": "on",
    }
    run(MAY_MAKE, *(f"ALTER ROLE ada SET {name} = '{value}'" for name, value in given.items()))
    with open_checkpointer(ada) as saver:
        work(saver)
        put(saver, thread("u"), checkpoint([HumanMessage("漢字 é")], note="漢字 é"))
    with open_checkpointer(f"{ada}&client_encoding=latin1") as saver:
        assert texts(saver, "u") == ["漢字 é"]


# --- limits


def test_a_low_limit_of_idle_transactions_ends_nothing(ada: str, run: Run) -> None:
    run(MAY_MAKE, "ALTER ROLE ada SET idle_in_transaction_session_timeout = '1ms'")
    with open_checkpointer(ada) as saver:
        work(saver)
        assert rows(saver, "SELECT current_setting('idle_in_transaction_session_timeout')") == [("10s",)]


@pytest.mark.sweep
def test_a_statement_that_waited_too_long_for_a_lock_is_repeated(postgres_url: str, ada: str, run: Run) -> None:
    run(MAY_MAKE)
    for limit in ("statement_timeout", "lock_timeout"):
        run(f"ALTER ROLE ada SET {limit} = '50ms'")
        with open_checkpointer(ada) as saver, psycopg.connect(postgres_url) as other, ThreadPoolExecutor(1) as threads:
            say(saver, "one", thread_id=limit)
            other.execute("SELECT 1 FROM holdfast_threads WHERE thread_id = %s FOR UPDATE", [limit])
            waits = threads.submit(say, saver, "two", thread_id=limit)
            cancelled = "SELECT sum(xact_rollback) FROM pg_stat_database WHERE datname = current_database()"
            with psycopg.connect(postgres_url, autocommit=True) as watch:
                [(before,)] = watch.execute(cancelled).fetchall()
                while watch.execute(cancelled).fetchall()[0][0] < before + 2:
                    assert not waits.done()
                    watch.execute("SELECT pg_stat_clear_snapshot(), pg_sleep(0.01)")  # it gives no signal
            other.rollback()
            waits.result(20)
            assert texts(saver, limit) == ["one", "You said: one", "two", "You said: two"]
        run(f"ALTER ROLE ada RESET {limit}")


@pytest.mark.sweep
def test_a_statement_that_takes_too_long_is_told(ada: str, run: Run) -> None:
    run(MAY_MAKE, "ALTER ROLE ada SET statement_timeout = '100ms'")
    with open_checkpointer(ada) as saver, pytest.raises(DatabaseUnavailable, match="a higher limit for this role"):
        rows(saver, "SELECT pg_sleep(20)")


# --- servers that take no writes


def reads(saver: HoldfastSaver) -> None:
    assert texts(saver) == ["apples", "You said: apples"]
    assert len(list(saver.list(thread()))) == 3
    assert [found.thread_id for found in saver.threads.list().threads] == ["ada-1"]
    assert [getattr(entry, "text", None) for entry in saver.transcript("ada-1")] == texts(saver)
    assert saver.interrupts.waiting() == []
    assert maintenance.collect_stats(saver.database).threads == 1


NOT_READY = {"status": "not ready", "problem": "The database takes no writes."}


async def readiness(saver: HoldfastSaver) -> Any:
    """Return what a server over a checkpointer says of itself to a balancer."""

    async def find() -> HoldfastSaver:
        return saver

    async def behind(*_: object) -> None:
        raise AssertionError

    gate = HealthGate(behind, find, patience=30)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(gate), base_url="http://test") as http:
        return (await http.get("/readyz")).json()


@pytest.mark.sweep
def test_a_role_whose_transactions_are_read_only_reads(postgres_url: str, ada: str, run: Run) -> None:
    run(MAY_MAKE, "ALTER ROLE ada SET default_transaction_read_only = on")
    with pytest.raises(DatabaseUnavailable, match=r"read-only.*Needed: a server that takes writes, to make the tables"):
        open_checkpointer(ada).open()
    with open_checkpointer(postgres_url) as saver:
        say(saver, "apples")
    run(MAY_USE)
    with open_checkpointer(ada) as saver:
        reads(saver)
        assert asyncio.run(readiness(saver)) == NOT_READY
        for write in (
            lambda: say(saver, "pears"),
            lambda: saver.delete_thread("ada-1"),
            lambda: saver.lease("ada-1").__enter__(),
            lambda: saver.prune(["ada-1"]),
        ):
            with pytest.raises(ReadOnlyDatabase, match=r"takes no writes.*use the URL of the primary"):
                write()


@pytest.mark.sweep
def test_a_search_of_a_read_only_server_finds_what_is_in_its_index(
    postgres_url: str, ada: str, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    with open_checkpointer(postgres_url) as saver:
        say(saver, "apples")
        assert len(saver.search.find("apples")) == 2
        say(saver, "apples again")
    run(MAY_USE, "ALTER ROLE ada SET default_transaction_read_only = on")
    with open_checkpointer(ada) as saver:
        assert len(saver.search.find("apples")) == 2
    assert "newest messages are not found" in caplog.text


@pytest.mark.sweep
def test_a_standby_is_read_and_refuses_to_write(own_server: Server) -> None:
    url = own_server.database("primary_and_standby")
    with open_checkpointer(url) as saver:
        say(saver, "apples")
    with standby_of(own_server) as on_standby, open_checkpointer(on_standby(url)) as saver:
        reads(saver)
        assert asyncio.run(readiness(saver)) == NOT_READY
        with pytest.raises(ReadOnlyDatabase, match="It is a standby"):
            say(saver, "pears")
        with pytest.raises(ReadOnlyDatabase):
            saver.lease("ada-1").__enter__()
    with open_checkpointer(url) as saver:
        assert texts(saver) == ["apples", "You said: apples"]


# --- prepared statements


@pytest.mark.sweep
def test_statements_are_prepared_on_a_direct_connection_or_as_the_url_says(postgres_url: str) -> None:
    prepared = "SELECT count(*) > 3 FROM pg_prepared_statements"
    for option, is_prepared in (("", True), ("&prepare_threshold=0", True), ("&prepare_threshold=none", False)):
        with open_checkpointer(postgres_url + option) as saver:
            say(saver, *"abcdefgh", thread_id=f"thread {option}")
            assert rows(saver, prepared) == [(is_prepared,)]
