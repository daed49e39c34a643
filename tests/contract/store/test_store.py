"""Long-term memory is LangGraph's own store, on the database of the conversations, for both kinds of callers."""

from __future__ import annotations

import json
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage
from langgraph.config import get_store
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.base import BaseStore, GetOp, InvalidNamespaceError, ListNamespacesOp, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore
from langgraph.store.postgres import PostgresStore
from langgraph.store.sqlite import SqliteStore

from holdfast import Conversation, HoldfastStore, build_graph, open_checkpointer, open_store
from holdfast.checkpoints.errors import DatabaseUnavailable, NotOpen
from tests.support import poolers
from tests.support.children import Child, barrier, remember
from tests.support.graph_kit import ScriptedModel, calls, says
from tests.support.kit import texts
from tests.support.outages import wired

FACTS = ("ada", "facts")


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = "memory://" if request.param == "memory" else request.getfixturevalue(f"{request.param}_url")
    return found


def embedded(texts: list[str]) -> list[list[float]]:
    """Embed texts: those about apples are alike."""
    return [[1.0, 0.0] if "apple" in text else [0.0, 1.0] for text in texts]


def use(store: BaseStore) -> list[Any]:
    """Use every operation of a store, and return what it answers, without the times."""
    store.put(FACTS, "a", {"text": "likes apples", "rank": 1, "ok": True})
    store.put(FACTS, "b", {"text": "likes pears", "rank": 2, "ok": None})
    store.put(("ada", "mails", "old"), "a", {"rank": 3})
    store.put(("adam", "facts"), "a", {"rank": 1})
    store.put(FACTS, "b", {"text": "likes plums", "rank": 2, "ok": None})
    store.put(("adam", "facts"), "b", {"rank": 1})  # the store in memory lists namespaces that have become empty
    store.put(("adam", "gone"), "x", {"rank": 1})
    store.put(("adam", "gone"), "y", {"rank": 1})
    store.delete(("adam", "gone"), "x")
    found = store.batch(
        [
            GetOp(FACTS, "a"),
            PutOp(FACTS, "c", {"rank": 9}),
            GetOp(FACTS, "none"),
            SearchOp(("ada",), filter={"rank": {"$gte": 2}}),
            PutOp(("adam", "facts"), "a", None),
            ListNamespacesOp(max_depth=2),
        ]
    )
    item, _, none, hits, _, namespaces = found
    return [
        (item.namespace, item.key, item.value),
        none,
        sorted((hit.namespace, hit.key, hit.value["rank"]) for hit in hits),
        sorted(namespaces),
        [hit.key for hit in store.search(FACTS, filter={"text": "likes plums"})],
        (len(store.search(FACTS, limit=2)), len(store.search(FACTS, limit=2, offset=2))),
        store.get(("adam", "gone"), "x"),
        sorted(store.list_namespaces(prefix=("*", "facts"))),
        store.list_namespaces(suffix=("old",)),
        store.get(("adam", "facts"), "a"),
    ]


def test_each_operation_answers_as_langgraphs_own_store(url: str) -> None:
    with open_store(url) as store:
        assert use(store) == use(InMemoryStore())
        with pytest.raises(InvalidNamespaceError):
            store.put(("a.b",), "k", {})


def test_langgraphs_own_stores_read_what_was_put_and_write_what_is_read(sqlite_url: str, postgres_url: str) -> None:
    path = sqlite_url.removeprefix("sqlite:///")
    stock: list[tuple[str, Any]] = [
        (sqlite_url, lambda: SqliteStore.from_conn_string(path)),
        (postgres_url, lambda: PostgresStore.from_conn_string(postgres_url)),
    ]
    for url, opened in stock:
        with open_store(url) as ours:
            ours.put(FACTS, "a", {"rank": 1})
        with opened() as theirs:
            theirs.setup()
            assert theirs.get(FACTS, "a").value == {"rank": 1}
            theirs.put(FACTS, "b", {"rank": 2})
        with open_store(url) as ours:
            assert [ours.get(FACTS, key).value["rank"] for key in "ab"] == [1, 2]  # type: ignore[union-attr]


async def test_one_object_serves_event_loops_and_threads(url: str) -> None:
    async with open_store(url) as store:
        await store.aput(FACTS, "a", {"rank": 1})
        assert store.get(FACTS, "a") == await store.aget(FACTS, "a")
        assert [item.key for item in await store.asearch(("ada",))] == ["a"]
        await store.adelete(FACTS, "a")
        assert await store.asearch(()) == []


