"""A step of a conversation takes no longer because the database is full: every statement finds its rows by an index."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.types import Interrupt

from bench.talking import graph_of
from holdfast import RetentionPolicy, RetentionRule
from holdfast.checkpoints import DeadTurn, HoldfastSaver, NewRun, open_checkpointer, transfer
from holdfast.checkpoints.backends.base import Call
from holdfast.checkpoints.deploy.heads import pages
from holdfast.checkpoints.deploy.work import pauses_of
from holdfast.checkpoints.effects.states import Effect, InDoubt, Started
from holdfast.checkpoints.sql import Statement
from holdfast.checkpoints.transfer.records import RECORDS
from tests.support.children import put_after
from tests.support.dialects import dialect_of
from tests.support.explained import plan, scans
from tests.support.filled import COLUMNS, OURS
from tests.support.kit import change, echo_graph, forget, rows, thread

MESSAGES = 300

LINEAGE = "'bob-' || n"
"""The others are no copies of ada-1."""

Record = Callable[[Callable[[], object]], list[Call]]


@pytest.fixture(params=COLUMNS, scope="module")
def dialect(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def filled(dialect: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a database with a long conversation, `ada-1`, and thousands of rows of other ones."""
    if dialect == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('filled') / 'holdfast.db'}"
    else:
        url = request.getfixturevalue("new_postgres_database")()
    with open_checkpointer(url) as saver:
        said = [HumanMessage(f"message {n}", id=f"m{n}") for n in range(MESSAGES)]
        for end in range(10, MESSAGES + 1, 10):
            put_after(saver, thread(), saver.get_tuple(thread()), *said[end - 10 : end], note="n" * 500)
        saver.note_prompt(thread(), "Be brief.")
        echo_graph(saver).invoke({"messages": [("user", "hello")]}, thread(user_id="ada"))
        saver.threads.share("ada-1", "grace")
        found = saver.get_tuple(thread())
        assert found is not None
        saver.put_writes({**found.config, "metadata": {"run_id": "run-1"}}, [("note", "n")], "task-1")
        change(
            saver,
            "INSERT INTO holdfast_effects (thread_id, lineage, effect_key, tool, args_digest, state, attempt, owner,"
            " alive_until, started_at) VALUES ('ada-1', 'ada-1', 'key', 'pay', :digest, 'done', 1, 'me', 0, 0)",
            digest=b"args",
        )
        saver.put_writes(
            found.config, [("__interrupt__", [Interrupt("?", id="i1"), Interrupt("?", id="i2")])], "task-2"
        )
        change(saver, "UPDATE holdfast_interrupts SET closed_at = 1 WHERE interrupt_id = 'i2'")
        saver.runs.accept(NewRun("ada-1", "agent", "message", {}, key="key"))
        for table, columns in {**COLUMNS[dialect], **OURS}.items():
            selected = columns.replace("lineage", LINEAGE)
            if table == "holdfast_runs":
                selected = selected.replace("number", "0").replace("run_id", "'run-' || n").replace("state", "'done'")
            times = 2000 // len(rows(saver, f"SELECT 1 FROM {table}")) + 7
            change(
                saver,
                f"INSERT INTO {table} (thread_id, {columns}) "
                f"WITH RECURSIVE copies (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM copies WHERE n < {times}) "
                f"SELECT 'bob-' || n, {selected} FROM {table}, copies"
                " WHERE thread_id = 'ada-1'",
            )
        # Of thousands of questions a few wait, and one was answered.
        change(saver, "UPDATE holdfast_interrupts SET closed_at = 1 WHERE thread_id NOT IN ('ada-1', 'bob-7', 'bob-8')")
        saver.interrupts.answer("bob-7", "i1", "yes")
        if dialect == "postgres":  # it counts by itself, now and then; SQLite never does, so it must do without
            change(saver, "ANALYZE")
    return url


