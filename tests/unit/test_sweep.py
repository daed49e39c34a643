"""Every test runs in `make test` or in `make chaos`, and what costs time in the second."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.forked import HOUSE
from tests.support.sweep import ALL_ON_POSTGRES, choose


def item(name: str, *, mark: pytest.MarkDecorator | None = None, fixtures: tuple[str, ...] = (), **params: Any) -> Any:
    """Return the parts of a test that decide where it runs."""
    return SimpleNamespace(
        nodeid=f"tests/contract/{name}",
        callspec=SimpleNamespace(params=params),
        fixturenames=fixtures,
        iter_markers=lambda _: [mark.mark] if mark else [],
    )


def names(items: list[Any], *, swept: bool) -> list[str]:
    return [found.nodeid.rpartition("::")[2] for found in choose(items, swept=swept)]


def both(items: list[Any]) -> tuple[list[str], list[str]]:
    """Return what the fast suite runs, and what the sweep runs."""
    return names(items, swept=False), names(items, swept=True)


def test_a_file_runs_on_sqlite_and_its_first_test_on_postgresql_and_the_sweep_runs_the_rest() -> None:
    items = [
        item(f"tools/test_once.py::{function}[{backend}-{way}]", url=backend, way=way)
        for function in ("one", "two", "three")
        for backend in ("sqlite", "postgres")
        for way in (1, 2)
    ]
    fast, swept = both(items)
    assert [name for name in fast if "postgres" in name] == ["one[postgres-1]"]
    assert [name for name in swept if "sqlite" in name] == []
    assert len(fast) + len(swept) == len(items)


def test_what_has_statements_of_its_own_on_postgresql_runs_there() -> None:
    items = [item(f"search/test_index.py::test_{number}[postgres]", bare_url="postgres") for number in range(9)]
    assert both(items) == ([f"test_{number}[postgres]" for number in range(9)], [])
    for place in ALL_ON_POSTGRES:
        assert (HOUSE / place).exists(), place


def test_a_test_with_the_mark_runs_in_the_sweep_alone() -> None:
    items = [item("test_a.py::plain"), item("test_a.py::costly", mark=pytest.mark.sweep)]
    assert both(items) == (["plain"], ["costly"])


def test_one_of_many_ways_runs_with_each_of_the_other_parameters_and_every_way_occurs() -> None:
    mark = pytest.mark.sweep(way="way", of=2)
    items = [item(f"test_a.py::t[{way}-{bad}]", mark=mark, way=way, bad=bad) for way in "xy" for bad in (1, 2, 3)]
    assert both(items) == (["t[x-1]", "t[x-3]", "t[y-2]"], ["t[x-2]", "t[y-1]", "t[y-3]"])


def test_a_database_or_some_parameters_are_left_out_by_the_mark() -> None:
    mark = pytest.mark.sweep(on="postgres")
    items = [item(f"search/test_a.py::t[{backend}]", mark=mark, url=backend) for backend in ("sqlite", "postgres")]
    assert both(items) == (["t[sqlite]"], ["t[postgres]"])
    mark = pytest.mark.sweep(every=3)
    items = [
        item(f"search/test_a.py::t[{backend}-{graph}]", mark=mark, url=backend, graph=graph)
        for graph in range(5)
        for backend in ("sqlite", "postgres")
    ]
    fast = [f"t[{backend}-{graph}]" for graph in (0, 3) for backend in ("sqlite", "postgres")]
    assert names(items, swept=False) == fast
    assert len(names(items, swept=True)) == 6


def test_what_only_takes_a_sample_runs_in_both() -> None:
    drawing = item("test_a.py::drawing")
    drawing.function = SimpleNamespace(is_hypothesis_test=True)
    items = [drawing, item("test_a.py::killing", fixtures=("url", "sweep"))]
    assert both(items) == (["drawing", "killing"], ["drawing", "killing"])
