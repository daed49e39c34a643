"""Redaction of what is stored: each place of a database holds a secret, and afterwards none does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from langchain_core.messages import HumanMessage, ToolMessage

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.errors import NotPermitted, ThreadBusy, ThreadConflict, UnknownMessage, UnknownThread
from holdfast.checkpoints.redaction.patterns import PLACEHOLDER
from holdfast.checkpoints.redaction.places import IDS, TEXTS
from holdfast.checkpoints.transcript import export
from tests.support.desk import Desk
from tests.support.dialects import dialect_of
from tests.support.kit import change, checkpoint, echo_graph, put, rows, say, texts, thread
from tests.support.redaction_kit import (
    SECRET,
    columns_of,
    graph_of,
    plant,
    raw_secrets,
    reply,
    secrets_in,
    tables_of,
)
from tests.support.stock_kit import in_stock
from tests.support.sweep import Sweep


def read(saver: HoldfastSaver) -> list[Any]:
    """All that the public readers return."""
    graph, found = graph_of(saver), []
    for each in saver.threads.all():
        transcript = saver.transcript(each.thread_id)
        found += [
            each,
            list(transcript),
            *(list(form(transcript)) for form in (export.jsonl, export.markdown, export.html)),
        ]
        found += [graph.get_state(thread(each.thread_id)), *graph.get_state_history(thread(each.thread_id))]
    found += [saver.interrupts.waiting(), saver.interrupts.todo(), *saver.list(None), *saver.search.find("read")]
    return found + rows(saver, "SELECT * FROM holdfast_transcript")


@pytest.mark.sweep(on="postgres")
def test_a_pattern_is_redacted_in_every_place_of_the_database(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    plant(saver)
    places = {place for columns in TEXTS.values() for place in columns.values()}
    holding = raw_secrets(saver)
    assert {TEXTS[table][column] for table, column in (name.split(".") for name in holding)} == places
    ids = rows(saver, "SELECT thread_id, seq, message_id, role, digest FROM holdfast_messages ORDER BY thread_id, seq")
    graph_of(other).get_state(thread("ada-1"))  # another process has cached the messages
    looked_at = saver.redact(everywhere=True, patterns=[SECRET], dry_run=True)
    assert looked_at.places.keys() == places
    assert raw_secrets(saver) == holding
    done = saver.redact(everywhere=True, patterns=[SECRET], reason="it was zqwhyqz", by="eve")
    assert (done.places.keys(), done.unread, done.busy) == (places, [], [])
    assert done.found == looked_at.found  # what the reason holds is not counted
    assert raw_secrets(saver) == {}
    for reader in (saver, other):
        assert not list(secrets_in(read(reader)))
    kept = "SELECT thread_id, seq, message_id, role, digest FROM holdfast_messages ORDER BY thread_id, seq"
    assert rows(saver, kept) == ids
    event = [entry for entry in saver.transcript("ada-1") if getattr(entry, "event", "") == "redacted"]
    assert [(e.by, e.data["patterns"], e.data["reason"]) for e in event] == [
        ("eve", ["pattern"], f"it was {PLACEHOLDER}")
    ]
    assert saver.redact(everywhere=True, patterns=[SECRET]).threads == []  # it is done


def test_every_column_is_known_to_hold_texts_or_none(saver: HoldfastSaver) -> None:
    saver.search.find("anything")  # which makes the index
    for table in tables_of(saver):
        listed = {*TEXTS.get(table, {}), *IDS.get(table, ())}
        unknown = set(columns_of(saver, table)) - listed
        assert not unknown, f"{table}: {unknown}. Say in redaction.places if they hold texts, and redact these."


def test_the_threads_of_a_stock_saver_are_redacted_as_they_are(url: str) -> None:
    def talk(stock: Any) -> None:
        graph_of(stock).invoke({"messages": [HumanMessage("my zqtitleqz", id="m-1")]}, thread("ada-1"))

    in_stock(url, talk)
    with open_checkpointer(url) as saver:
        assert raw_secrets(saver)
        assert saver.redact(everywhere=True, patterns=[SECRET], dry_run=True).threads == ["ada-1"]
        assert saver.redact("ada-1", patterns=[SECRET]).unread == []
        assert raw_secrets(saver) == {}

    def loaded(stock: Any) -> Any:
        return graph_of(stock).get_state(thread("ada-1")).values

    values = in_stock(url, loaded)
    assert [message.type for message in values["messages"]] == ["human", "ai", "tool"]
    assert values["messages"][1].tool_calls[0]["id"] == "call_1"


LONG = "the code of the safe is zqsafeqz"


def test_a_message_is_redacted_as_a_whole_in_its_thread_and_in_the_copies(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver)
    graph.invoke({"messages": [HumanMessage(LONG, id="m-1")]}, thread("ada-1"))
    graph.update_state(thread("ada-1"), {"messages": [reply(), ToolMessage("42", tool_call_id="call_1", id="t-1")]})
    saver.threads.copy("ada-1", "copy-1")
    assert saver.threads.get("copy-1").title == LONG
    before = graph.get_state(thread("copy-1")).values["messages"]
    done = saver.redact("copy-1", message="m-1", reason="asked for")
    assert sorted(done.threads) == ["ada-1", "copy-1"]
    assert saver.redact("ada-1", message="reply-1").places["messages"] == 2
    for thread_id in ("ada-1", "copy-1"):
        after = graph.get_state(thread(thread_id)).values["messages"]
        assert [(m.type, m.id) for m in after] == [(m.type, m.id) for m in before]
        assert [after[0].text, after[2].text, after[3].text] == [PLACEHOLDER, PLACEHOLDER, "42"]
        assert after[1].text == f"You said: {LONG}"  # another message
        [call] = after[2].tool_calls
        assert (call["name"], call["id"], call["args"]) == (
            "look",
            "call_1",
            dict.fromkeys(["where", "deep"], PLACEHOLDER),
        )
        assert saver.threads.get(thread_id).title == PLACEHOLDER
    assert saver.redact("ada-1", message=2).threads == ["ada-1", "copy-1"]
    # The name of a message of the model is that of an agent.
    assert {secret for found in raw_secrets(saver).values() for secret in found} == {"zqauthorqz"}


def test_a_message_of_a_stock_saver_is_redacted_as_a_whole_and_a_summary_loses_its_text(url: str) -> None:
    summary = HumanMessage(f"So far: {LONG}", id="s-1", additional_kwargs={"lc_source": "summarization"})

    def talk(stock: Any) -> None:
        graph_of(stock).invoke({"messages": [HumanMessage("zqshortqz", id="m-1")], "essay": LONG}, thread("old-1"))

    in_stock(url, talk)
    with open_checkpointer(url) as saver:
        assert saver.redact("old-1", message="m-1").unread == []
        assert {secret for found in raw_secrets(saver).values() for secret in found}.isdisjoint({"zqshortqz"})
        assert graph_of(saver).get_state(thread("old-1")).values["messages"][0].text == PLACEHOLDER
        say(saver, "hello")
        echo_graph(saver).update_state(thread("ada-1"), {"messages": [HumanMessage(LONG, id="m-1"), summary]})
        saver.redact("ada-1", message="m-1")
        assert [PLACEHOLDER, f"So far: {PLACEHOLDER}"] == texts(saver)[-2:]


def test_a_process_that_holds_the_old_message_does_not_bring_it_back(
    saver: HoldfastSaver, other: HoldfastSaver
) -> None:
    graph = echo_graph(saver)
    graph.invoke({"messages": [HumanMessage(LONG, id="m-1")]}, thread("ada-1"))
    theirs = echo_graph(other)
    theirs.invoke({"messages": [HumanMessage("hello", id="m-2")]}, thread("ada-1"))  # it knows the rows by now
    held = theirs.get_state(thread("ada-1")).values["messages"]
    saver.redact("ada-1", message="m-1")
    saver.redact("ada-1", message=held[1].id)
    for again in (theirs, graph):
        again.invoke({"messages": [*held, HumanMessage("go on")]}, thread("ada-1"))
        assert raw_secrets(saver) == {}
        assert texts(saver)[:5] == [PLACEHOLDER, PLACEHOLDER, "hello", "You said: hello", "go on"]
    assert rows(saver, "SELECT count(*) FROM holdfast_messages WHERE redacted_at IS NOT NULL") == [(2,)]


def test_what_was_loaded_of_a_redacted_message_is_no_new_message_when_it_is_saved_again(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver)
    graph.invoke({"messages": [HumanMessage(LONG, id="m-1")]}, thread("ada-1"))
    graph.invoke({"messages": [reply(), ToolMessage("42", tool_call_id="call_1", id="t-1")]}, thread("ada-1"))
    saver.redact("ada-1", message="m-1")
    saver.redact("ada-1", patterns=[SECRET])
    loaded = graph.get_state(thread("ada-1")).values["messages"]
    for _ in range(2):
        copies = [message.model_copy(deep=True) for message in loaded]
        graph.update_state(thread("ada-1"), {"messages": copies})
    assert len(list(saver.transcript("ada-1").plain())) == len(loaded) + 2  # and the events
    assert [m.text for m in graph.get_state(thread("ada-1")).values["messages"]] == [m.text for m in loaded]


def test_a_run_that_has_loaded_the_thread_before_is_refused_and_not_lost(saver: HoldfastSaver) -> None:
    echo_graph(saver).invoke({"messages": [("user", LONG)]}, thread("ada-1"))

    def reply_late(message: Any) -> str:
        saver.redact("ada-1", patterns=[SECRET])
        return "late"

    with pytest.raises(ThreadConflict, match="redacted"):
        echo_graph(saver, reply_late).invoke({"messages": [("user", "next")]}, thread("ada-1"), durability="sync")
    say(saver, "next")
    assert texts(saver)[-2:] == ["next", "You said: next"]
    assert raw_secrets(saver) == {}


def test_only_the_user_of_a_thread_redacts_it(saver: HoldfastSaver) -> None:
    for user, thread_id in (("ada", "ada-1"), ("bob", "bob-1")):
        echo_graph(saver).invoke({"messages": [("user", LONG)]}, thread(thread_id, user_id=user))
    saver.threads.share("bob-1", "ada", user_id="bob")
    with pytest.raises(NotPermitted):
        saver.redact("bob-1", patterns=[SECRET], user_id="ada")
    with pytest.raises(UnknownThread):
        saver.redact("ada-1", patterns=[SECRET], user_id="bob")
    assert saver.redact(user_id="ada", patterns=[SECRET]).threads == ["ada-1"]
    with pytest.raises(UnknownMessage):
        saver.redact("ada-1", message="m-0")
    for wrong, told in (
        ({"patterns": []}, r"no message and no patterns.*--named"),
        ({"patterns": ["card"], "message": 1}, "a message and patterns"),
        ({"patterns": ["pin"]}, r"'pin'\. Needed: card"),
        ({"message": "m"}, "without its thread"),
        ({"patterns": ["card"], "everywhere": True}, r"two places.*--everywhere"),
    ):
        with pytest.raises(ValueError, match=told):
            saver.redact(user_id="ada", **wrong)  # type: ignore[arg-type]


def test_a_redaction_that_dies_anywhere_is_finished_by_the_next(saver: HoldfastSaver, sweep: Sweep) -> None:
    """It dies at every fifth of its statements in turn; the sample is the last one before its first commit."""
    plant(saver)
    holding = raw_secrets(saver)

    def redact(last: int) -> int:
        """Redact, but for dying at a statement. Return the number of statements until then."""
        count = 0

        def die(name: str) -> None:
            nonlocal count
            count += 1
            if count == last or (name == "add_event" and last == 0):
                raise KeyboardInterrupt

        saver._backend.on_statement = die
        try:
            saver.redact(everywhere=True, patterns=[SECRET])
        except KeyboardInterrupt:
            return -1
        finally:
            saver._backend.on_statement = None
        return count

    assert redact(0) == -1
    assert raw_secrets(saver) == holding  # nothing is half redacted
    for statement in range(sweep(0, 1), sweep(0, 10_000), 5):
        if redact(statement) != -1:
            break
        list(graph_of(saver).get_state_history(thread("ada-1")))  # what is there can be read
    saver.redact(everywhere=True, patterns=[SECRET])
    assert raw_secrets(saver) == {}


def test_what_cannot_be_read_is_named(saver: HoldfastSaver) -> None:
    say(saver, LONG)
    table, column = ("checkpoints", "checkpoint") if dialect_of(saver) == "sqlite" else ("checkpoint_blobs", "blob")
    change(saver, f"UPDATE {table} SET type = 'pickle' WHERE {column} IS NOT NULL")
    done = saver.redact("ada-1", patterns=[SECRET])
    assert done.places["messages"] == 2
    assert all("pickle" in problem for problem in done.unread)
    assert done.unread


def test_an_expression_that_takes_too_long_changes_nothing(
    saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(saver, "a" * 60)
    monkeypatch.setattr("holdfast.checkpoints.times.REDACTION_MATCH", 0.01)
    with pytest.raises(TimeoutError, match=r"^Thread 'ada-1': .*Needed.*Redacted before it: 0"):
        saver.redact("ada-1", patterns=[re.compile(r"(a|aa)+c")])
    assert PLACEHOLDER not in texts(saver)


def test_the_requests_about_the_calls_of_a_message_are_redacted_with_it(saver: HoldfastSaver) -> None:
    desk = Desk(saver, 4711)
    [interrupt_id] = desk.ids()
    saver.redact("ada-1", message=2)
    [waiting] = saver.interrupts.waiting()
    assert "4711" not in repr(waiting)
    assert "4711" not in repr(list(saver.transcript("ada-1")))
    assert waiting.value["args"] == {"order_id": PLACEHOLDER}
    desk.record(interrupt_id, {"type": "approve"})
    desk.ada.retry()
    assert desk.refunded == []  # a placeholder is no order
    assert [message.type for message in desk.ada.history()] == ["human", "ai", "tool", "ai"]


async def test_many_threads_are_redacted_but_for_those_in_use(
    saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for thread_id in ("ada-1", "ada-2"):
        say(saver, "my zqwordqz", thread_id=thread_id)
    monkeypatch.setattr("holdfast.checkpoints.times.LEASE_WAIT", 0.0)
    with saver.lease("ada-2"):
        done = await saver.aredact(everywhere=True, patterns=[SECRET])
        assert (done.threads, done.busy) == (["ada-1"], ["ada-2"])
        with pytest.raises(ThreadBusy):
            saver.redact("ada-2", patterns=[SECRET])
    assert saver.redact(everywhere=True, patterns=[SECRET]).threads == ["ada-2"]


@dataclass
class Order:
    number: int
    at: datetime


class Size(Enum):
    LARGE = "zqlargeqz"


def test_values_whose_types_refuse_a_placeholder_are_replaced_as_a_whole(saver: HoldfastSaver) -> None:
    kept: dict[str, Any] = {"path": Path("/home/ada"), "id": UUID(int=1), "size": 1.5, "big": 2**70, "none": None}
    gone: dict[str, Any] = {
        "id": UUID("0815" * 8),
        "at": datetime(815, 1, 1, tzinfo=UTC),
        "price": Decimal("0815.00"),
        "size": Size.LARGE,
        "number": 815,
        "big": int(f"{2**70}0815"),
    }
    inner: dict[str, Any] = {
        "path": Path("/home/0815"),
        "order": Order(815, datetime(2026, 1, 1, tzinfo=UTC)),
        "set": {"0815"},
    }
    put(saver, thread(), checkpoint([], kept=kept, gone=gone, inner=inner))
    saver.redact("ada-1", patterns=[re.compile("0?815|zqlargeqz")])
    found = saver.get_tuple(thread())
    assert found is not None
    values = found.checkpoint["channel_values"]
    assert values["kept"] == kept
    assert all(PLACEHOLDER in value for value in values["gone"].values())
    assert values["inner"]["path"] == Path(f"/home/{PLACEHOLDER}")
    assert values["inner"]["set"] == {PLACEHOLDER}
    assert values["inner"]["order"] == Order(PLACEHOLDER, datetime(2026, 1, 1, tzinfo=UTC))  # type: ignore[arg-type]