@pytest.fixture
def full(dialect: str, filled: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HoldfastSaver]:
    """A checkpointer on a copy of that database."""
    if dialect == "sqlite":
        url = f"sqlite:///{shutil.copy(filled.removeprefix('sqlite:///'), tmp_path)}"
    else:
        url = request.getfixturevalue("new_postgres_database")(filled)
    with open_checkpointer(url) as saver:
        yield saver


@pytest.fixture
def record(dialect: str, monkeypatch: pytest.MonkeyPatch) -> Record:
    """Calls something, and returns the statements that it sent with their parameters."""
    import holdfast.checkpoints.backends.postgres
    import holdfast.checkpoints.backends.sqlite.group_commit

    seen: list[Call] = []
    of: Any = holdfast.checkpoints.backends.sqlite.group_commit.SqliteTransaction
    name = "run"
    if dialect == "postgres":
        of, name = holdfast.checkpoints.backends.postgres._PostgresTransaction, "_execute"
    original = getattr(of, name)

    def spy(self: Any, calls: Any) -> Any:
        seen.extend(calls)
        return original(self, calls)

    def record(work: Callable[[], object]) -> list[Call]:
        seen.clear()
        with monkeypatch.context() as patch:
            patch.setattr(of, name, spy)
            work()
        return [call for call in seen if call[0].name not in {"begin", "commit"}]

    return record


def turn(saver: HoldfastSaver) -> None:
    echo_graph(saver).invoke({"messages": [("user", "again")]}, thread(), durability="sync")


@pytest.mark.sweep(on="postgres")
def test_no_statement_of_a_turn_walks_through_a_table(full: HoldfastSaver, record: Record) -> None:
    forget(full)
    delta = graph_of(full, lambda: "answer", delta=True)
    asked = {"messages": [HumanMessage("again", id="again")]}
    calls = record(lambda: (turn(full), delta.invoke(asked, thread(), durability="sync")))

    names = {statement.name for statement, _ in calls}
    assert {"find_checkpoints", "load_rows", "lock_thread", "head", "add_row", "save_checkpoint", "add_write"} <= names
    assert {"written_messages", "count_written", "claim_written"} <= names
    for call in calls:
        assert scans(plan(full, call)) == [], call[0].name


@pytest.mark.sweep
def test_deleting_a_thread_walks_through_no_table(full: HoldfastSaver, record: Record) -> None:
    calls = record(lambda: full.delete_thread("bob-7"))

    assert "delete_rows" in {statement.name for statement, _ in calls}
    for call in calls:
        assert scans(plan(full, call)) == [], call[0].name


@pytest.mark.sweep(on="postgres")
def test_threads_are_listed_from_an_index(full: HoldfastSaver, record: Record) -> None:
    first = full.threads.list(limit=5)
    lists: list[Callable[[], object]] = [
        lambda: full.threads.list(user_id="ada", limit=5),
        lambda: full.threads.list(limit=5, cursor=first.cursor),
        lambda: full.threads.list(user_id="ada", status="paused"),
        lambda: full.threads.get("bob-7"),
        lambda: full.threads.get("bob-7", user_id="grace"),
        lambda: full.threads.check_user("bob-7", "grace"),
        lambda: full.threads.members("bob-7"),
    ]
    calls = [record(look) for look in lists]
    assert all(calls), "each of them asked the database"
    for call in chain.from_iterable(calls):
        steps = plan(full, call)
        # Leases are few, and so are open questions, of which there is an index, and the threads of a page.
        few = "leases|INDEX holdfast_interrupts|facts|SCAN (listed|owned|joined)"
        assert scans([step for step in steps if not re.search(few, step)]) == []
        assert not any("holdfast_threads" in step and "Sort" in step for step in steps)


@pytest.mark.sweep(on="postgres")
def test_the_newest_heads_are_found_by_the_index_of_threads(full: HoldfastSaver, record: Record) -> None:
    [call] = record(lambda: full.heads(5))
    steps = plan(full, call)
    assert any("holdfast_threads_newest" in step for step in steps), steps
    assert scans([step for step in steps if not re.search("holdfast_threads_newest|SCAN t$|Subquery", step)]) == []


