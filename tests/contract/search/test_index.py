"""A search updates the full-text index, while other processes do the same, and after one was killed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from holdfast.checkpoints import HoldfastSaver, convert, maintenance, open_checkpointer
from holdfast.checkpoints.search import service
from tests.support.children import DieBeforeCommit, run
from tests.support.dialects import dialect_of
from tests.support.kit import change, checkpoint, put, rows, thread
from tests.support.search_kit import own
from tests.support.sweep import Sweep


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction for every three rows or two threads."""
    for name, number in (("_BATCH_ROWS", 3), ("_BATCH_THREADS", 2), ("_PAGE", 2)):
        monkeypatch.setattr(service, name, number)


def fill(saver: HoldfastSaver, threads: int = 5, messages: int = 7) -> None:
    for number in range(threads):
        said = [HumanMessage(f"order {number} {place}", id=f"{place}") for place in range(messages)]
        put(saver, thread(f"t{number}"), checkpoint(said))
        own(saver, f"user-{number % 2}", f"t{number}")


def everything(saver: HoldfastSaver) -> list[tuple[str, int]]:
    return sorted((hit.thread_id, hit.seq) for hit in saver.search.find("order", limit=1000))


EVERY = [(f"t{number}", seq) for number in range(5) for seq in range(1, 8)]


@pytest.mark.usefixtures("few")
def test_a_search_puts_in_what_is_new_in_batches_and_says_how_far_it_is(saver: HoldfastSaver) -> None:
    fill(saver)
    told: list[tuple[int, int]] = []
    assert saver.search.refresh(user_id="user-1", progress=lambda done, total: told.append((done, total))) == 14
    assert told[-1] == (14, 14)
    assert len(told) > 4
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {hit.user_id for hit in saver.search.find("order", user_id="user-1")} == {"user-1"}
    assert rows(saver, "SELECT count(*) FROM holdfast_threads WHERE searched > 0") == [(2,)], "only theirs were put in"
    assert everything(saver) == EVERY
    assert saver.search.refresh() == 0
    put(saver, thread("t0"), checkpoint([HumanMessage("a new order", id="new")]))
    assert saver.search.refresh() == 1
    assert everything(saver) == sorted([*EVERY, ("t0", 8)])


@pytest.mark.usefixtures("few")
def test_several_may_bring_it_up_to_date_at_once(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    fill(saver)
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda who: who.search.refresh(), [saver, other, saver, other]))
    assert sum(done) == len(EVERY), "each row was put in once"
    assert everything(other) == EVERY


def refresh_or_die(url: str, commit: int) -> int:
    """Bring the index up to date, three rows at a time, and die before that commit."""
    service._BATCH_ROWS, service._BATCH_THREADS = 3, 2  # type: ignore[misc]  # in this process alone
    with open_checkpointer(url) as saver:
        reads = ("search_state", "to_index_after")
        saver._backend.on_statement = DieBeforeCommit(commit, reads)
        done = saver.search.refresh()
        saver._backend.on_statement = None
        return done


@pytest.mark.sweep
@pytest.mark.sweep(on="sqlite")
def test_a_killed_update_of_the_index_keeps_what_it_committed(url: str, sweep: Sweep) -> None:
    with open_checkpointer(url) as saver:
        fill(saver)
    for commit in range(1, 4, sweep(2, 1)):
        assert run(refresh_or_die, url, commit) < 0
    with open_checkpointer(url) as saver:
        [(before,)] = rows(saver, "SELECT sum(searched) FROM holdfast_threads")
        assert 0 < before < len(EVERY)
        assert saver.search.refresh() == len(EVERY) - before
        assert everything(saver) == EVERY


def test_the_index_is_counted_and_goes_with_our_tables(bare_url: str) -> None:
    with open_checkpointer(bare_url) as saver:
        fill(saver, 2, 2)
        assert len(everything(saver)) == 4
        names = {part.name for part in maintenance.collect_stats(saver.database).parts}
        assert not names or any(name.startswith("holdfast_search") for name in names)
        for number in range(2):
            convert.expand_thread(saver.database, f"t{number}")
        convert.drop_tables(saver.database)
        assert ours(saver) == []
    with open_checkpointer(bare_url) as saver:
        fill(saver, 2, 2)
        assert len(everything(saver)) == 4


def ours(saver: HoldfastSaver) -> list[Any]:
    """The names of all that is Holdfast's own."""
    names = {
        "postgres": "SELECT relname FROM pg_class WHERE relname LIKE 'holdfast%'",
        "sqlite": "SELECT name FROM sqlite_schema WHERE name LIKE 'holdfast%'",
    }
    return rows(saver, names[dialect_of(saver)])


def test_a_rolled_back_deletion_leaves_the_index_as_it_was(saver: HoldfastSaver) -> None:
    fill(saver, 2, 2)
    before = everything(saver)

    def fail(name: str) -> None:
        if name == "bury_threads":
            raise RuntimeError

    saver._backend.on_statement = fail
    with pytest.raises(RuntimeError):
        saver.delete_thread("t0")
    saver._backend.on_statement = None
    assert everything(saver) == before
    change(saver, "DELETE FROM holdfast_messages WHERE thread_id = 't0' AND seq = 1")
    assert everything(saver) == before[1:], "a deleted row is removed from the index"
