"""A process that is killed leaves the state before or the state after, never something in between."""

from __future__ import annotations

from signal import SIGKILL
from typing import Any

import pytest

from holdfast.checkpoints import open_checkpointer
from tests.support import children
from tests.support.dialects import STOCK_TABLES, dialect_of
from tests.support.kit import rows, texts, thread
from tests.support.sweep import Sweep


def everything(url: str) -> dict[str, list[Any]]:
    """All rows of all tables, as a new process finds them."""
    tables = [*STOCK_TABLES[dialect_of(url)], "holdfast_messages", "holdfast_threads"]
    with open_checkpointer(url) as saver:
        texts(saver)  # whatever is there can be read
        return {name: sorted(map(repr, rows(saver, f"SELECT * FROM {name}"))) for name in tables}


@pytest.mark.sweep
@pytest.mark.parametrize("thread_is", ["new", "old"])
@pytest.mark.parametrize("kind", ["put", "put_writes"])
def test_a_save_that_is_killed_between_any_two_statements_leaves_nothing(
    url: str, kind: str, thread_is: str, sweep: Sweep
) -> None:
    if thread_is == "old":
        children.run(children.talk, url, "one")
    before = everything(url)
    said = ["one", "You said: one"] if thread_is == "old" else []

    names: Any = None
    for last in range(sweep(1, 0), 100, sweep(5, 1)):
        names = children.run(children.die_in_save, url, kind, last)
        if names != -SIGKILL:
            break
        assert everything(url) == before, f"killed before statement {last}"

    assert {"begin", "lock_thread", "add_row", "commit"} <= set(names), "the seam has seen the whole save"
    assert 0 <= last - len(names) < sweep(5, 1)
    after = everything(url)
    with open_checkpointer(url) as saver:
        found = saver.get_tuple(thread())
        if kind == "put":
            assert texts(saver) == [*said, "saved", "too"]
        elif thread_is == "old":
            assert found is not None
            written = {channel: value for _, channel, value in found.pending_writes or []}
            assert [m.text for m in written["messages"]] == ["one", "saved", "too"]
            assert written["other"] == "kept"
    assert sum(map(len, after.values())) > sum(map(len, before.values()))
    assert children.run(children.talk, url, "on")[-2:] == ["on", "You said: on"]


@pytest.mark.sweep
def test_a_turn_that_is_killed_before_any_commit_can_be_repeated(url: str, sweep: Sweep) -> None:
    children.run(children.talk, url, "one")

    said: Any = None
    for commit in range(0, 100, sweep(3, 1)):
        said = children.run(children.die_in_turn, url, "two", commit)
        if said != -SIGKILL:
            break
        everything(url)

    assert commit > 3
    assert said[:2] == ["one", "You said: one"]
    assert said.count("two") == 1, "it has an id, so a repeated turn does not say it again"
    assert set(said[2:]) == {"two", "You said: two"}


def test_a_save_that_was_acknowledged_outlives_the_process(url: str) -> None:
    assert children.run(children.pause_and_die, url) == -SIGKILL
    with open_checkpointer(url) as saver:
        assert texts(saver) == ["May I?"]


@pytest.mark.sweep
def test_a_pause_of_a_killed_process_resumes_in_another(url: str, sweep: Sweep) -> None:
    assert children.run(children.pause_and_die, url) == -SIGKILL

    for commit in range(0, 100, sweep(2, 1)):
        said = children.run(children.resume_or_die, url, "yes", commit)
        if said != -SIGKILL:
            break
        with open_checkpointer(url) as saver:
            assert texts(saver)[0] == "May I?"

    assert commit > 1
    assert said == ["May I?", "The person said yes."]
    assert children.run(children.talk, url, "two")[-2:] == ["two", "You said: two"]
