"""A pooler in transaction mode gives each transaction of a client another session of the server."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.messages import HumanMessage

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.errors import DatabaseUnavailable, DriverFault
from tests.support import poolers
from tests.support.kit import checkpoint, echo_graph, put, rows, texts, thread

pytestmark = [
    pytest.mark.sweep,  # PgBouncer is not everywhere, and not as steady as a test of every commit must be
    pytest.mark.skipif(poolers.missing() is not None, reason=str(poolers.missing())),
]


@pytest.fixture(params=[4, 1], ids=["four sessions", "one session"])
def pooled(request: pytest.FixtureRequest, postgres_url: str) -> Iterator[str]:
    with poolers.pgbouncer(postgres_url, size=request.param) as url:
        yield url


def test_threads_go_on_behind_a_pooler(pooled: str) -> None:
    with open_checkpointer(pooled) as saver, ThreadPoolExecutor(4) as threads:
        graph = echo_graph(saver)

        def talk(name: str) -> None:
            for number in range(3):  # psycopg would prepare a statement at its sixth use
                graph.invoke({"messages": [("user", f"{number}")]}, thread(name))

        list(threads.map(talk, [f"t{number}" for number in range(4)]))
        expected = [text for number in range(3) for text in (f"{number}", f"You said: {number}")]
        assert [texts(saver, f"t{number}") for number in range(4)] == [expected] * 4


def test_all_else_of_a_checkpointer_works_behind_a_pooler(pooled: str) -> None:
    with open_checkpointer(pooled) as saver:
        graph = echo_graph(saver)
        for number in range(3):
            graph.invoke({"messages": [("user", f"apples {number}")]}, thread("t"))
        for number in range(8):
            with saver.lease("t", wait=0):
                assert len(list(saver.list(thread("t")))) == 9
                saver.copy_thread("t", f"copy-{number}")
            assert [hit.thread_id for hit in saver.search.find("apples", thread_id="t")] == ["t"] * 6
            assert saver.interrupts.waiting() == []
            saver.prune([f"copy-{number}"])
            saver.delete_thread(f"copy-{number}")
        assert [entry.text for entry in saver.transcript("t") if hasattr(entry, "text")] == texts(saver, "t")


def test_several_processes_make_the_tables_behind_a_pooler(pooled: str) -> None:
    savers = [open_checkpointer(pooled) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(HoldfastSaver.open, savers))
    for saver in savers:
        saver.close()


def test_prepared_statements_behind_a_pooler_are_told_apart_from_a_server_that_is_away(pooled: str) -> None:
    def talk() -> None:
        for name in ("one", "two", "three"):  # each finds the statements of the others
            with open_checkpointer(f"{pooled}?prepare_threshold=0") as saver:
                for _ in range(8):
                    put(saver, thread(name), checkpoint([HumanMessage("hello")]))

    with pytest.raises(DriverFault, match=r"prepared statement.*Take prepare_threshold out of the URL") as raised:
        talk()
    assert not isinstance(raised.value, DatabaseUnavailable)


def test_nothing_is_prepared_behind_a_pooler_unless_the_url_says_so(pooled: str) -> None:
    with open_checkpointer(pooled) as saver:
        for _ in range(8):
            put(saver, thread("t"), checkpoint([HumanMessage("hello")]))
        assert rows(saver, "SELECT count(*) FROM pg_prepared_statements") == [(0,)]


def test_a_schema_is_used_behind_a_pooler(pooled: str) -> None:
    with open_checkpointer(f"{pooled}?schema=chat") as saver, open_checkpointer(pooled) as other:
        for number in range(4):
            put(saver, thread(f"t{number}"), checkpoint([HumanMessage("in chat")]))
            assert texts(other, f"t{number}") == []
        put(other, thread("t0"), checkpoint([HumanMessage("in public")]))
        assert texts(saver, "t0") == ["in chat"]
        assert rows(saver, "SELECT count(*) FROM public.holdfast_messages") == [(1,)]


def test_a_pooler_in_statement_mode_is_refused_when_it_is_opened(postgres_url: str) -> None:
    with (
        poolers.pgbouncer(postgres_url, mode="statement") as url,
        pytest.raises(DatabaseUnavailable, match=r"[Tt]ransaction"),
    ):
        open_checkpointer(url).open()
