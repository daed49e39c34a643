"""A database of each earlier version of our own schema becomes what a new one is."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.backends import migrations as migrate
from holdfast.checkpoints.sql import migrations
from tests.support.children import approval_graph
from tests.support.dialects import dialect_of
from tests.support.kit import change, echo_graph, rows, texts, thread
from tests.support.migration_kit import EARLIER, empty, open_as_version


def schema(saver: HoldfastSaver) -> Any:
    """Tables, columns in their order, and indexes."""
    if dialect_of(saver) == "sqlite":
        made = rows(saver, "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
        return [(type_, name, " ".join(sql.split())) for type_, name, sql in made]
    columns = (
        "SELECT table_name, ordinal_position, column_name, data_type, is_nullable, column_default"
        " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position"
    )
    options = "SELECT relname, reloptions FROM pg_class WHERE relname LIKE 'holdfast%' AND relkind = 'r' ORDER BY 1"
    indexes = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
    views = "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' ORDER BY 1"
    return [rows(saver, statement) for statement in (columns, options, indexes, views)]


@pytest.mark.sweep(every=9)
@pytest.mark.parametrize("version", EARLIER)
def test_a_database_of_an_earlier_version_becomes_what_a_new_one_is(
    bare_url: str, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_checkpointer(bare_url) as saver:
        new = schema(saver)
        empty(saver)
    old = open_as_version(bare_url, version, monkeypatch)
    try:
        assert rows(old, "SELECT max(version) FROM holdfast_schema") == [(version,)]
        assert schema(old) != new
    finally:
        old.close()

    with open_checkpointer(bare_url) as saver:
        assert schema(saver) == new
        said = [(m.version, m.name, m.min_reader) for m in migrations("sqlite")]
        assert rows(saver, "SELECT version, name, min_reader FROM holdfast_schema ORDER BY version") == said


def test_runs_from_before_their_index_was_made_are_found(bare_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_checkpointer(bare_url) as saver:
        for number, graph in enumerate((approval_graph(saver), echo_graph(saver))):
            graph.invoke(
                {"messages": [("user", "one")]}, {**thread(f"t{number}"), "metadata": {"run_id": f"r{number}"}}
            )
        change(saver, "DROP TABLE holdfast_run_writes")
        change(saver, "DROP INDEX holdfast_checkpoints_run")
        change(saver, "DELETE FROM holdfast_schema WHERE version = 3")
    with open_checkpointer(bare_url) as saver:
        saver.delete_for_runs(["r1"])
        assert (texts(saver, "t0"), texts(saver, "t1")) == (["one"], [])


def test_memory_has_the_tables_of_a_file_and_nothing_of_what_was_in_memory_before(sqlite_url: str) -> None:
    with open_checkpointer(sqlite_url) as file, open_checkpointer("memory://") as before:
        echo_graph(before).invoke({"messages": [("user", "one")]}, thread())
        with open_checkpointer("memory://") as saver:
            assert schema(saver) == schema(file)
            applied = "SELECT version, name, min_reader FROM holdfast_schema ORDER BY version"
            assert rows(saver, applied) == rows(file, applied)
            assert rows(saver, "PRAGMA page_size") == rows(file, "PRAGMA page_size")
            assert [texts(found) for found in (before, saver)] == [["one", "You said: one"], []]


def test_every_database_has_the_same_migrations() -> None:
    assert [m[:3] for m in migrations("sqlite")] == [m[:3] for m in migrations("postgres")]
    assert [m.version for m in migrations("sqlite")] == [*range(1, migrate.KNOWN_VERSION + 1)]
