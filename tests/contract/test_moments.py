"""Times that callers ask for threads, messages and entries by, on every backend."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from holdfast import checkpoints, graph
from holdfast.checkpoints import HoldfastSaver
from tests.support.kit import change, checkpoint, put, thread
from tests.support.shapes import NO_TIMES

DAY = 86_400
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)

MIDNIGHTS: list[Any] = [
    datetime(2026, 11, 1, tzinfo=UTC),
    datetime(2026, 11, 1, 2, tzinfo=timezone(timedelta(hours=2))),
    date(2026, 11, 1),
    "2026-11-01",
    "2026-11-01T00:00:00Z",
    "2026-10-31T22:00-02:00",
    int(NOON.timestamp()) - DAY // 2,
    NOON.timestamp() - DAY / 2,
]
"""One and the same time."""


@pytest.fixture
def three(saver: HoldfastSaver) -> HoldfastSaver:
    """Three threads of one message each: of noon on the last of October, and on the first and second of November."""
    for number in range(3):
        said = checkpoint([HumanMessage(f"order {number}", id="h")])
        put(saver, thread(f"t{number}"), said)
        at = NOON.timestamp() + (number - 1) * DAY
        change(saver, "UPDATE holdfast_threads SET updated_at = :at WHERE thread_id = :id", at=at, id=f"t{number}")
        change(saver, "UPDATE holdfast_messages SET created_at = :at WHERE thread_id = :id", at=at, id=f"t{number}")
    return saver


def listed(saver: HoldfastSaver, **asked: Any) -> set[str]:
    return {found.thread_id for found in saver.threads.list(**asked).threads}


def found(saver: HoldfastSaver, **asked: Any) -> set[str]:
    return {hit.thread_id for hit in saver.search.find("order", **asked)}


def told(saver: HoldfastSaver, **asked: Any) -> set[str]:
    threads = set()
    for thread_id in ("t0", "t1", "t2"):
        transcript = saver.transcript(thread_id)
        for name, moment in asked.items():
            transcript = getattr(transcript, name)(moment)
        threads |= {thread_id for _ in transcript}
    return threads


@pytest.mark.parametrize("look", [listed, found, told])
def test_every_form_of_a_time_parts_what_was_before_it_from_what_came_then(
    three: HoldfastSaver, look: Callable[..., set[str]]
) -> None:
    for moment in MIDNIGHTS:
        assert look(three, since=moment) == {"t1", "t2"}, moment
        assert look(three, until=moment) == {"t0"}, moment
        assert look(three, since=moment, until=NOON + timedelta(days=1)) == {"t1"}, moment
    assert look(three, since=NOON, until=NOON) == set()


@pytest.mark.parametrize("look", [listed, found, told])
def test_a_value_that_is_no_time_is_refused_and_not_compared(
    three: HoldfastSaver, look: Callable[..., set[str]]
) -> None:
    for name in ("since", "until"):
        for value in NO_TIMES:
            with pytest.raises(ValueError, match=rf"^({name}|moment) is no time: found .* Needed: "):
                look(three, **{name: value})


def test_deleting_old_threads_deletes_the_old_ones_alone(three: HoldfastSaver) -> None:
    for old in three.threads.list(until=datetime(2026, 11, 1, tzinfo=UTC)).threads:
        three.threads.delete(old.thread_id)
    assert listed(three) == {"t1", "t2"}


def test_pages_of_one_list_may_name_its_time_in_two_forms(three: HoldfastSaver) -> None:
    first = three.threads.list(since=MIDNIGHTS[0], limit=1)
    second = three.threads.list(since=MIDNIGHTS[-2], limit=1, cursor=first.cursor)
    assert [page.threads[0].thread_id for page in (first, second)] == ["t2", "t1"]


def test_every_public_argument_that_is_a_time_is_one_of_those() -> None:
    times = {
        (type_.__name__, method, name)
        for module in (checkpoints, graph)
        for type_ in (getattr(module, public) for public in module.__all__)
        if inspect.isclass(type_)
        for method, function in inspect.getmembers(type_, inspect.isfunction)
        if not method.startswith("_") and function.__module__.startswith("holdfast.")
        if not inspect.iscoroutinefunction(function)  # a twin passes all on
        for name, parameter in inspect.signature(function).parameters.items()
        if name in {"since", "until", "moment", "at", "when", "after"} or "date" in str(parameter.annotation)
    }
    assert times == {
        *(
            (type_, method, name)
            for type_, method in (("Threads", "list"), ("Search", "find"))
            for name in ("since", "until")
        ),
        ("Threads", "add", "at"),
        ("Transcript", "since", "moment"),
        ("Transcript", "until", "moment"),
    }, "a new one belongs into `holdfast.checkpoints.moments`, and into the tests above"
