"""Long-term memory on the command line: counted, copied and erased with the conversations."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta

import psycopg
import pytest
from langgraph.store.base import Item

from holdfast import open_store
from holdfast.checkpoints import open_checkpointer
from tests.support.cli_kit import Cli
from tests.support.kit import say

HERE = "sqlite:///here.db"

FACTS = ("ada", "facts")
VALUE = {
    "text": "tea & “milk”",
    "rank": 1e16,
    "many": 12345678901234567890,
    "ok": True,
    "parts": [None, {"b": 1, "a": 2}],
}


@pytest.fixture
def talked(cli: Cli) -> Cli:
    """The command, in a folder with a database of one conversation."""
    with open_checkpointer(HERE) as saver:
        say(saver, "hello", thread_id="ada-1")
    return cli


def remember(url: str) -> None:
    with open_store(url) as store:
        store.put(FACTS, "a", VALUE)
        store.put(("ada",), "b", {"n": 1}, ttl=90)
        store.put(("adam", "facts"), "a", {"n": 2})


def stored(url: str) -> dict[tuple[str, ...], Item]:
    with open_store(url) as store:
        return {(*item.namespace, item.key): item for item in store.search((), limit=1000)}


def in_utc(moment: datetime) -> datetime:
    """The time without its offset: LangGraph's store on SQLite gives none."""
    return (moment - (moment.utcoffset() or timedelta(0))).replace(tzinfo=None)


