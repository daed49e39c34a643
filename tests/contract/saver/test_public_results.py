"""Every public result is a frozen dataclass: in the JSON that web frameworks make of it, it has names and times."""

from __future__ import annotations

import dataclasses
import inspect
import json
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from pydantic import TypeAdapter

import holdfast
from holdfast import checkpoints, deploy, graph
from holdfast.checkpoints import (
    HoldfastSaver,
    NewRun,
    RetentionPolicy,
    RetentionRule,
    convert,
    maintenance,
    open_checkpointer,
    transfer,
)
from holdfast.checkpoints.effects import Effect, Entry, InDoubt, Started
from tests.support.kit import change, echo_graph, thread
from tests.support.public_methods import PARTS, classes, methods_of

MODULES: Final = (holdfast, checkpoints, graph, deploy, maintenance, convert, transfer)

NO_RESULTS: Final = {
    "Claimed": "held, perhaps with a lease",
    "Context": "an argument",
    "Database": "an open database",
    "Effect": "an argument",
    "Interrupts": "a part of the checkpointer",
    "Lease": "held, with an event",
    "NewRun": "an argument",
    "RetentionPolicy": "an argument",
    "RetentionRule": "an argument",
    "Search": "a part of the checkpointer",
    "Transcript": "an iterable of entries",
}


def public_results() -> dict[str, type]:
    """The dataclasses and tuples among the public names; of modules without a list, those of their own."""
    named = {name: getattr(module, name) for module in MODULES for name in names_of(module)}
    kinds = {name: kind for name, kind in named.items() if inspect.isclass(kind)}
    results = {name: kind for name, kind in kinds.items() if dataclasses.is_dataclass(kind) or issubclass(kind, tuple)}
    return {name: kind for name, kind in results.items() if name not in NO_RESULTS} | {"Entry": Entry}


def names_of(module: Any) -> list[str]:
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    return list(getattr(module, "__all__", [name for name in own if not name.startswith("_")]))


@pytest.fixture(scope="module")
def results() -> dict[str, list[Any]]:
    """Results of each type, of a database in which something of everything has happened."""
    with open_checkpointer("memory://") as saver:
        found = [*talked(saver), *asked(saver), *in_doubt(saver), *looked_after(saver)]
    return {
        kind: [one for one in found if type(one).__name__ == kind] for kind in {type(one).__name__ for one in found}
    }


def talked(saver: HoldfastSaver) -> list[Any]:
    talk = holdfast.Conversation(echo_graph(saver), "ada-1", "ada")
    events = list(talk.stream("Hello"))
    page = saver.threads.list()
    salvaged = saver.threads.salvage("ada-1")
    saver.threads.undo("ada-1", by="Ada")
    called = graph.ToolCalled("pay", {"order": 7}, "call-1"), graph.ToolAnswered("pay", "Paid.", False, "call-1")
    said = checkpoints.Tokens(1, 2, 3), checkpoints.CalledTool("call-1", "pay", {"order": 7})
    hits = saver.search.find("hello")
    return [*events, graph.Token("Hel"), *called, *said, talk.send("Again"), page, *page.threads, salvaged, *hits]


def asked(saver: HoldfastSaver) -> list[Any]:
    builder = StateGraph(graph.State)
    builder.add_node("ask", lambda _: {"messages": [("user", interrupt("Refund?"))]})
    builder.add_edge(START, "ask")
    agent = builder.compile(checkpointer=saver)
    talk = holdfast.Conversation(agent, "bob-1", "bob")
    talk.send("Please.")
    [request] = saver.interrupts.waiting()
    pending = talk.pending()
    answered = saver.interrupts.answer("bob-1", request.interrupt_id, "yes", by="Grace")
    again = StateGraph(graph.State)
    again.add_node("other", lambda _: {})
    again.add_edge(START, "other")
    checked = deploy.check(again.compile(), saver)
    entries = [*saver.transcript("bob-1"), *saver.transcript("ada-1")]
    return [request, answered, *pending, graph.Paused(pending[0]), checked, *checked.obstacles, *entries]