def test_a_graph_has_its_conversations_and_its_memory_in_one_database(sqlite_url: str) -> None:
    def note(state: MessagesState) -> dict[str, Any]:
        store = get_store()
        known = store.get(FACTS, "last")
        store.put(FACTS, "last", {"text": state["messages"][-1].text})
        return {"messages": [AIMessage(known.value["text"] if known else "new")]}

    builder = StateGraph(MessagesState)
    builder.add_node("note", note)
    builder.add_edge(START, "note")
    with open_checkpointer(sqlite_url) as checkpointer, open_store(sqlite_url) as store:
        graph = builder.compile(checkpointer=checkpointer, store=store)
        for thread_id, expected in (("t-1", "new"), ("t-2", "first")):
            config: Any = {"configurable": {"thread_id": thread_id}}
            assert graph.invoke({"messages": [("user", "first")]}, config)["messages"][-1].text == expected


def test_a_tool_of_the_agent_reads_the_memory_of_its_user(sqlite_url: str) -> None:
    def recall() -> str:
        """Recall what the user drinks."""
        found = get_store().get(FACTS, "drink")
        return "nothing" if found is None else str(found.value["text"])

    model = ScriptedModel(lines=[calls(("recall", {})), says("Tea.")])
    with open_checkpointer(sqlite_url) as checkpointer, open_store(sqlite_url) as store:
        store.put(FACTS, "drink", {"text": "tea"})
        agent = build_graph(model=model, tools=[recall], checkpointer=checkpointer, store=store)
        Conversation(agent, "ada-1", user_id="ada").send("What do I drink?")
        assert texts(checkpointer, "ada-1") == ["What do I drink?", "", "tea", "Tea."]


def test_items_are_found_by_meaning(postgres_url: str) -> None:
    for url in ("memory://", postgres_url):
        with open_store(url, index={"dims": 2, "embed": embedded, "fields": ["text"]}) as store:
            store.put(FACTS, "a", {"text": "an apple"})
            store.put(FACTS, "b", {"text": "a pear"})
            assert [item.key for item in store.search(FACTS, query="apples")] == ["a", "b"]
        with open_store(url) as store:  # the tables are as they were
            assert store.get(FACTS, "none") is None


def test_a_python_that_loads_no_extensions_is_told_what_an_index_needs(sqlite_url: str) -> None:
    if hasattr(sqlite3.Connection, "enable_load_extension"):
        pytest.skip("this Python loads extensions")
    with pytest.raises(DatabaseUnavailable, match="Use PostgreSQL or memory://"):
        open_store(sqlite_url, index={"dims": 2, "embed": embedded}).open()


def test_an_index_with_a_coroutine_function_is_refused() -> None:
    async def embed(texts: list[str]) -> list[list[float]]:
        return embedded(texts)

    with pytest.raises(ValueError, match="coroutine function"):
        open_store("memory://", index={"dims": 2, "embed": embed})


def test_items_whose_time_is_over_are_swept(sqlite_url: str) -> None:
    with open_store(sqlite_url, ttl={"default_ttl": 60, "refresh_on_read": True}) as store:
        store.put(FACTS, "stays", {})
        store.put(FACTS, "goes", {}, ttl=-1)
        assert store.get(FACTS, "stays", refresh_ttl=True) is not None
        assert (store.sweep_ttl(), [item.key for item in store.search(FACTS)]) == (1, ["stays"])
    with pytest.raises(ValueError, match="time to live"):
        open_store("memory://", ttl={"default_ttl": 1})


def test_a_batch_that_fails_changes_nothing(sqlite_url: str) -> None:
    with open_store(sqlite_url) as store:
        store.put(FACTS, "a", {"rank": 1})
        with pytest.raises(TypeError):
            store.batch([PutOp(FACTS, "a", None), PutOp(FACTS, "b", {"what": object()})])
        assert [item.key for item in store.search(FACTS)] == ["a"]


@pytest.mark.sweep
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_processes_that_begin_at_once_make_the_tables_once_and_lose_nothing(
    kind: str, request: pytest.FixtureRequest
) -> None:
    url, together = request.getfixturevalue(f"{kind}_url"), barrier(3)
    children = [Child(remember, url, name, together) for name in "abc"]
    assert [child.result() for child in children] == [20, 20, 20]
    with open_store(url) as store:
        assert len(store.search((), limit=100)) == 60


def test_threads_use_a_store_while_conversations_are_written(sqlite_url: str) -> None:
    with open_store(sqlite_url) as store, open_checkpointer(sqlite_url) as saver, ThreadPoolExecutor(4) as threads:

        def work(number: int) -> None:
            saver.threads.add(f"t-{number}", [("user", "hello")])
            store.put(("n",), str(number), {"number": number})

        list(threads.map(work, range(20)))
        assert len(store.search(("n",), limit=100)) == 20


