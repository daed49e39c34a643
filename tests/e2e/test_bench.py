"""The bench measures what it says, on short conversations."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from threading import Thread

import pytest

from bench import __main__ as bench
from bench import bounded, calls, listing, measures, recording, report, searching
from bench.peers import Peer, peer_at, peers
from holdfast.checkpoints import open_checkpointer


@pytest.mark.sweep
def test_a_database_of_ones_own_is_measured(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "sys.argv", ["bench", "long", "--turns", "20", "--url", sqlite_url, "--out", f"{tmp_path / 'out'}"]
    )
    bench.main()

    printed = capsys.readouterr().out
    assert re.search(r"\| SQLite, Holdfast \| \d+\.\d\d \| \d+\.\d\d \| \d+\.\d ms \| \d+\.\d ms \|", printed)
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    [long] = found["long"]
    assert len(long["times_ms"]) == 20
    assert [turn for turn, _ in long["curve"]] == [20]
    assert 1 < long["pruned_per_text"] < long["bytes_per_text"]
    for name in ("bytes", "time"):
        assert "<svg" in (tmp_path / "out" / f"{name}.svg").read_text()


@pytest.mark.sweep
def test_ours_is_set_against_the_stock_saver_of_the_same_run(tmp_path: Path) -> None:
    both: list[Peer] = [peer for peer in peers(tmp_path, "") if peer.database == "SQLite" and not peer.delta]
    found = dict(bench.run_measures(["long"], both, 20, tmp_path, ""))
    printed = report.table(found)
    assert "SQLite: time of a turn at the end, ours ÷ stock" in printed
    ours, stock = (row["bytes_per_text"] for row in found["long"])
    assert ours < stock / 4
    assert f"SQLite: bytes ÷ bytes of text | {ours:.2f} | ≤ 2.2" in printed


def test_a_conversation_that_lost_something_is_no_measurement(sqlite_url: str) -> None:
    with open_checkpointer(sqlite_url) as saver:
        talk = measures.Talk(saver)
        talk.turn()
        talk.times.append(1.0)
        with pytest.raises(AssertionError, match="2 messages in the state after 2 turns"):
            talk.check()
    assert peer_at(sqlite_url).label == "SQLite, Holdfast"


@pytest.mark.sweep
def test_the_cost_of_the_record_is_measured(tmp_path: Path) -> None:
    [ours] = [peer for peer in peers(tmp_path, "") if peer.database == "SQLite" and peer.ours]
    listed = listing.listing(ours, few=1000, many=2000)
    found = {
        "bounded": [bench.labels_of(ours) | bounded.bounded(ours, near=12, far=24, span=8)],
        "listing": [bench.labels_of(ours) | listed],
        "record": [bench.labels_of(ours) | {"ratio": recording.recording(ours, turns=10, rounds=1)}],
    }
    printed = report.table(found)
    assert 0 < listed["few_ms"] < 100
    for line in ("turn 5,000 ÷ turn 50, time", "among 100,000, median", "with index and transcript ÷ without"):
        assert re.search(rf"{line} \| \d+\.\d+", printed)


@pytest.mark.sweep
def test_a_search_of_many_messages_is_measured(sqlite_url: str) -> None:
    found = searching.searching(peer_at(sqlite_url), messages=2000)
    printed = report.table({"search": [asdict(found)]})
    assert f"search 20 messages of a user among 2,000, median | {found.median_ms:.1f} ms | ≤ 50 ms |" in printed
    assert set(found.kinds_ms) >= {"rare", "common", "common and rare", "a phrase"}


@pytest.mark.sweep
def test_a_load_a_save_and_an_approval_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["calls", "--url", "memory://", "--json", f"{tmp_path / 'calls.json'}"])
    calls.main()

    printed = capsys.readouterr().out
    found = {count["operation"]: count for count in json.loads((tmp_path / "calls.json").read_text())}
    assert list(found) == ["get_tuple", "put", "put_writes", "approval"]
    for operation, count in found.items():
        assert re.search(rf"\| {operation} \| memory, Holdfast \| (≥ )?{count['calls']:,} \|", printed)
        assert all((calls._HOUSE / module).is_file() for module in count["modules"])
        assert count["calls"] > len(count["modules"]) > 10
        assert count["statements"] > 1
    assert found["get_tuple"]["steady"], "a load is on one thread, and counted alike each time"
    assert found["approval"]["calls"] > found["put"]["calls"] > found["get_tuple"]["calls"]


def test_the_counter_counts_each_call_and_each_statement_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_NOT_OURS", {"bench", ".venv"})
    counter = calls.Counter(peer_at("memory://"))
    database = sqlite3.connect(":memory:")

    def numbers(last: int) -> Iterator[int]:
        yield from range(last)

    def asked() -> None:
        assert sum(number for number in numbers(3)) == 3
        database.execute("SELECT 1")

    with counter.counting():
        asked()
        worker = Thread(target=lambda: [*numbers(2)])
        worker.start()
        worker.join()
    database.close()
    count = counter.count("asked")
    assert (count.calls, count.statements) == (3, 1), "asked, and the two generators that ran"
    assert count.modules == ["tests/e2e/test_bench.py"]
