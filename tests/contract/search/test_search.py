"""A search finds messages by words, user and time, and nothing but messages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.errors import DatabaseUnavailable, InvalidSearch, SearchUnavailable
from holdfast.checkpoints.search.query import parse_query
from holdfast.checkpoints.search.tokenizer import MOST_CHARACTERS, MOST_POSITIONS, tokenize_with_spans
from holdfast.checkpoints.sql import Statement
from tests.support.dialects import dialect_of
from tests.support.kit import change, checkpoint, put, rows, thread
from tests.support.search_kit import own, say
from tests.support.sweep import Sweep


def found(saver: HoldfastSaver, text: str, **where: Any) -> list[str]:
    """The texts that are found, in order."""
    return [hit.snippet for hit in saver.search.find(text, **where)]


SAID = [
    "Refund the brass calculator of order 1001",
    "A calculator of brass, please",
    "Où est la commande de Köln?",
    "東京都に住んでいる",
    "AND OR NOT NEAR(a b) col:x ^y z* 'q' \"r\" a & b | !c <-> d",
]


ASKED = [
    ("CALCULATOR brass", {0, 1}),
    ('"brass calculator"', {0}),
    ("calculator -refund", {1}),
    ('calculator -"of brass"', {0}),
    ("calc* -ref*", {1}),
    ("calc", set()),
    ("KOLN ou", {2}),
    ("Ko\u0308ln", {2}),
    ("京都", {3}),
    ("都京", set()),
    ("1001", {0}),
    ("AND OR NOT NEAR", {4}),
    ("NEAR(a b)", {4}),
    ("near(b a)", set()),
    ("col:x ^y", {4}),
    ("a & b | !c", {4}),
    ("words:brass", set()),
    ('c <-> d"', {4}),
]


def test_a_search_finds_what_has_all_the_words(saver: HoldfastSaver) -> None:
    say(saver, *SAID)
    for text, places in ASKED:
        assert set(found(saver, text)) == {SAID[place] for place in places}, text


def test_a_hit_says_where_it_is_and_why_it_was_found(saver: HoldfastSaver) -> None:
    say(saver, "hello", "It is in\n\nthe Köln office")
    change(saver, "UPDATE holdfast_threads SET title = 'Offices'")
    [hit] = saver.search.find("koln")
    assert (hit.thread_id, hit.seq, hit.message_id, hit.role) == ("ada-1", 2, "ada-1-1", "human")
    assert (hit.user_id, hit.title) == ("ada", "Offices")
    assert (hit.snippet, hit.marks) == ("It is in the Köln office", [(13, 17)])
    assert hit.at.timestamp() == pytest.approx(
        rows(saver, "SELECT created_at FROM holdfast_messages WHERE seq = 2")[0][0], abs=2e-6
    )


def test_the_best_come_first_and_of_equals_the_newest(saver: HoldfastSaver) -> None:
    say(saver, f"order {'and more ' * 50}", "order one", "order two", "order order, my order")
    change(saver, "UPDATE holdfast_messages SET created_at = seq")
    hits = saver.search.find("order", limit=3)
    assert [hit.seq for hit in hits] == [4, 3, 2]
    assert hits[0].rank > hits[1].rank == hits[2].rank > 0


def test_a_user_does_not_find_the_messages_of_another_user(saver: HoldfastSaver) -> None:
    say(saver, "my order", thread_id="ada-1", user="ada")
    say(saver, "her order", thread_id="grace-1", user="grace")
    say(saver, "their order", thread_id="x-1", user=None)
    assert found(saver, "order", user_id="ada") == ["my order"]
    assert sorted(found(saver, "order")) == ["her order", "my order", "their order"]
    assert found(saver, "order", user_id="grace", thread_id="grace-1") == ["her order"]
    assert found(saver, "order", thread_id="x-1") == ["their order"]
    assert [found(saver, "order", user_id=user) for user in ("", "unknown", "a\0", "\ud800")] == [[]] * 4

    for thread_id in ("grace-1", "none", "a\0", "\ud800"):
        with pytest.raises(InvalidSearch, match=r"There is no thread .* of user 'ada' to search in"):
            saver.search.find("order", user_id="ada", thread_id=thread_id)


def test_a_thread_that_changes_its_user_is_found_only_by_the_new_user(saver: HoldfastSaver) -> None:
    say(saver, "my order")
    assert found(saver, "order", user_id="ada") == ["my order"]
    own(saver, "grace", "ada-1")
    assert found(saver, "order", user_id="ada") == []
    assert found(saver, "order", user_id="grace") == ["my order"]
    assert saver.search.refresh() == 0


def test_a_search_is_about_a_time(saver: HoldfastSaver) -> None:
    say(saver, "order one", "order two", "order three")
    change(saver, "UPDATE holdfast_messages SET created_at = 1000 * seq")
    assert found(saver, "order", since=2000) == ["order three", "order two"]
    assert found(saver, "order", until=2000) == ["order one"]
    moment = datetime.fromtimestamp(2000, UTC)
    assert found(saver, "order", since=moment, until=3000.0) == ["order two"]
    for bad in (float("nan"), float("inf")):
        with pytest.raises(InvalidSearch, match="since is no time"):
            saver.search.find("order", since=bad)
    for limit in (0, 1001):
        with pytest.raises(InvalidSearch, match="1 to 1,000 hits"):
            saver.search.find("order", limit=limit)


def test_only_what_was_said_is_found(saver: HoldfastSaver) -> None:
    config = put(saver, thread(), checkpoint([HumanMessage("order said", id="h")]))
    saver.put_writes(config, [("messages", [AIMessage("order written", id="a")])], "task")
    put(saver, thread(checkpoint_ns="agent:1"), checkpoint([HumanMessage("order inside", id="s")]))
    assert found(saver, "order") == ["order said"]

    state = checkpoint([HumanMessage("order said", id="h"), AIMessage("order written", id="a")])
    put(saver, config, state)
    assert sorted(found(saver, "order")) == ["order said", "order written"], "it is indexed since before it was said"


def test_an_edited_or_copied_message_is_found_as_often_as_it_was_said(saver: HoldfastSaver) -> None:
    config = put(saver, thread(), checkpoint([HumanMessage("order one", id="h")]))
    put(saver, config, checkpoint([HumanMessage("order two", id="h")]))
    assert sorted(found(saver, "order")) == ["order one", "order two"]
    saver.copy_thread("ada-1", "ada-2")
    assert sorted(hit.thread_id for hit in saver.search.find("order")) == ["ada-1", "ada-1", "ada-2", "ada-2"]
    saver.delete_thread("ada-1")
    assert {hit.thread_id for hit in saver.search.find("order")} == {"ada-2"}


def indexed(saver: HoldfastSaver) -> str:
    """All bytes of the index's tables, as text."""
    if dialect_of(saver) == "postgres":
        return repr(rows(saver, "SELECT * FROM holdfast_search"))
    tables = rows(saver, "SELECT name FROM sqlite_schema WHERE name LIKE 'holdfast_search%' AND type = 'table'")
    parts = [rows(saver, f"SELECT * FROM {name}") for (name,) in tables if name != "holdfast_search"]
    return repr(parts)