def test_a_sweep_finds_old_threads_from_the_end_of_an_index(full: HoldfastSaver, record: Record) -> None:
    rules = RetentionPolicy([RetentionRule(keep_days=30_000), RetentionRule(user_id="ada", keep_days=30_000)])
    calls = [call for call in record(lambda: full.sweep(rules)) if call[0].name == "retention_facts"]
    assert len(calls) == len(rules.rules)
    for call in calls:
        steps = plan(full, call)
        assert any(re.search("holdfast_threads_(user|newest).*updated_at *<", step) for step in steps), steps
        assert scans([step for step in steps if not re.search("leases|SCAN t$", step)]) == []


def run_of_its_own(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver)
    config: Any = {**thread("bob-9"), "metadata": {"run_id": "run-2"}}
    graph.invoke({"messages": [("user", "again")]}, config, durability="sync")
    graph.update_state(thread("bob-9"), {"messages": [("user", "more")]}, as_node="model")
    saver.delete_for_runs(["run-2"])


@pytest.mark.parametrize(
    "work",
    [
        lambda saver: saver.prune(["bob-7"]),
        lambda saver: saver.copy_thread("bob-7", "carol-1"),
        run_of_its_own,
        lambda saver: saver.get_delta_channel_history(config=thread("bob-7"), channels=["messages", "note"]),
        lambda saver: list(pages(saver.database, ["ada-1", "bob-7", "nowhere"])),
        lambda saver: saver.database.read(pauses_of(saver.database.backend.sql, "ada-1")),
    ],
    ids=["prune", "copy", "delete a run", "delta history", "heads", "pauses"],
)
def test_an_operation_on_a_thread_scans_no_table(
    full: HoldfastSaver, record: Record, work: Callable[[HoldfastSaver], None]
) -> None:
    calls = record(lambda: work(full))
    assert calls
    for call in calls:
        assert scans(plan(full, call)) == [], call[0].name


def test_a_thread_is_taken_out_by_its_keys(full: HoldfastSaver, record: Record) -> None:
    calls = record(lambda: list(transfer.export_thread(full.database, "ada-1")))
    assert {f"page_of_{kind}" for kind in RECORDS} <= {statement.name for statement, _ in calls}
    for call in calls:
        few = "holdfast_events"  # it does not pay to look them up
        assert [step for step in scans(plan(full, call)) if few not in step] == [], call[0].name


def test_the_ledger_is_read_and_written_by_its_indexes(full: HoldfastSaver, record: Record) -> None:
    found = full.get_tuple(thread("bob-9"))
    assert found is not None
    checkpoint_id = found.config["configurable"]["checkpoint_id"]
    effect = Effect("bob-9", "another", "pay", b"args", "", checkpoint_id)

    def run() -> None:
        started = full.effects.begin(effect)
        assert isinstance(started, Started)
        full.effects.doubt(started, "error")
        [doubt] = full.effects.in_doubt()
        assert full.effects.settle(InDoubt(doubt, "error"), "it happened", skipped=False, by="grace")
        full.effects.begin(effect)

    calls = record(run)
    names = {statement.name for statement, _ in calls}
    assert {"claim_effect", "effect", "doubt_effect", "effects_in_doubt", "settle_effect"} <= names
    for call in calls:
        # The whole of this index is what has not ended.
        walked = [step for step in scans(plan(full, call)) if "holdfast_effects_open" not in step]
        assert walked == [], call[0].name