def in_doubt(saver: HoldfastSaver) -> list[Any]:
    [head] = saver.heads()
    effect = Effect(head.thread_id, "key", "pay", b"\xff\x00", "", head.checkpoint_id)
    started = saver.effects.begin(effect)
    assert isinstance(started, Started)
    change(saver, "UPDATE holdfast_effects SET alive_until = alive_until - 3600.25")
    [entry] = saver.effects.in_doubt()
    assert saver.effects.doubt(started, "error")
    doubt = saver.effects.look(effect)
    assert isinstance(doubt, InDoubt)
    saver.effects.settle(doubt, {"paid": True}, skipped=False, by="Grace")
    return [head, started, entry, doubt, saver.effects.look(effect)]


def looked_after(saver: HoldfastSaver) -> list[Any]:
    stats = maintenance.collect_stats(saver.database)
    table = maintenance.TableSize("table", "checkpoints", "checkpoints", 7)
    with open_checkpointer("memory://") as target:
        moved = transfer.transfer_thread(saver.database, target.database, "ada-1")
    schema = maintenance.Schema(True, 7, 8, ["members"])
    examined = convert.examine_thread(saver.database, "ada-1")
    converted = convert.compact_thread(saver.database, "ada-1")
    damage = checkpoints.Damage("metadata", "not what was saved")
    swept = saver.sweep(RetentionPolicy([RetentionRule(keep_days=90)]), dry_run=True)
    redacted = saver.redact("ada-1", patterns=["email"], dry_run=True)
    erased = saver.erase("bob-1", reason="asked for", by="eve")
    receipt = checkpoints.ReceiptCheck(erased, is_intact=True)
    found = [stats, table, *stats.largest, moved, schema, examined, converted, damage, swept, redacted]
    keys = [convert.EncryptedThreads(7), convert.RotatedKeys(7, "2026-11")]
    return [*found, erased, receipt, *keys, *accepted(saver)]


def accepted(saver: HoldfastSaver) -> list[Any]:
    run = saver.runs.accept(NewRun("ada-1", "agent", "message", {"text": "Hello"}, user_id="ada"))
    saver.threads.begin("new-1", {"team": "red"}, owner="ada")
    begun = saver.threads.newest_begun(10)
    [claimed] = saver.runs.claim("agent", "a worker")
    return [run, saver.runs.finish(claimed, "done"), checkpoints.DeadTurn("ada-1", 7, "a dead process"), *begun]


@pytest.mark.parametrize("name", sorted(public_results()))
def test_a_public_result_has_names_and_times_in_json(name: str, results: dict[str, list[Any]]) -> None:
    kind = public_results()[name]
    assert dataclasses.is_dataclass(kind), "no tuple"
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert results.get(name), f"Add a result of the type {name} to those above."
    for result in results[name]:
        shown = json.loads(TypeAdapter(kind).dump_json(result))
        fields = {field.name: getattr(result, field.name) for field in dataclasses.fields(kind)}
        assert shown.keys() == fields.keys()
        for field, value in fields.items():
            if isinstance(value, datetime):
                assert value.utcoffset() == datetime.now(UTC).utcoffset()
                assert datetime.fromisoformat(shown[field]) == value


@pytest.mark.parametrize("part", PARTS)
def test_no_public_method_returns_a_tuple(part: str) -> None:
    for name, signature in methods_of(classes()[part]).items():
        assert "tuple[" not in str(signature.return_annotation), name


def test_the_times_of_the_ledger_are_those_that_the_database_has(saver: HoldfastSaver) -> None:
    echo_graph(saver).invoke({"messages": [("user", "Hello")]}, thread())
    [head] = saver.heads()
    before = datetime.now(UTC)
    saver.effects.begin(Effect("ada-1", "key", "pay", b"", "", head.checkpoint_id))
    entry = saver.effects.entry("ada-1", "key")
    assert entry is not None
    assert abs((entry.started_at - before).total_seconds()) < 3600
    assert entry.alive_until > entry.started_at