@pytest.mark.sweep(on="postgres")
@pytest.mark.parametrize("there", ["sqlite", "postgres"])
def test_a_copy_takes_memory_along_with_its_times(talked: Cli, there: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(f"{there}_url")
    remember(HERE)
    code, out, err = talked("db", "copy", HERE, url)
    assert (code, err, out.splitlines()[1]) == (0, "", "3 items of long-term memory copied.")
    before, after = stored(HERE), stored(url)
    assert {key: item.value for key, item in after.items()} == {key: item.value for key, item in before.items()}
    for key, item in before.items():
        assert in_utc(after[key].created_at) == in_utc(item.created_at)
        assert in_utc(after[key].updated_at) == in_utc(item.updated_at)
    code, out, err = talked("db", "copy", HERE, url)
    assert (code, out.splitlines()[1]) == (0, "0 items of long-term memory copied. 3 were there already.")
    # And back: nothing differs for having been there.
    code, out, _ = talked("db", "copy", url, HERE, "--json")
    assert (code, json.loads(out)["memory"]) == (0, {"copied": 0, "there": 3, "problems": {}, "left_vectors": False})


@pytest.mark.sweep
def test_the_time_to_live_is_copied(talked: Cli, postgres_url: str) -> None:
    remember(HERE)
    talked("db", "copy", HERE, postgres_url)
    with psycopg.connect(postgres_url) as connection, closing(sqlite3.connect("here.db")) as here:
        [(text,)] = here.execute("SELECT expires_at FROM store WHERE ttl_minutes = 90").fetchall()
        found = connection.execute("SELECT expires_at FROM store WHERE ttl_minutes = 90").fetchone()
    assert found is not None
    assert abs(in_utc(found[0]) - in_utc(datetime.fromisoformat(text))) < timedelta(milliseconds=1)


def test_an_item_that_differs_stays_in_the_target_and_is_told(talked: Cli, sqlite_url: str) -> None:
    remember(HERE)
    with open_store(sqlite_url) as store:
        store.put(FACTS, "a", {"text": "coffee"})
    code, out, err = talked("db", "copy", HERE, sqlite_url)
    assert (code, out.splitlines()[1]) == (1, "2 items of long-term memory copied. Not copied: 1 item.")
    assert "Not copied: item ('ada', 'facts') 'a': The target has another value" in err
    assert stored(sqlite_url)[(*FACTS, "a")].value == {"text": "coffee"}


@pytest.mark.sweep
def test_what_the_target_cannot_hold_is_told_and_the_rest_is_copied(talked: Cli, postgres_url: str) -> None:
    with open_store(HERE) as store:
        store.put(FACTS, "nul", {"text": "a\0b"})
        store.put(FACTS, "z", {"text": "fine"})
    code, out, err = talked("db", "copy", HERE, postgres_url)
    assert (code, out.splitlines()[1]) == (1, "1 item of long-term memory copied. Not copied: 1 item.")
    assert "item ('ada', 'facts') 'nul': PostgreSQL cannot hold" in err


def test_single_conversations_are_copied_without_memory(talked: Cli, sqlite_url: str) -> None:
    remember(HERE)
    code, out, _ = talked("db", "copy", HERE, sqlite_url, "--thread=ada-1")
    assert (code, "memory" in out, stored(sqlite_url)) == (0, False, {})


@pytest.mark.sweep
def test_many_items_are_copied_page_by_page(talked: Cli, sqlite_url: str) -> None:
    with open_store(HERE) as store:
        for number in range(450):
            store.put(("n", f"{number % 7}"), str(number), {"number": number})
    assert "450 items of long-term memory copied." in talked("db", "copy", HERE, sqlite_url)[1]
    assert len(stored(sqlite_url)) == 450


def test_statistics_count_the_items(talked: Cli) -> None:
    assert "memory" not in talked("db", "stats", f"--database={HERE}")[1]
    remember(HERE)
    assert "3 items of long-term memory\n" in talked("db", "stats", f"--database={HERE}")[1]
    assert json.loads(talked("db", "stats", f"--database={HERE}", "--json")[1])["items"] == 3


@pytest.mark.sweep(on="postgres")
def test_deleting_a_user_erases_the_users_memory_and_no_others(
    cli: Cli, bare_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = bare_url
    remember(url)
    at = f"--database={url}"
    code, out, _ = cli("threads", "delete", "--user=ada", "--dry-run", at)
    assert (code, out) == (
        0,
        "2 items of long-term memory would be deleted. Nothing was deleted.\n",
    )
    assert json.loads(cli("threads", "delete", "--user=ada", "--dry-run", "--json", at)[1])["items"] == 2
    cli("threads", "delete", "--user=ada", "--until=2100-01-01", "--yes", at)
    assert len(stored(url)) == 3
    monkeypatch.setattr("builtins.input", lambda: "n")
    assert "Delete 2 items of long-term memory for good?" in cli("threads", "delete", "--user=ada", at)[2]
    assert len(stored(url)) == 3
    code, out, _ = cli("threads", "delete", "--user=ada", "--yes", "--json", at)
    assert json.loads(out) == {"deleted": [], "messages": 0, "failed": {}, "items": 2}
    assert list(stored(url)) == [("adam", "facts", "a")]


def test_a_user_whose_id_has_a_full_stop_is_told_that_no_memory_has_that_name(cli: Cli) -> None:
    remember(HERE)
    code, out, err = cli("threads", "delete", "--user=ada.facts", "--yes", f"--database={HERE}")
    assert (code, out, "No namespace of long-term memory can begin with 'ada.facts'" in err) == (
        0,
        "No conversations deleted.\n",
        True,
    )
    assert len(stored(HERE)) == 3


def test_a_table_of_another_program_is_not_taken_for_memory(talked: Cli) -> None:
    with closing(sqlite3.connect("here.db")) as shop:
        shop.execute("CREATE TABLE store (town TEXT)")
    assert "memory" not in talked("db", "stats", f"--database={HERE}")[1]
    assert "memory" not in talked("threads", "delete", "--user=ada", "--yes", f"--database={HERE}")[1]


def test_a_deep_check_names_the_items_that_cannot_be_read(talked: Cli) -> None:
    remember(HERE)
    assert talked("db", "check", "--deep", f"--database={HERE}")[0] == 0
    with closing(sqlite3.connect("here.db")) as here, here:
        here.execute("UPDATE store SET value = '{\"n\":' WHERE prefix = 'ada'")
        here.execute("UPDATE store SET value = '[1]' WHERE prefix = 'adam.facts'")
    code, out, _ = talked("db", "check", "--deep", f"--database={HERE}")
    assert (code, "Everything can be loaded" in out) == (1, False)
    assert "The item ('ada',) 'b' of long-term memory cannot be read: its value is no JSON" in out
    assert "The item ('adam', 'facts') 'a' of long-term memory cannot be read: its value is a JSON list" in out
    facts = json.loads(talked("db", "check", "--deep", "--json", f"--database={HERE}")[1])
    assert sorted(facts["damaged_items"]) == ["('ada',) 'b'", "('adam', 'facts') 'a'"]


AGENT = """
from langchain_core.messages import AIMessage
from langgraph.config import get_store
from langgraph.graph import START, MessagesState, StateGraph

def reply(state):
    store = get_store()
    known = store.get(("ada", "facts"), "last")
    store.put(("ada", "facts"), "last", {"text": state["messages"][-1].text})
    return {"messages": [AIMessage(f"Before: {known.value['text']}" if known else "Hello.")]}

remembering = StateGraph(MessagesState).add_node("reply", reply).add_edge(START, "reply").compile()
"""


def test_an_agent_in_the_chat_has_the_memory_of_its_database(cli: Cli) -> None:
    (cli.folder / "remembering_agent.py").write_text(AGENT)
    words = ("chat", "--agent=remembering_agent:remembering", f"--database={HERE}")
    assert cli(*words, "--thread=one", said=b"I drink tea.\n")[:2] == (0, "Hello.\n")
    assert cli(*words, "--thread=two", said=b"Hi.\n")[:2] == (0, "Before: I drink tea.\n")
    assert stored(HERE)[(*FACTS, "last")].value == {"text": "Hi."}