def test_runs_are_accepted_claimed_and_ended_by_their_indexes(full: HoldfastSaver, record: Record) -> None:
    def work() -> None:
        new, again = [NewRun("bob-9", "agent", "message", {}, key="key") for _ in range(2)]
        assert full.runs.accept(new) == full.runs.accept(again)
        for claimed in full.runs.claim("agent", "me", limit=2):
            full.runs.renew("me", [claimed.run.run_id])
            full.runs.was_sent(claimed.run)
            full.runs.finish(claimed, "done")
        full.runs.list("bob-9")
        full.runs.cancel(new.run_id)
        full.runs.dead_turns("a turn of agent")
        full.runs.take_up(DeadTurn("bob-9", 1, "owner"), NewRun("bob-9", "agent", "retry", {}))

    calls = record(work)
    names = {statement.name for statement, _ in calls}
    assert {"accept_run", "run_of_key", "free_runs", "claim_run", "renew_runs", "was_sent", "finish_run"} <= names
    assert {"dead_turns", "is_dead"} <= names
    for call in calls:
        few = {"holdfast_runs_open", "holdfast_leases", "SCAN l"}  # the open runs, and the leases, which are held now
        assert [step for step in scans(plan(full, call)) if not any(map(step.count, few))] == [], call[0].name


def test_a_process_that_meets_a_thread_reads_only_the_rows_of_this_thread(full: HoldfastSaver, record: Record) -> None:
    forget(full)
    found = full.get_tuple(thread())
    assert found is not None
    new = [AIMessage(f"new {n}", id=f"n{n}") for n in range(3)]
    calls = record(lambda: put_after(full, thread(), found, *new))

    [of_thread] = [call for call in calls if call[0].name == "rows_of_thread"]
    steps = [step for step in plan(full, of_thread) if "holdfast_messages" in step and "Bitmap Heap" not in step]
    assert steps
    for step in steps:
        assert re.search(r"thread_id\s*=", step)
    by_digest = [call for call in calls if call[0].name.startswith("rows_with_digest")]
    assert by_digest
    for call in by_digest:
        for step in plan(full, call):
            assert "holdfast_messages_digest" in step
            assert re.search(r"digest\s*=", step), "the index is used for more than the thread"


def test_rows_are_loaded_by_thread_and_seq(full: HoldfastSaver, record: Record) -> None:
    forget(full)
    calls = [call for call in record(lambda: full.get_tuple(thread())) if call[0].name == "load_rows"]

    assert len(calls) == 1, "a conversation is one range"
    [step, *_] = plan(full, calls[0])
    assert re.search(r"sqlite_autoindex_holdfast_messages_1|holdfast_messages_pkey", step)
    assert re.search(r"thread_id\s*=", step)
    assert re.search(r"seq\s*>", step)
    assert re.search(r"seq\s*<", step)


def test_the_head_is_the_end_of_an_index_and_nothing_is_sorted(full: HoldfastSaver, record: Record) -> None:
    [find, *_] = [call for call in record(lambda: full.get_tuple(thread())) if call[0].name == "find_checkpoints"]
    with full._backend.writing() as transaction:
        explain = "EXPLAIN" if dialect_of(full) == "postgres" else "EXPLAIN QUERY PLAN"
        [lines] = transaction.run([(Statement("explain", f"{explain} {find[0].text}"), find[1])])
    whole = "\n".join(str(line[-1]) for line in lines)

    assert "TEMP B-TREE" not in whole
    assert re.search(r"sqlite_autoindex_checkpoints_1|Index Scan Backward using checkpoints_pkey", whole)


@pytest.mark.sweep(on="postgres")
def test_rows_that_the_cache_has_are_not_read_again(full: HoldfastSaver, record: Record) -> None:
    turn(full)
    turn(full)
    names = [statement.name for statement, _ in record(lambda: full.get_tuple(thread()))]
    assert [name for name in names if not name.startswith("find_")] == []


