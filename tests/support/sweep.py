"""Divide the tests: `make test` runs a sample of what costs time, and `make chaos` runs the rest (`pytest --sweep`).

Several things make a test costly, and each has its way to say so:

- The test kills at every point, or has a whole crowd: it takes the fixture `sweep`, and runs in both suites.
- Hypothesis draws many examples: the fast suite draws fewer. See `example_count`.
- The code below it runs on PostgreSQL as on SQLite: see `ALL_ON_POSTGRES`.
- It is one of many like it, or starts many processes: it has the mark `sweep`, and the fast suite leaves it out. With
  `sweep(on="postgres")` it leaves out that database; with `sweep(every=3)` it runs the first parameters, the fourth and
  so on; with `sweep(way="mode", of=4)` it runs the other parameters with one of the four modes, each with the next one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias

import pytest
from hypothesis import settings

Sweep: TypeAlias = Callable[[int, int], int]
"""Chooses one of two numbers: that of the sample in the fast suite, or that of the sweep in `make chaos`."""

ALL_ON_POSTGRES: Final = (
    "tests/contract/backends/",
    "tests/contract/core/test_at_once.py",
    "tests/contract/core/test_at_once_against_others.py",
    "tests/contract/core/test_conflicts.py",
    "tests/contract/saver/test_conformance.py",
    "tests/contract/saver/test_lifecycle.py",
    "tests/contract/search/",
    "tests/contract/threads/test_concurrent.py",
    "tests/contract/threads/test_leases.py",
)
"""Where the fast suite runs every test on PostgreSQL: what is tested there has its own code or its own statements.

Every other folder has a sample: its first test, with its first parameters. All of them run on SQLite.
"""

_FEWER: Final = 8


def choose(items: Iterable[pytest.Item], *, swept: bool) -> Iterator[pytest.Item]:
    """Return the tests of the fast suite, or those of the sweep, in their order."""
    on_backends: set[tuple[str, str]] = set()
    seen: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for item in items:
        left_out = _is_marked(item, seen) or not _is_in_sample(item, on_backends)
        if not swept and left_out:
            continue
        if not swept or left_out or _is_thorough(item):
            yield item


def is_left_out_whole(*marked: object) -> bool:
    """Return whether a mark of one of these, a test or its module, leaves out the test with all its parameters."""
    found = (getattr(one, "pytestmark", ()) for one in marked)
    marks = (mark for of in found for mark in (of if isinstance(of, (list, tuple)) else [of]))
    return any(mark.name == "sweep" and not mark.kwargs for mark in marks)


def example_count(number: int) -> int:
    """Return how many examples Hypothesis draws of this number: all of them in the sweep, else an eighth."""
    return number if settings.get_current_profile_name() == "sweep" else max(1, number // _FEWER)


def load_profile(*, swept: bool) -> None:
    """Let Hypothesis draw as many examples as the suite has time for. Modules with tests are imported later."""
    settings.register_profile("sweep", max_examples=100)
    settings.register_profile("fast", max_examples=100 // _FEWER)
    settings.load_profile("sweep" if swept else "fast")


def _is_marked(item: pytest.Item, seen: defaultdict[tuple[str, str], list[dict[str, Any]]]) -> bool:
    """Return whether its mark leaves it out of the fast suite."""
    before = seen[item.nodeid.partition("[")[0], _backend(item)]
    before.append(_params(item))
    return any(_leaves_out(mark, before) for mark in item.iter_markers("sweep"))


def _leaves_out(mark: pytest.Mark, before: list[dict[str, Any]]) -> bool:
    """Return whether a mark of a test leaves out its last parameters.

    Args:
        mark: the mark.
        before: the parameters of the test on this database, in their order, up to those that are asked about.
    """
    match mark.kwargs:
        case {"on": backend}:
            return backend in before[-1].values()
        case {"every": number}:
            return len(before) % number != 1
        case {"way": way, "of": ways}:
            groups = [{name: value for name, value in other.items() if name != way} for other in before]
            first = groups.index(groups[-1])
            place = sum(group not in groups[:number] for number, group in enumerate(groups[:first]))
            return groups.count(groups[-1]) - 1 != place % ways
        case _:
            return True


def _is_in_sample(item: pytest.Item, seen: set[tuple[str, str]]) -> bool:
    """Return whether its database is one on which the fast suite runs it."""
    file = item.nodeid.partition("::")[0]
    backend = _backend(item)
    if backend in {"", "sqlite", "memory://"} or file.startswith(ALL_ON_POSTGRES):
        return True
    folder = file.rpartition("/")[0]
    if (folder, backend) in seen:
        return False
    seen.add((folder, backend))
    return True


def _backend(item: pytest.Item) -> str:
    params = _params(item)
    found = [params[fixture] for fixture in ("url", "shared_url", "every_url", "bare_url", "desk") if fixture in params]
    return str(found[0]) if found else ""


def _params(item: pytest.Item) -> dict[str, Any]:
    found: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    return found


def _is_thorough(item: pytest.Item) -> bool:
    """Return whether it does more in the sweep than in the fast suite."""
    hypothesis = getattr(getattr(item, "function", None), "is_hypothesis_test", False)
    return bool(hypothesis) or "sweep" in getattr(item, "fixturenames", ())
