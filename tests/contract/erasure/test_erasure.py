"""Erasure of threads and users: no row is left in any table, a receipt says so, and no late writer brings it back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from holdfast import Conversation, HoldfastStore, open_store
from holdfast.checkpoints import Erased, HoldfastSaver, open_checkpointer, times
from holdfast.checkpoints.backends.base import Backend
from holdfast.checkpoints.erasure import read_receipt
from holdfast.checkpoints.errors import InvalidExport, NotPermitted, ThreadConflict, UnknownThread, UserErased
from tests.support.kit import checkpoint, echo_graph, put, rows, say, texts, thread
from tests.support.redaction_kit import plant, raw_secrets
from tests.support.stock_kit import in_stock

ADA = ("ada", "facts")


class Killed(BaseException):
    """The process ends here."""


def counts(saver: HoldfastSaver, thread_id: str) -> int:
    [[number]] = rows(saver, "SELECT count(*) FROM holdfast_messages WHERE thread_id = :thread_id", thread_id=thread_id)
    return int(number)


def test_each_table_of_threads_is_emptied_but_for_a_tombstone(saver: HoldfastSaver) -> None:
    say(saver, "Hello", thread_id="ada-1")
    receipt = saver.erase("ada-1")
    assert receipt.kept == {"holdfast_threads": 1}
    assert receipt.rows["holdfast_messages"] == 2
    [row] = rows(saver, "SELECT * FROM holdfast_threads")
    assert {value for value in row if isinstance(value, str)} == {"ada-1"}


@pytest.mark.sweep
def test_nothing_of_a_user_is_left_in_any_table_and_the_receipt_counts_it(bare_url: str) -> None:
    with open_checkpointer(bare_url) as saver, open_store(bare_url) as store:
        plant(saver)
        say(saver, "I stay", thread_id="bob-1")
        store.put(ADA, "colour", {"is": "zqcolourqz"})
        store.put(("adam",), "colour", {"is": "red"})
        saver.threads.share("ada-1", "bob")
        with saver.lease("ada-1", owner="zqleaseqz", purpose="zqpurposeqz"):
            held = set(raw_secrets(saver)) - {"holdfast_search.words", "holdfast_search.document"}
            receipt = saver.erase(user_id="ada", reason="asked for", by="eve")
        assert raw_secrets(saver) == {}
        assert store.get(ADA, "colour") is None
        assert store.get(("adam",), "colour") is not None
        check_receipt(saver, receipt, held)


def check_receipt(saver: HoldfastSaver, receipt: Erased, held: set[str]) -> None:
    assert texts(saver, "bob-1") == ["I stay", "You said: I stay"]
    named = {place.partition(".")[0] for place in held if not place.startswith("holdfast_search")}
    assert named - {"holdfast_threads"} <= set(receipt.rows)
    assert {"holdfast_leases", "holdfast_members", "store"} <= set(receipt.rows)
    gone = ["ada-1", "copy-1", "shop-1", "two-1"]
    assert (sorted(receipt.threads), receipt.kept) == (gone, {"holdfast_threads": len(gone)})
    assert (receipt.user_id, receipt.reason, receipt.by, receipt.is_complete) == ("ada", "asked for", "eve", True)
    assert "[ada]" not in repr(rows(saver, "SELECT * FROM holdfast_threads WHERE user_id = 'ada'"))
    # Again it finds nothing, and the record has the receipt.
    assert saver.erase(user_id="ada") == saver.erased(user_id="ada") == receipt
    assert saver.erased(user_id="bob") is None


def test_an_erased_thread_may_begin_anew_and_a_run_that_had_loaded_it_is_refused(
    saver: HoldfastSaver, other: HoldfastSaver
) -> None:
    say(saver, "Hello")
    loaded = other.get_tuple(thread())
    assert loaded is not None
    saver.erase("ada-1")
    with pytest.raises(ThreadConflict):
        put(other, loaded.config, checkpoint([*loaded.checkpoint["channel_values"]["messages"], HumanMessage("late")]))
    assert counts(saver, "ada-1") == 0
    say(other, "I am new")
    assert texts(saver) == ["I am new", "You said: I am new"]
    assert saver.erase("ada-1").rows["holdfast_messages"] == 2


def test_a_store_that_was_open_before_does_not_bring_memory_back(
    bare_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_checkpointer(bare_url) as saver, open_store(bare_url) as before:
        before.put(ADA, "colour", {"is": "blue"})
        saver.erase(user_id="ada")
        with pytest.raises(UserErased, match="Nothing of this batch was stored"):
            before.put(ADA, "colour", {"is": "blue"})
        assert before.search(("ada",)) == []
        before.put(("adam",), "colour", {"is": "red"})  # of another user
        before.delete(ADA, "colour")
        with open_store(bare_url) as after:
            after.put(ADA, "colour", {"is": "green"})
        monkeypatch.setattr(times, "ERASURE_GUARD", 0.0)
        before.put(ADA, "colour", {"is": "grey"})


def test_an_erasure_that_was_cut_off_goes_on_and_its_receipt_has_all_of_it(saver: HoldfastSaver, url: str) -> None:
    for number in range(3):
        echo_graph(saver).invoke({"messages": [("user", "Hi")]}, thread(f"ada-{number}", user_id="ada"))
    seen = []

    def kill(statement: str) -> None:
        seen.append(statement)
        if seen.count("note_erased") == 3:
            raise Killed

    backend: Backend = saver._backend
    backend.on_statement = kill
    with pytest.raises(Killed):
        saver.erase(user_id="ada", reason="asked for")
    backend.on_statement = None
    assert saver.erased(user_id="ada") is None  # it did not end
    with open_checkpointer(url) as again:
        receipt = again.erase(user_id="ada", reason="asked for")
        assert (receipt.threads, receipt.rows["holdfast_messages"]) == (["ada-0", "ada-1", "ada-2"], 6)
        assert again.erased(user_id="ada") == receipt


def test_what_a_user_has_said_in_threads_of_others_is_listed_or_redacted(saver: HoldfastSaver) -> None:
    agent, said = echo_graph(saver), "I, Ada, live in the Rose Lane"
    Conversation(agent, "bob-1", user_id="bob").send("Hello")
    saver.threads.share("bob-1", "ada", user_id="bob")
    Conversation(agent, "bob-1", user_id="ada").send(said)
    receipt = saver.erase(user_id="ada")
    assert receipt.said_in == ["bob-1"]
    assert receipt.elsewhere["messages"] == 1
    assert receipt.rows == {"holdfast_members": 1}
    assert said in texts(saver, "bob-1")
    done = saver.erase(user_id="ada", others="redact", by="eve")
    assert (done.elsewhere, done.said_in, done.redacted["messages"]) == ({}, [], 1)
    assert texts(saver, "bob-1")[2] == "[redacted]"
    for table, column in (("holdfast_messages", "user_id"), ("holdfast_events", "data"), ("checkpoints", "metadata")):
        assert '"ada"' not in json.dumps([str(value) for value in rows(saver, f"SELECT {column} FROM {table}")])
    assert saver.threads.owner("bob-1") == "bob"


def test_copies_are_named_and_erased_if_that_is_wished(saver: HoldfastSaver) -> None:
    echo_graph(saver).invoke({"messages": [("user", "Hi")]}, thread("ada-1", user_id="ada"))
    for name in ("copy-1", "copy-2"):
        saver.threads.copy("ada-1", name)
    assert saver.erase("ada-1").copies == ["copy-1", "copy-2"]
    assert counts(saver, "copy-1") == 2
    receipt = saver.erase("copy-1", copies=True)
    assert (receipt.threads, receipt.copies) == (["copy-1", "copy-2"], [])
    assert counts(saver, "copy-2") == 0


def test_only_the_user_of_a_thread_erases_it(saver: HoldfastSaver) -> None:
    echo_graph(saver).invoke({"messages": [("user", "Hi")]}, thread("ada-1", user_id="ada"))
    saver.threads.share("ada-1", "bob")
    with pytest.raises(NotPermitted):
        saver.erase("ada-1", user_id="bob")
    for unknown in ({"user_id": "eve"}, {"user_id": ""}):
        with pytest.raises(UnknownThread):
            saver.erase("ada-1", **unknown)
    with pytest.raises(UnknownThread):
        saver.erase("none-1")
    with pytest.raises(ValueError, match="what to erase"):
        saver.erase()
    receipt = saver.erase("ada-1", user_id="ada")
    assert saver.erase("ada-1", user_id="ada") == receipt  # it was this user's
    with pytest.raises(UnknownThread):
        saver.erase("ada-1", user_id="bob")


def test_threads_of_a_stock_saver_are_erased_with_their_user(url: str) -> None:
    def talk(stock: Any) -> None:
        echo_graph(stock).invoke({"messages": [("user", "Hi")]}, thread("ada-1", user_id="ada"))

    in_stock(url, talk)
    with open_checkpointer(url) as saver:
        assert saver.erase(user_id="ada").threads == ["ada-1"]
        assert rows(saver, "SELECT thread_id FROM checkpoints") == []


async def test_a_twin_erases_without_blocking_the_event_loop(saver: HoldfastSaver) -> None:
    say(saver, "Hello")
    receipt = await saver.aerase("ada-1")
    assert await saver.aerased("ada-1") == receipt


@pytest.fixture
def receipt() -> Erased:
    with open_checkpointer("memory://") as saver:
        say(saver, "Hello")
        return saver.erase("ada-1", reason="asked\nfor", by="Ève")


def test_a_receipt_is_checked_as_json_and_as_text(receipt: Erased, tmp_path: Path) -> None:
    file = tmp_path / "receipt"
    for written in (receipt.json(), receipt.text()):
        file.write_text(written, "utf-8")
        assert read_receipt(file).receipt == receipt
        assert read_receipt(file).is_intact
        for old, new in (("holdfast_messages", "holdfast_massages"), (receipt.digest, receipt.digest[:-1] + "x")):
            file.write_text(written.replace(old, new), "utf-8")
            assert not read_receipt(file).is_intact
    file.write_text(receipt.text().replace("holdfast_messages: 2", "holdfast_messages: 9"), "utf-8")
    assert not read_receipt(file).is_intact
    assert not replace(receipt, by="Bob").is_intact
    for no_receipt in ("", "{}", "[]", "# Receipt of an erasure"):
        file.write_text(no_receipt, "utf-8")
        with pytest.raises(InvalidExport):
            read_receipt(file)


@pytest.mark.sweep
def test_an_erasure_that_is_cut_off_at_any_statement_is_finished_by_the_next_one(sqlite_url_with_tables: str) -> None:
    def statements(cut_off_at: int) -> Iterator[str]:
        """Erase, and end at a statement. Yield those before."""
        seen: list[str] = []

        def kill(statement: str) -> None:
            if len(seen) == cut_off_at:
                raise Killed
            seen.append(statement)

        with open_checkpointer(sqlite_url_with_tables) as saver:
            for name in ("ada-1", "ada-2"):
                echo_graph(saver).invoke({"messages": [("user", "Hi")]}, thread(name, user_id="ada"))
            saver._backend.on_statement = kill
            with suppress(Killed):
                saver.erase(user_id="ada", others="redact", vacuum=True)
            saver._backend.on_statement = None
        yield from seen

    number = 0
    while len(list(statements(number))) == number:
        with open_checkpointer(sqlite_url_with_tables) as again:
            receipt = again.erase(user_id="ada")
            assert (receipt.threads, receipt.rows["holdfast_messages"]) == (["ada-1", "ada-2"], 4)
            assert again.has_receipt(receipt)
            assert [row[0] for row in rows(again, "SELECT kind FROM holdfast_events")] == ["erased"]
        number += 1
    assert number > 50


@pytest.mark.sweep
def test_items_that_are_put_while_their_user_is_erased_are_erased_or_refused(bare_url: str) -> None:
    put_once = Event()

    def put(store: HoldfastStore) -> None:
        with pytest.raises(UserErased):  # noqa: PT012 - which of them is refused, is open
            for number in count(1):
                store.put(ADA, f"item-{number}", {"n": number})
                put_once.set()

    with open_checkpointer(bare_url) as saver, open_store(bare_url) as store, ThreadPoolExecutor(4) as pool:
        putting = [pool.submit(put, store) for _ in range(4)]
        put_once.wait()
        receipt = saver.erase(user_id="ada")
        for future in putting:
            future.result()
        assert receipt.rows["store"] > 0
        assert rows(saver, "SELECT * FROM store") == []
