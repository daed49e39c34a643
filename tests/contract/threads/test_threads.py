"""The threads of a database as people manage them: the index, lists, names, deleting."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.types import Command

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.errors import InvalidCursor, InvalidThread, ThreadConflict, UnknownThread
from holdfast.checkpoints.threads import Page, Threads
from holdfast.checkpoints.threads.index import LONGEST_TITLE, given_title, title_of
from tests.support.children import approval_graph
from tests.support.index_kit import assert_counted, digest, of_run
from tests.support.kit import change, checkpoint, echo_graph, one_node, put, rows, texts, thread
from tests.support.shapes import patient
from tests.support.sweep import Sweep


def say(saver: HoldfastSaver, text: str, thread_id: str = "ada-1", **metadata: Any) -> None:
    echo_graph(saver).invoke({"messages": [("user", text)]}, of_run(thread_id, **metadata))


def ids(page: Page) -> list[str]:
    return [found.thread_id for found in page.threads]


def pages(threads: Threads, between: Callable[[list[str]], None] = lambda _: None, **asked: Any) -> list[str]:
    """The ids of a whole list, read page by page."""
    found: list[str] = []
    page = threads.list(**asked)
    while True:
        found += ids(page)
        if page.cursor is None:
            return found
        between(found)
        page = threads.list(cursor=page.cursor, **asked)


# --- what the index says


def test_the_index_says_whose_a_thread_is_and_what_was_said_in_it(saver: HoldfastSaver) -> None:
    say(saver, " Refund\x1b[31m\norder 1001, please ", user_id="ada", topic="orders", run_id="r-1")
    first = saver.threads.get("ada-1")
    assert (first.user_id, first.title, first.status) == ("ada", "Refund [31m order 1001, please", "idle")
    assert (first.messages, first.pending, first.metadata) == (2, 0, {"topic": "orders"})
    assert (first.origin_thread_id, first.origin_checkpoint_id) == (None, None)

    say(saver, "And 1002", user_id="grace", topic="refunds", region="north")
    second = saver.threads.get("ada-1")
    assert (second.user_id, second.title, second.messages) == ("ada", first.title, 4)
    assert second.metadata == {"topic": "refunds", "region": "north"}, "the last of each key"
    assert second.created_at == first.created_at <= first.updated_at <= second.updated_at
    assert second.bytes > first.bytes > 0
    assert second.checkpoint_id == saver.heads(thread_id="ada-1")[0].checkpoint_id
    assert rows(saver, "SELECT user_id, content FROM holdfast_transcript WHERE role = 'human' ORDER BY seq") == [
        ("ada", " Refund\x1b[31m\norder 1001, please "),
        ("grace", "And 1002"),
    ]
    assert_counted(saver)


async def test_the_status_says_what_a_thread_does(saver: HoldfastSaver) -> None:
    def fail(_: Any) -> dict[str, Any]:
        raise ZeroDivisionError

    asked = {"messages": [("user", "May I?")]}
    say(saver, "hello", "idle")
    await approval_graph(saver).ainvoke(asked, thread("paused"))
    approval_graph(saver).invoke(asked, thread("answered"))
    approval_graph(saver).invoke(Command(resume="yes"), thread("answered"))
    with pytest.raises(ZeroDivisionError):
        one_node(saver, fail).invoke(asked, thread("failed"))
    graph = one_node(saver, fail)
    graph.interrupt_before_nodes = ["fail"]
    graph.invoke(asked, thread("unfinished"))
    with saver.lease("idle", purpose="test"):
        assert saver.threads.get("idle").status == "running"
        assert ids(saver.threads.list(status="running")) == ["idle"]
    assert {found.thread_id: (found.status, found.pending) for found in saver.threads.list().threads} == {
        "idle": ("idle", 0),
        "paused": ("paused", 1),
        "answered": ("idle", 0),
        "failed": ("failed", 0),
        "unfinished": ("unfinished", 0),
    }
    for status in ("paused", "failed", "unfinished", "running"):
        assert ids(saver.threads.list(status=status)) == [status] * (status != "running")
    assert pages(saver.threads, status="idle", limit=1) == ["answered", "idle"]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        (" one\n\ttwo\x00\x07three ", "one two three"),
        ("", None),
        ("\n \x1b", None),
        ("👩‍👩‍👧 family", "👩‍👩‍👧 family"),
        ("x" * 200, "x" * (LONGEST_TITLE - 1) + "…"),
        ("word " * 50, " ".join(["word"] * 15) + "…"),
    ],
)
def test_a_title_is_the_first_words_in_one_line(text: str, title: str | None) -> None:
    assert title_of(text) == title


def test_a_thread_is_called_by_the_first_words_of_a_person(saver: HoldfastSaver) -> None:
    picture = [{"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}]
    for said in (AIMessage("Welcome!"), HumanMessage(picture), HumanMessage(" \n"), HumanMessage("A cat?")):
        echo_graph(saver).invoke({"messages": [said]}, thread())
    assert saver.threads.get("ada-1").title == "A cat?"
    assert saver.threads.rename("ada-1", "Mine").title == "Mine"
    assert saver.threads.rename("ada-1", None).title == "A cat?"


# --- lists


@pytest.fixture
def many(saver: HoldfastSaver) -> list[str]:
    """Threads of two users, the oldest first."""
    made = [f"t{number:02}" for number in range(12)]
    for number, thread_id in enumerate(made):
        said = checkpoint([HumanMessage(f"Order {number} of ÄDA" if number % 3 else "Hello", id="h")])
        put(saver, thread(thread_id), said, user_id="ada" if number % 2 else "grace")
    # Two may be saved in one millisecond.
    change(saver, "UPDATE holdfast_threads SET updated_at = 100 + CAST(substr(thread_id, 2) AS INTEGER)")
    return made


def write(saver: HoldfastSaver, thread_id: str) -> None:
    found = saver.get_tuple(thread(thread_id))
    assert found is not None
    put(saver, found.config, checkpoint([]))


def test_threads_are_listed_by_user_text_and_time(saver: HoldfastSaver, many: list[str]) -> None:
    threads = saver.threads
    newest = many[::-1]
    assert ids(threads.list()) == newest
    assert pages(threads, limit=5) == newest
    assert pages(threads, limit=2, user_id="ada") == [id_ for id_ in newest if int(id_[1:]) % 2]
    assert pages(threads, limit=2, text="of ädA") == [id_ for id_ in newest if int(id_[1:]) % 3]
    assert ids(threads.list(text="Order 1", user_id="ada")) == ["t11", "t01"]
    assert [threads.list(text=text).threads for text in ("%", "_rder", "\0?", "absent")] == [[], [], [], []]
    assert [threads.list(user_id=user).threads for user in ("", "bob", "\0", "\ud800")] == [[], [], [], []]
    at = threads.get("t05").updated_at
    assert ids(threads.list(since=at)) == many[:4:-1]
    assert ids(threads.list(until=at)) == many[4::-1]
    assert threads.list(since=at, until=at).threads == []
    change(saver, "UPDATE holdfast_threads SET updated_at = 7")
    assert pages(threads, limit=5) == newest, "of one moment: by their ids"


def test_paging_leaves_nothing_out_while_threads_are_written(saver: HoldfastSaver, many: list[str]) -> None:
    written: set[str] = set()

    def work(found: list[str]) -> None:
        for thread_id in (found[-1], many[len(written)]):  # one that was seen, and one that was not
            write(saver, thread_id)
            written.add(thread_id)
        put(saver, thread(f"new-{len(found)}"), checkpoint([]))

    found = pages(saver.threads, work, limit=3)
    assert len(found) == len(set(found)), "none comes twice"
    assert [id_ for id_ in found if id_ not in written] == [id_ for id_ in many[::-1] if id_ not in written]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=4)
)
forged = values.map(lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode())


def test_a_cursor_of_another_list_or_of_none_is_refused(sqlite_url: str, sweep: Sweep) -> None:
    with open_checkpointer(sqlite_url) as saver:
        for number in range(3):
            put(saver, thread(f"t{number}"), checkpoint([]), user_id="ada")
        cursor = saver.threads.list(user_id="ada", limit=1).cursor
        assert cursor is not None
        assert ids(saver.threads.list(user_id="ada", limit=2, cursor=cursor)) == ["t1", "t0"]
        others: list[dict[str, Any]] = [{"user_id": "bob"}, {"status": "idle"}, {"text": "t"}, {"since": 1.0}]
        for asked in ({}, *({"user_id": "ada", **other} for other in others)):
            with pytest.raises(InvalidCursor, match="another list"):
                saver.threads.list(cursor=cursor, **asked)

        @given(st.text() | forged)
        @settings(patient, max_examples=sweep(30, 150))
        def refused(text: str) -> None:
            with pytest.raises(InvalidCursor):
                saver.threads.list(cursor=text)

        refused()
        with pytest.raises(InvalidCursor):
            saver.threads.list(cursor=base64.urlsafe_b64encode(b"[" * 100_000).decode())


def test_a_list_that_cannot_be_is_refused(saver: HoldfastSaver) -> None:
    for limit in (0, -1, 1001):
        with pytest.raises(ValueError, match="1 to 1,000"):
            saver.threads.list(limit=limit)
    with pytest.raises(ValueError, match="There is no status 'asleep'"):
        saver.threads.list(status="asleep")  # type: ignore[arg-type]


# --- one thread


METHODS: dict[str, Callable[[Threads, str, str | None], object]] = {
    "get": lambda threads, id_, user: threads.get(id_, user_id=user),
    "rename": lambda threads, id_, user: threads.rename(id_, "Mine", user_id=user),
    "rename to its words": lambda threads, id_, user: threads.rename(id_, None, user_id=user),
    "undo": lambda threads, id_, user: threads.undo(id_, user_id=user),
    "restart": lambda threads, id_, user: threads.restart(id_, user_id=user),
    "copy": lambda threads, id_, user: threads.copy(id_, "new", user_id=user),
    "fork": lambda threads, id_, user: threads.fork(id_, "new", user_id=user),
    "delete": lambda threads, id_, user: threads.delete(id_, user_id=user),
}


def test_the_thread_of_another_user_is_as_unknown_as_one_that_does_not_exist(saver: HoldfastSaver) -> None:
    say(saver, "secret", user_id="grace")
    say(saver, "no user's", "open")
    everything = "SELECT * FROM holdfast_threads ORDER BY thread_id"
    before = digest(saver, "ada-1"), digest(saver, "open"), rows(saver, everything)
    for name, method in METHODS.items():
        for thread_id, user in (("ada-1", "ada"), ("ada-1", ""), ("open", "ada"), ("none", None), ("\0", None)):
            with pytest.raises(UnknownThread) as refused:
                method(saver.threads, thread_id, user)
            assert "grace" not in str(refused.value), name
    assert (digest(saver, "ada-1"), digest(saver, "open"), rows(saver, everything)) == before
    for method in METHODS.values():
        method(saver.threads, "ada-1", "grace")
        if any(found.thread_id == "new" for found in saver.threads.list().threads):
            saver.threads.delete("new", user_id="grace")


@pytest.mark.parametrize("name", ["rename", "restart", "undo"])
def test_a_thread_that_becomes_another_users_in_that_moment_is_left_alone(
    saver: HoldfastSaver, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(saver, "hello", user_id="ada")
    get = Threads.get

    def and_change(self: Threads, *args: Any, **kwargs: Any) -> Any:
        found = get(self, *args, **kwargs)
        monkeypatch.undo()
        saver.delete_thread("ada-1")
        say(saver, "secret", user_id="grace")
        return found

    monkeypatch.setattr(Threads, "get", and_change)
    with pytest.raises(UnknownThread):
        METHODS[name](saver.threads, "ada-1", "ada")
    assert saver.threads.get("ada-1", user_id="grace").title == "secret"
    assert texts(saver) == ["secret", "You said: secret"]


def test_a_thread_gets_the_title_that_is_given(saver: HoldfastSaver) -> None:
    say(saver, "first words")
    before = saver.threads.get("ada-1")
    renamed = saver.threads.rename("ada-1", "  Orders\r\n of\x00\x1b Ada\ud800 ")
    assert renamed == replace(before, title="Orders of Ada?")
    say(saver, "more")
    assert saver.threads.get("ada-1").title == "Orders of Ada?"
    for title in ("", " \n\x00", "x" * 201):
        with pytest.raises(ValueError, match="1 to 200 characters"):
            saver.threads.rename("ada-1", title)
    assert given_title("x" * 200) == "x" * 200
    assert saver.threads.rename("ada-1", None).title == "first words"


def test_a_deleted_thread_is_gone_and_its_id_can_be_used_by_another_user(saver: HoldfastSaver) -> None:
    approval_graph(saver).invoke({"messages": [("user", "Ada's secret")]}, of_run(user_id="ada", topic="x"))
    saver.threads.rename("ada-1", "Secret")
    late = saver.get_tuple(thread())
    assert late is not None
    first = saver.threads.get("ada-1")

    saver.threads.delete("ada-1", user_id="ada")

    assert saver.threads.list().threads == []
    [(generation, deleted_at)] = rows(saver, "SELECT generation, deleted_at FROM holdfast_threads")
    assert deleted_at >= first.updated_at.timestamp()
    columns = "user_id, title, metadata, head, unfinished, messages, bytes, prompt"
    assert rows(saver, f"SELECT {columns} FROM holdfast_threads") == [(None, None, None, None, 0, 0, 0, None)]
    saver.threads.index("ada-1")
    assert list(saver.threads.unindexed()) == []
    for write_late in (
        lambda: put(saver, late.config, checkpoint([HumanMessage("late")])),
        lambda: saver.put_writes(late.config, [("messages", [HumanMessage("late")])], "late"),
    ):
        with pytest.raises(ThreadConflict, match="deleted"):
            write_late()
    assert rows(saver, "SELECT generation, deleted_at FROM holdfast_threads") == [(generation, deleted_at)]

    say(saver, "Grace is here", user_id="grace")
    again = saver.threads.get("ada-1")
    assert (again.user_id, again.title, again.metadata, again.messages) == ("grace", "Grace is here", {}, 2)
    assert (again.status, again.pending) == ("idle", 0)
    assert again.created_at.timestamp() >= deleted_at - 1e-6, "another thread, and not an old one"
    assert_counted(saver)


def test_users_need_not_be_texts_but_must_be_known_again(saver: HoldfastSaver) -> None:
    for user in (7, 3.5, "\x1b[2J", "ä" * 500, "a b"):
        say(saver, "hello", repr(user), user_id=user)
        found: Any = user  # as a caller without a type checker passes it
        assert [thread.thread_id for thread in saver.threads.list(user_id=found).threads] == [repr(user)]
        assert saver.threads.get(repr(user), user_id=found).user_id == str(user)
        assert len(list(saver.transcript(repr(user), user_id=found))) == 2
        assert {hit.thread_id for hit in saver.search.find("hello", user_id=found)} == {repr(user)}
    # An id that cannot be stored unchanged could become another user's.
    say(saver, "hello", "c", user_id="ab")
    for invalid in ("a\0b", "\ud800", "", "x" * 1025):
        assert saver.threads.list(user_id=invalid).threads == []
        assert saver.search.find("hello", user_id=invalid) == []
        for look in (saver.threads.get, saver.transcript):
            with pytest.raises(UnknownThread):
                look("c", user_id=invalid)
    with pytest.raises(InvalidThread, match=r"The user_id 'x+…' cannot be used. Needed: 1 to 1,024 bytes"):
        say(saver, "hello", "d", user_id="x" * 1025)
    assert texts(saver, "d") == []
