"""Which checkpoints are still needed, decided from what can be said of them without their values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.checkpoints.backends.records import BASE
from holdfast.checkpoints.core.outline import outlines, surviving_ancestor
from holdfast.checkpoints.delta.history import base_id
from holdfast.checkpoints.threads.prune import checkpoints_to_keep


def kept(*checkpoints: tuple[Any, ...], written: Any = (), unfinished: bool = True) -> dict[str, set[str]]:
    """Return the ids of the checkpoints to keep, by namespace. Each is given as (namespace, id, parent, metadata)."""
    rows = [(ns, id_, parent, json.dumps(metadata)) for ns, id_, parent, metadata in checkpoints]
    return checkpoints_to_keep(outlines(rows, written), lambda _: unfinished)


LOOP = {"source": "loop"}
INPUT = {"source": "input"}


def made_from(root: str) -> dict[str, Any]:
    return {"source": "loop", "parents": {"": root}}


def test_the_newest_is_kept_and_a_base_never_counts_as_one() -> None:
    assert kept(("", "1", None, LOOP), ("", "2", "1", LOOP), ("", "9", None, BASE)) == {"": {"2"}}
    assert kept() == {}


def test_calls_go_with_the_checkpoint_that_they_were_made_from_unless_that_is_still_to_come() -> None:
    root = [("", "5", None, LOOP)]
    calls = [("a:1", "6", None, made_from("5")), ("a:2", "4", None, made_from("3")), ("a:3", "7", None, made_from("8"))]
    assert kept(*root, *calls) == {"": {"5"}, "a:1": {"6"}, "a:3": {"7"}}


def test_of_calls_at_once_that_share_a_memory_the_last_of_each_is_kept() -> None:
    shared = [
        ("a", "2", None, made_from("1")),
        ("a", "6", "2", made_from("5")),
        ("a", "7", "2", made_from("5")),
        ("a", "8", "6", made_from("5")),
    ]
    assert kept(("", "5", None, LOOP), *shared) == {"": {"5"}, "a": {"7", "8"}}
    assert kept(("", "9", None, LOOP), *shared) == {"": {"9"}, "a": {"8"}}


@pytest.mark.parametrize("begun", [[("", "2", "1", INPUT)], [("", "2", "1", INPUT), ("", "3", "2", LOOP)]])
def test_a_checkpoint_that_an_input_interrupted_is_kept_until_a_step_has_ended(begun: list[Any]) -> None:
    there = [("", "0", None, LOOP), ("", "1", "0", LOOP), *begun]
    ids = {id_ for _, id_, *_ in there} - {"0"}
    assert kept(*there) == {"": ids}
    assert kept(*there, ("", "4", begun[-1][1], LOOP), ("", "5", "4", LOOP)) == {"": {"5"}}
    if len(begun) == 2:
        assert kept(*there, written=[("", "3")]) == {"": {"3"}}, "a task has begun"
        assert kept(*there, unfinished=False) == {"": {"3"}}, "there was nothing to do"


def test_the_nearest_ancestor_that_is_left() -> None:
    rows = [("", "1", None, "{}"), ("", "2", "1", "{}"), ("", "3", "2", "{}"), ("", "4", "3", "{}")]
    there = outlines(rows, [])[""]
    assert surviving_ancestor(there, there["4"], {"2", "3"}) == "1"
    assert surviving_ancestor(there, there["4"], {"1", "2", "3"}) is None


def test_a_base_sorts_where_its_checkpoint_did_and_its_id_cannot_be_guessed() -> None:
    id_ = "1f1e5a5e-52a0-6a26-8002-d615f76cab21"
    base = base_id(id_, {id_})
    assert base[:24] == id_[:24]
    assert base != id_
    assert base_id(id_, {id_, base}) not in {id_, base}
    assert base_id("7", {"7"}).startswith("7.")
