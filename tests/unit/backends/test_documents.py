"""A checkpoint's document on PostgreSQL, packed and unpacked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage

from holdfast.checkpoints.backends.postgres.documents import STORED, packed, stored_in, unpacked

SAID = {"messages": [HumanMessage("hello")]}

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
ours = st.builds("{:032}.{:012x}".format, st.integers(0, 10**18 - 1), st.integers(0, 2**48 - 1))
versions = st.one_of(
    ours,
    ours.map(lambda version: version.lstrip("0")),  # looks like a short one, and is as it is
    st.builds("{:032}.{:.16f}".format, st.integers(1, 99), st.floats(0, 1)),
    texts,
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
)
channels = st.dictionaries(texts, versions, max_size=5)
moments = st.one_of(
    st.datetimes().map(lambda moment: f"{moment.isoformat()}+00:00"),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.sampled_from(["2026-11-20T12:00:00Z", "2026-11-20T14:00:00+02:00", "2026-11-20", ""]),
    texts,
)
more = st.dictionaries(texts, st.one_of(st.none(), st.booleans(), st.integers(0, 9), texts), max_size=2)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    known = {**draw(channels), "messages": draw(versions)}
    return {
        **draw(more),
        "v": draw(st.sampled_from([1, 4])),
        "id": "an id",
        "ts": draw(moments),
        "channel_values": draw(more),
        "channel_versions": known,
        "versions_seen": draw(st.dictionaries(texts, channels, max_size=3)),
        "updated_channels": draw(st.none() | st.lists(texts, max_size=3)),
        STORED: draw(st.lists(st.sampled_from(sorted(known)), unique=True)),
    }


def exact(document: Any) -> str:
    return json.dumps({**document, STORED: sorted(document[STORED])}, sort_keys=True)


@given(documents())
def test_a_document_comes_back_as_it_was(document: dict[str, Any]) -> None:
    stored = json.loads(json.dumps(packed(document, SAID)))
    assert exact(unpacked(stored, "an id")) == exact(document)
    assert stored_in(stored) == set(document[STORED])


def document(**more: Any) -> dict[str, Any]:
    last, now = f"{1199:032}.1b95b435f73a", f"{1200:032}.6f3137440f2f"
    return {
        "v": 4,
        "id": "1f1e5b64-90d4-6fea-84ae-ba2c9dd2408d",
        "ts": "2026-11-21T14:17:29.761366+00:00",
        "channel_values": {},
        "channel_versions": {"messages": now, "__start__": last, "branch:to:model": now},
        "versions_seen": {"model": {"branch:to:model": last}, "__input__": {}, "__start__": {"__start__": last}},
        "updated_channels": ["messages"],
        STORED: ["messages"],
        **more,
    }


def test_a_document_is_half_as_long_when_it_is_packed() -> None:
    assert len(json.dumps(packed(document(), SAID))) * 2 < len(json.dumps(document()))


def test_a_document_without_messages_stays_as_the_stock_saver_reads_it() -> None:
    assert packed(document(), {"messages": [], "note": "n"}) == document()


def test_a_document_that_msgpack_cannot_hold_stays_unpacked() -> None:
    assert packed(document(more=2**70), SAID) == document(more=2**70)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-8],
        lambda text: text[:20] + ("A" if text[20] != "A" else "B") + text[21:],
        lambda _: "not base64",
        lambda _: "",
        lambda _: 7,
    ],
    ids=["shorter", "altered", "not base64", "empty", "no text"],
)
def test_damage_is_noticed(damage: Any) -> None:
    stored = packed(document(), SAID)
    with pytest.raises(ValueError, match="its document cannot be unpacked"):
        unpacked({**stored, "packed": damage(stored["packed"])}, "an id")