def test_a_user_is_erased_and_nothing_of_another(url: str) -> None:
    with open_store(url) as store:
        others = [("adam",), ("Ada", "facts"), ("team", "ada"), ("ad", "a"), ("a%a", "x"), ("a_a", "x")]
        for namespace in [("ada",), FACTS, ("ada", "a", "b"), *others]:
            store.put(namespace, "k", {"text": "tea"})
        told = [item.dict() for item in store.user_items("ada")]
        assert [one["namespace"] for one in json.loads(json.dumps(told))] == [["ada"], ["ada", "a", "b"], [*FACTS]]
        assert (told[0]["value"], store.user_items("a.b"), len(store.user_items("a_a"))) == ({"text": "tea"}, [], 1)
        assert store.erase_user("ada.facts") == 0  # no label has a full stop
        assert (store.erase_user("ada"), store.erase_user("ada"), store.erase_user("")) == (3, 0, 0)
        assert store.erase_user("a_a") == 1
        left = {item.namespace for item in store.search((), limit=100)}
        assert left == set(others) - {("a_a", "x")}


def test_a_schema_has_a_memory_of_its_own(postgres_url: str) -> None:
    with open_store(f"{postgres_url}&schema=chat") as chat, open_store(postgres_url) as plain:
        chat.put(FACTS, "a", {"rank": 1})
        assert (plain.get(FACTS, "a"), [item.key for item in chat.search(FACTS)]) == (None, ["a"])
        assert chat.erase_user("ada") == 1
    with psycopg.connect(postgres_url) as connection:
        connection.execute("DROP SCHEMA chat CASCADE")


def test_a_role_that_may_make_no_tables_uses_those_that_are_there(postgres_url: str) -> None:
    with open_store(postgres_url) as store, psycopg.connect(postgres_url, autocommit=True) as connection:
        store.put(FACTS, "a", {"rank": 1})
        connection.execute("CREATE ROLE memory_reader LOGIN")
        connection.execute("GRANT USAGE ON SCHEMA public TO memory_reader")
        connection.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO memory_reader")
        try:
            with open_store(postgres_url.replace("postgres:@", "memory_reader:@")) as theirs:
                assert theirs.get(FACTS, "a") is not None
        finally:
            connection.execute("DROP OWNED BY memory_reader")
            connection.execute("DROP ROLE memory_reader")


@pytest.mark.sweep
@pytest.mark.skipif(poolers.missing() is not None, reason=str(poolers.missing()))
def test_memory_works_behind_a_pooler(postgres_url: str) -> None:
    with poolers.pgbouncer(postgres_url, size=2) as url, open_store(url) as store, ThreadPoolExecutor(4) as threads:

        def work(number: int) -> int:
            store.put(("n",), str(number), {"number": number})
            found = store.get(("n",), str(number))
            return -1 if found is None else int(found.value["number"])

        assert list(threads.map(work, range(40))) == [*range(40)]


def test_a_server_that_closes_the_connections_costs_nothing(postgres_url: str) -> None:
    with wired(postgres_url) as (wire, url), open_store(url) as store:
        store.put(FACTS, "a", {"rank": 1})
        wire.cut()
        assert store.get(FACTS, "a") is not None


def test_no_error_shows_the_password(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable) as caught:
        open_store("postgresql://ada:s3cret-word@127.0.0.1:1/none?timeout=0").open()
    assert "s3cret-word" not in str(caught.value)
    with pytest.raises(DatabaseUnavailable, match="Needed: a file"):
        open_store(f"sqlite:///{tmp_path}").open()


def test_a_file_that_another_process_holds_is_one_clear_error(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path}/a.db?timeout=0") as store:
        with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(DatabaseUnavailable, match="Look for another process"):
                store.put(FACTS, "a", {})
        store.put(FACTS, "a", {})


def test_a_store_opens_with_its_first_use_and_stays_closed_after_its_end(sqlite_url: str) -> None:
    store = open_store(sqlite_url)
    store.put(FACTS, "a", {})
    with store:  # takes over
        assert store.get(FACTS, "a") is not None
        with pytest.raises(NotOpen, match="open already"):
            store.open()
    with pytest.raises(NotOpen, match="open_store"):
        store.get(FACTS, "a")
    with store:
        assert store.get(FACTS, "a") is not None


def read_inherited(store: HoldfastStore) -> str:
    """Use a store of the parent, in a fork."""
    try:
        store.get(FACTS, "a")
    except NotOpen as error:
        return str(error)
    return "read"


def test_a_fork_does_not_use_the_connections_of_its_parent(sqlite_url: str) -> None:
    with open_store(sqlite_url) as store:
        receive, send = os.pipe()
        if not os.fork():
            os.write(send, read_inherited(store).encode())
            os._exit(0)
        os.wait()
        assert b"forked from it" in os.read(receive, 1000)
        os.close(receive)
        os.close(send)