def test_a_deleted_or_rolled_back_message_leaves_no_word_in_the_index(saver: HoldfastSaver) -> None:
    say(saver, "the secret eagle", thread_id="ada-1")
    say(saver, "a common sparrow", thread_id="ada-2")
    config = put(saver, thread("ada-3"), checkpoint([HumanMessage("kept robin", id="1")]), run_id="run-1")
    put(
        saver,
        config,
        checkpoint([HumanMessage("kept robin", id="1"), HumanMessage("hidden kestrel", id="2")]),
        run_id="run-2",
    )
    assert len(found(saver, "eagle") + found(saver, "kestrel")) == 2
    assert "eagle" in indexed(saver)
    assert "kestrel" in indexed(saver)

    saver.delete_thread("ada-1")
    assert [word for word in ("secret", "eagle") if word in indexed(saver)] == []
    saver.delete_for_runs(["run-2"])
    assert [word for word in ("hidden", "kestrel") if word in indexed(saver)] == []

    assert (found(saver, "eagle"), found(saver, "kestrel")) == ([], [])
    assert (found(saver, "sparrow"), found(saver, "robin")) == (["a common sparrow"], ["kept robin"])
    say(saver, "another owl", thread_id="ada-1")
    assert found(saver, "owl") == ["another owl"]


