"""Checkpoints taken apart into their channels' values, and put together again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import BaseMessage, HumanMessage
from langgraph.types import Overwrite, Send

from holdfast.checkpoints.backends.canonical import CanonicalCheckpoint, canonical_value
from holdfast.checkpoints.backends.postgres.canonical import from_document, to_document
from holdfast.checkpoints.backends.postgres.documents import unpacked
from holdfast.checkpoints.backends.sqlite.canonical import from_whole, to_whole
from holdfast.checkpoints.errors import NotStorable
from holdfast.checkpoints.serde.marking import ChannelValues
from holdfast.checkpoints.serde.ranges import expand
from holdfast.checkpoints.serde.types import Types
from holdfast.checkpoints.serde.values import Attachable as Part
from holdfast.checkpoints.serde.values import Detacher, compact_versions
from holdfast.checkpoints.transfer.records import canonical_json
from holdfast.checkpoints.transfer.references import reference_ranges
from tests.support.shapes import ALLOWED, exact, patient, rich

TYPES = Types([*ALLOWED, Overwrite])

said = st.builds(HumanMessage, st.sampled_from(["a", "b"]), id=st.sampled_from(["1", "2", None]))
lists = st.lists(said, min_size=1, max_size=3)
spoken = st.just([{"role": "user", "content": "well?"}, ("user", "so?")])
leaves = st.one_of(
    said, lists, spoken, rich, lists.map(Overwrite), lists.map(lambda all_: Send("node", {"said": all_}))
)
trees = st.one_of(leaves, st.dictionaries(st.sampled_from("xyz"), leaves, max_size=2), st.lists(leaves, max_size=3))
states = st.dictionaries(st.sampled_from(["messages", "__start__", "note", "docs", "é"]), trees, max_size=4)
small = st.dictionaries(
    st.sampled_from("uvw"), st.one_of(st.none(), st.booleans(), st.integers(), st.text("ab", max_size=300))
)


def whole(values: dict[str, Any]) -> Part:
    """A checkpoint with these values as SQLite has it; its messages are rows from 1 on."""
    versions = {channel: f"{place:032}.{place:012x}" for place, channel in enumerate(values)}
    found = {
        "v": 4,
        "id": "id",
        "ts": "2026-11-20T12:00:00+00:00",
        "channel_values": ChannelValues(values),
        "channel_versions": compact_versions(versions),
        "versions_seen": {"node": compact_versions(versions), "other": {}},
        "updated_channels": None,
    }
    detached = Detacher(TYPES, {}).detach("", found)
    seqs: dict[int, int] = {}
    for one in detached.lists:
        for message in one.messages:
            seq = seqs.setdefault(id(message), len(seqs) + 1)
            message.ref = seq if message.row.message_id else -seq  # type: ignore[union-attr, misc]
    return Part("", *detached.finish())


def loaded(part: Part) -> tuple[dict[str, Any], list[int]]:
    """The checkpoint or value, and which messages are in it."""
    used: list[int] = []

    def make(refs: Sequence[int]) -> list[BaseMessage]:
        used.extend(refs)
        return [HumanMessage(f"row {ref}") for ref in refs]

    found = part.attach(make, TYPES)
    return found, sorted(used)


@patient
@given(states, small)
def test_a_checkpoint_is_the_same_in_parts_and_as_a_whole(state: dict[str, Any], more: dict[str, Any]) -> None:
    given_ = whole({**state, **more})
    parts = from_whole(given_)
    original, said_in_it = loaded(given_)

    again = Part("", *to_whole(parts))
    joined, said_again = loaded(again)
    assert exact(dict(sorted(joined.items()))) == exact(dict(sorted(original.items())))
    assert said_again == said_in_it
    assert from_whole(again) == parts
    assert to_whole(from_whole(again)) == to_whole(parts), "it does not matter how often it is moved"

    document, rows = to_document(parts)
    stored = unpacked(json.loads(json.dumps(document)), "id")
    back = from_document(stored, {row.channel: Part(row.channel, row.type, row.blob or b"") for row in rows})
    assert (canonical_json(back.document), back.values) == (canonical_json(parts.document), parts.values)

    said_in_values: list[int] = []
    for channel, value in parts.values.items():
        alone, said_there = loaded(Part(channel, *value))
        said_in_values += said_there
        assert exact(alone) == exact(original["channel_values"][channel])
        assert canonical_value(Part(channel, *value)) == value
        assert [expand(one) for one in reference_ranges(*value)] == Part(channel, *value).lists
    assert sorted(said_in_values) == said_in_it


def test_values_that_no_other_database_has_are_refused_or_take_its_form() -> None:
    assert (
        canonical_value(Part("x", "bytes", b"\0"))
        == canonical_value(Part("x", "bytearray", b"\0"))
        == ("msgpack", b"\xc4\x01\0")
    )
    assert canonical_value(Part("x", "null", b"")) == ("msgpack", b"\xc0")
    with pytest.raises(NotStorable, match=r"form 'json'.*prune it"):
        from_whole(Part("", "json", b"{}"))
    with pytest.raises(NotStorable, match="no version"):
        to_document(CanonicalCheckpoint({"channel_versions": {}}, {"x": ("msgpack", b"\xc4\x01\0")}))
    with pytest.raises(ValueError, match="'x' is missing"):
        from_document({"channel_values": {}, "stored": ["x"]}, {})
    with pytest.raises(ValueError, match="no checkpoint"):
        from_whole(Part("", "msgpack", b"\x01"))


def test_json_is_as_jsonb_gives_it_back() -> None:
    given_ = {"b": 1e22, "a": [-0.0, 1.0, 1.5, float("nan"), 2**70, "a\0\ud800", True], "ä": None}
    assert repr(canonical_json(given_)) == repr(
        {"a": [0.0, 1.0, 1.5, "nan", 2**70, "a?", True], "b": 10**22, "ä": None}
    )
    with pytest.raises(NotStorable, match="has a bytes"):
        canonical_json({"x": b""})