def test_waiting_requests_are_found_by_their_index_and_not_among_all_requests(
    full: HoldfastSaver, record: Record
) -> None:
    inbox = full.interrupts
    assert inbox.waiting()  # what stock savers have paused is looked for once in a while, through all threads
    calls = record(
        lambda: (
            inbox.waiting(100),
            inbox.waiting(100, "ada-1"),
            inbox.todo(100),
            inbox.todo(100, "bob-7"),
            inbox.recorded("bob-7", "i1"),
            inbox.answered("i1"),
            inbox.answer("ada-1", "i1", "yes"),
            inbox.expire(100),
            inbox.reopen(inbox.todo(1)[0]),
        )
    )

    assert {"waiting", "todo", "record_answer", "expire_interrupts", "unlisted"} <= {call[0].name for call in calls}
    for call in calls:
        few = re.compile("holdfast_interrupts_(waiting|open)|SCAN chosen")  # `chosen` is what was found
        assert [step for step in scans(plan(full, call)) if not few.search(step)] == [], call[0].name


@pytest.mark.sweep
def test_each_page_of_a_transcript_is_a_range_of_an_index(full: HoldfastSaver, record: Record) -> None:
    number = "WITH RECURSIVE numbers (n) AS (SELECT 400 UNION ALL SELECT n + 1 FROM numbers WHERE n < 3100)"
    columns = OURS["holdfast_messages"].replace("seq, message_id", "message_id")
    change(
        full,
        f"INSERT INTO holdfast_messages (thread_id, seq, {columns}) {number} SELECT 'ada-1', n, {columns}"
        " FROM holdfast_messages, numbers WHERE thread_id = 'ada-1' AND seq = 1",
    )
    change(full, "UPDATE holdfast_threads SET next_seq = 3101 WHERE thread_id = 'ada-1'")
    change(
        full,
        "UPDATE holdfast_interrupts SET answered_at = 1, answer_digest = :none WHERE thread_id = 'ada-1'",
        none=b"",
    )
    change(
        full,
        f"INSERT INTO holdfast_events (thread_id, no, after_seq, kind, at) {number}"
        " SELECT CASE WHEN n % 9 = 0 THEN 'ada-1' ELSE 'bob-1' END, n, n, 'prompt', 1 FROM numbers",
    )
    if dialect_of(full) == "postgres":
        change(full, "ANALYZE")
    found = full.transcript("ada-1")
    calls = record(lambda: (full.transcript("ada-1"), list(found), list(found.last(50))))

    assert len(list(found)) > 3300
    names = [statement.name for statement, _ in calls]
    assert {"transcript", "said", "said_from_the_end", "said_again", "events_of", "answers_of"} <= set(names)
    assert names.count("said") == 2 * 31 + 1, "100 numbers a page, and once more for what tools say of answers"
    for call in calls:
        steps = plan(full, call)
        # PostgreSQL rather reads all of a table that has little besides this thread.
        assert scans(steps) == [] or (call[0].name == "said_again" and dialect_of(full) == "postgres"), call[0].name
        if call[0].name == "said":
            assert re.search(r"seq\s*>.*seq\s*<", " ".join(steps)), steps


@pytest.mark.sweep
def test_a_search_of_one_user_walks_through_nobody_elses_messages(full: HoldfastSaver, record: Record) -> None:
    change(full, "UPDATE holdfast_threads SET user_id = 'user ' || thread_id, head = '1'")
    full.search.refresh()
    if dialect_of(full) == "postgres":
        change(full, "ANALYZE")
    put_after(full, thread("bob-7"), full.get_tuple(thread("bob-7")), HumanMessage("message new", id="new"))
    calls = record(lambda: full.search.find("message new", user_id="user bob-7"))

    names = [statement.name for statement, _ in calls]
    assert {"to_index", "texts_to_index", "set_searched", "search", "found_rows"} <= set(names)
    # Of the database's own lists nothing is said; and so small an index PostgreSQL rather reads whole.
    others = {"search_state", "search"} if dialect_of(full) == "postgres" else {"search_state"}
    for call in calls:
        if call[0].name not in others:
            assert [step for step in scans(plan(full, call)) if step != "SCAN hits"] == [], call[0].name