@pytest.mark.sweep
def test_long_texts_are_found_by_what_is_indexed_of_them(saver: HoldfastSaver) -> None:
    base64 = "QUJD" * 50_000
    korean = "".join(f"{'㉼' * 5}{chr(0xAC00 + number)} " for number in range(11_000))
    often = f"{'the raven ' * (MOST_POSITIONS + 5)}lands"
    say(saver, f"falcon {'x' * MOST_CHARACTERS} beyond", f"{base64} hawk", korean, often)
    assert len(found(saver, "falcon") + found(saver, "참고*")) == 2
    assert found(saver, "beyond") == []
    assert found(saver, "raven lands") != []
    assert found(saver, '"raven lands"') == [], "the index knows the first 256 places of a word"
    [snippet] = found(saver, "raven")
    assert len(snippet) < 250


def test_any_text_is_a_search_or_a_clear_error_and_every_database_finds_the_same(
    sqlite_url: str, postgres_url_with_tables: str, sweep: Sweep
) -> None:
    alphabet = st.sampled_from(
        [
            "a",
            "b",
            "aé",
            "京都",
            '"',
            "-",
            "*",
            " ",
            "'",
            "\\",
            ":",
            "&",
            "|",
            "!",
            "(",
            ")",
            "<->",
            "AND",
            "\0",
            "\ud800",
        ]
    )
    typed = st.lists(alphabet, max_size=8).map("".join) | st.text(max_size=20)
    texts = ["a b", "b a aé", "aé 京都 andab", "AND京b ab", "a" * 70, "京都京 b"]
    with open_checkpointer(sqlite_url) as one, open_checkpointer(postgres_url_with_tables) as other:
        for saver in (one, other):
            say(saver, *texts)

        @settings(max_examples=sweep(20, 100), deadline=None)
        @given(typed)
        @example('a b* -"京 都"')
        @example("a" * 64 + "*")
        def check(text: str) -> None:
            try:
                asked = parse_query(text)
            except InvalidSearch:
                for saver in (one, other):
                    with pytest.raises(InvalidSearch):
                        saver.search.find(text)
                return
            there = [
                said
                for said in texts
                if all(term.matches(tokenize_with_spans(said)) for term in asked.terms)
                and not any(term.matches(tokenize_with_spans(said)) for term in asked.excluded)
            ]
            for saver in (one, other):
                assert sorted(found(saver, text, user_id="ada")) == sorted(there)

        check()


def test_without_full_text_search_only_a_search_fails(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_checkpointer(sqlite_url) as saver:
        absent = Statement("search_state", "SELECT 0, 0")
        monkeypatch.setitem(saver._backend.sql, "search_state", absent)
        say(saver, "order")
        for search in (lambda: saver.search.find("order"), saver.search.refresh):
            with pytest.raises(SearchUnavailable, match="built without FTS5"):
                search()
        saver.delete_thread("ada-1")


def test_an_index_that_a_newer_sqlite_has_written_is_refused_with_what_to_do(sqlite_url: str) -> None:
    with open_checkpointer(sqlite_url) as saver:
        say(saver, "order")
        assert found(saver, "order") == ["order"]
        change(saver, "UPDATE holdfast_search_config SET v = 99 WHERE k = 'version'")
    with open_checkpointer(sqlite_url) as saver:
        for work in (lambda: saver.search.find("order"), lambda: saver.delete_thread("ada-1")):
            with pytest.raises(DatabaseUnavailable, match=r"index of full text was written by a newer SQLite: use"):
                work()
        assert saver.get_tuple(thread()) is not None
