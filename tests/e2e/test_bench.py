"""The bench measures what it says, on short conversations."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from threading import Thread

import psycopg
import pytest

from bench import __main__ as bench
from bench import calls, growth, importing, listing, others, searching, serving, short, sweeping, table
from bench.peers import Pair, pairs, peer_at, peers
from bench.places import SqliteFile
from bench.plots import plots
from bench.proxy import delaying
from bench.rounds import Meter, Spent, summary
from bench.sizes import Sizes
from bench.talking import Talk
from holdfast.checkpoints import open_checkpointer
from tests.support import other_savers
from tests.support.servers import Server

TINY = Sizes(
    short_rounds=2, logged_threads=1, distant_rounds=1, crowd_rounds=2, crowd_turns=2, crowds=(4, 4), turns=20, near=12,
    far=24, span=8, approval_rounds=2, guarded_rounds=2, dicts=20, dict_rounds=2, grown_rounds=1, files_mb=1,
    files_rounds=1, channel_rounds=1, others_turns=2, others_kills=1,
)  # fmt: skip


@pytest.fixture
def sqlite_pair(tmp_path: Path) -> Pair:
    return next(pair for pair in pairs(peers(tmp_path, "")) if pair.database == "SQLite")


@pytest.mark.sweep
def test_a_database_of_ones_own_is_measured(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["long", "--turns", "20", "--url", sqlite_url, "--out", f"{tmp_path / 'out'}"]
    monkeypatch.setattr("sys.argv", ["bench", *arguments])
    bench.main()

    printed = capsys.readouterr().out
    assert re.search(r"\| SQLite, Holdfast \| \d+\.\d\d \| \d+\.\d\d \| \d+\.\d ms \| \d+\.\d ms \|", printed)
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    [long] = found["long"]
    assert len(long["times_ms"]) == len(long["cpu_ms"]) == 20
    assert [turn for turn, _ in long["curve"]] == [20]
    assert 1 < long["pruned_per_text"] < long["bytes_per_text"]
    assert found["runs"]["long"]["load"]
    plots(found, tmp_path / "out")
    for name in ("bytes-light", "bytes-dark", "time-light", "time-dark"):
        assert ">Holdfast</text>" in (tmp_path / "out" / f"{name}.svg").read_text()


@pytest.mark.sweep
def test_a_run_fills_every_line_of_the_tables_that_it_is_for(postgres_server: Server, tmp_path: Path) -> None:
    all_peers = peers(tmp_path, postgres_server.url)
    found = bench.run_measures(list(bench.MEASURES), bench.Bench(all_peers, tmp_path, postgres_server.url, TINY))

    on_demand = {"growth", "memory", "tools"}
    for lines in (table.turn_lines, table.state_lines, table.own_lines):
        for line in lines(found):
            if line.key not in on_demand:
                assert set(line.figures) == ({"PostgreSQL"} if line.key == "distance" else {"SQLite", "PostgreSQL"})
                assert all(figure > 0 for figure in line.figures.values()), line
    assert len(found["long"]) == 7
    assert "Taken in a run on" in table.tables(found)


@pytest.mark.sweep
def test_a_quick_run_begins_the_long_conversation_of_a_stock_saver_late(sqlite_pair: Pair) -> None:
    sizes = Sizes(turns=30, late_turns=5, is_whole=False)
    ours, stock = bench.long.long_conversations([sqlite_pair.ours, sqlite_pair.stock], sizes)
    assert (ours.turns, len(ours.times_ms), stock.turns, len(stock.times_ms)) == (30, 30, 30, 5)
    assert stock.bytes_per_text is None
    assert "turn 30" in next(
        line.what for line in table.turn_lines({"long": [asdict(ours), asdict(stock)]}) if line.figures
    )


@pytest.mark.sweep
@pytest.mark.timeout(300)
def test_a_checkpointer_of_another_database_runs_a_killed_call_twice_and_holdfast_loses_no_message(
    sqlite_url: str,
) -> None:
    kept = others.others("SQLite", sqlite_url, lambda _: 0, replace(TINY, others_kills=0))
    assert (kept["answered"], kept["lost"]) == (40, 0)
    if why := other_savers.missing("valkey"):
        pytest.skip(why)
    with other_savers.served("valkey") as url:
        found = others.others("Valkey", url, others.stored_bytes("valkey"), TINY)
    assert (found["answered"], found["killed"], found["ran_twice"]) == (40, 1, 1)
    assert found["bytes"] > found["text"] == 8000


@pytest.mark.sweep
@pytest.mark.parametrize("database", ["SQLite", "PostgreSQL"])
def test_a_sweep_deletes_all_old_threads_beside_conversations(
    postgres_server: Server, tmp_path: Path, database: str
) -> None:
    found = sweeping.sweeping(database, tmp_path, postgres_server.url, many=100, alone=0.5)
    assert found["threads"] == 100
    assert found["beside_ms"]["saves"] > 0
    assert 0 < found["beside_ms"]["median"] <= found["beside_ms"]["longest"]
    keys = {line.key for line in table.record_lines({"sweeping": [found]}) if line.figures}
    assert keys == {"sweep", "sweep-alone", "sweep-time", "sweep-idle"}


@pytest.mark.sweep
@pytest.mark.timeout(300)
def test_turns_streams_and_lists_of_servers_are_measured(tmp_path: Path) -> None:
    tiny = replace(TINY, served_rounds=5, streams=3, threads=1000, asked=40, starts=1)
    found = [
        serving.turns("SQLite", 0, tmp_path, "", tiny),
        serving.streams("SQLite", tmp_path, "", tiny, thinks=0.1),
        serving.many_threads("SQLite", tmp_path, "", tiny),
    ]
    lines = [line for line in table.serving_lines({"serving": found}) if line.figures]
    assert {"http-0", "http-plain", "streams", "router-ready", "langgraph-ready", "served-inbox"} <= {
        line.key for line in lines
    }
    assert all(figure > 0 for line in lines for figure in line.figures.values() if line.key != "streams")
    assert found[1]["failed"] == 0


def test_rounds_are_compared_by_their_median_and_the_cpu_time_of_others_by_its_sum() -> None:
    ours = [Spent(1.0, 1.0, 1.0), Spent(2.0, 1.0, 3.0), Spent(90.0, 2.0, 2.0)]
    stock = [Spent(2.0, 1.0, 4.0), Spent(2.0, 2.0, 4.0), Spent(10.0, 1.0, 4.0)]
    found = summary(ours, stock, turns=10)
    assert (found["time"], found["cpu"], found["all_cpu"]) == (1.0, 1.0, 0.5)
    assert found["ours_ms"] == {"wall": 200.0, "cpu": 100.0, "all_cpu": 200.0}


@pytest.mark.sweep
def test_the_cpu_time_of_the_server_is_counted(postgres_database: str) -> None:
    spent: list[Spent] = []
    meter = Meter(postgres_database)
    with psycopg.connect(postgres_database) as connection, meter.timing(spent):
        connection.execute("SELECT count(*) FROM generate_series(1, 1000000)")
    assert spent[0].all_cpu - spent[0].cpu > 0.05


@pytest.mark.sweep
def test_a_log_that_is_kept_shows_what_a_turn_writes(sqlite_pair: Pair) -> None:
    for peer in (sqlite_pair.ours, sqlite_pair.stock):
        with peer.opened() as (saver, place):
            place.keep_log(saver)
            before = place.log_size()
            short.threads_of(saver, 500, 30)()
            written = place.log_size() - before
            assert isinstance(place, SqliteFile)
            assert written > 30 * 1000, peer.label


def test_the_proxy_delays_both_ways_and_keeps_the_order(tmp_path: Path) -> None:
    said = bytes(range(256)) * 4000
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path / 'echo'}")
        listener.listen()

        def echo() -> None:
            with listener.accept()[0] as connection:
                while data := connection.recv(2**16):
                    connection.sendall(data)

        Thread(target=echo, daemon=True).start()
        with delaying(f"{tmp_path / 'echo'}", 20) as port, socket.create_connection(("127.0.0.1", port)) as client:
            begin = time.perf_counter()
            client.sendall(b"!")
            assert client.recv(1) == b"!"
            assert time.perf_counter() - begin >= 0.04
            writer = Thread(target=client.sendall, args=(said,))
            writer.start()
            heard = b""
            while len(heard) < len(said):
                heard += client.recv(2**16)
            writer.join()
            assert heard == said


def test_a_conversation_that_lost_something_is_no_measurement(sqlite_url: str) -> None:
    with open_checkpointer(sqlite_url) as saver:
        talk = Talk(saver)
        talk.turn()
        talk.times.append(1.0)
        with pytest.raises(AssertionError, match="2 messages in the state after 2 turns"):
            talk.check()
    assert peer_at(sqlite_url).label == "SQLite, Holdfast"


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore:create_react_agent has been moved")
def test_what_is_measured_on_demand_is_in_the_tables(sqlite_pair: Pair) -> None:
    ours = sqlite_pair.ours
    listed = listing.listing(ours, few=1000, many=2000)
    found = {
        "listing": [ours.labels | listed],
        "growth": [ours.labels | {"ratio": growth.growth(ours, near=5, far=20, span=10)}],
        "memory": [ours.labels | {"ratio": growth.memory_held(ours, few=5, many=10, threads=5)}],
    }
    printed = table.tables(found)
    assert 0 < listed["few_ms"] < 100
    for line in ("among 100,000 threads, median", "turn 2,000 adds ÷ turn 20", "over 1,000 threads ÷ after 1,000"):
        assert re.search(rf"{line} \| \d+\.\d+", printed)
    assert growth.with_tools(ours, turns=20) < growth.with_tools(sqlite_pair.stock, turns=20)


@pytest.mark.sweep
def test_a_search_of_many_messages_is_measured(sqlite_url: str) -> None:
    found = searching.searching(peer_at(sqlite_url), messages=2000)
    printed = table.tables({"search": [asdict(found)]})
    assert (
        f"a search of a user's 20 messages among 2,000, median | {found.median_ms:.1f} ms |  | ≤ 50 ms | yes |"
        in printed
    )
    assert set(found.kinds_ms) >= {"rare", "common", "common and rare", "a phrase"}


@pytest.mark.sweep
def test_an_import_is_measured(sqlite_url: str) -> None:
    peer = peer_at(sqlite_url)
    found = peer.labels | importing.importing(peer, Meter(), sessions=2)
    assert (found["messages"], found["wall_s"] > 0) == (200, True)
    printed = table.tables({"importing": [found]})
    assert "| to import 200 messages in 2 conversations | 0." in printed
    assert "| ≤ 60 s | yes |" in printed


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
