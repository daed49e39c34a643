"""The list of checkpoints: what its filter finds, and that it goes on past a checkpoint that cannot be read."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import DamagedThread
from tests.support.dialects import dialect_of
from tests.support.kit import change, checkpoint, echo_graph, put, rows, thread


@pytest.fixture
def url(every_url: str) -> str:
    """Memory as well."""
    return every_url


# --- filters

METADATA: dict[str, dict[str, Any]] = {
    "nested": {"user": {"name": "ada", "team": {"id": 7, "tags": ["a", "b"]}}},
    "literal": {"user.name": "ada"},
    "both": {"user": {"name": "bob"}, "user.name": "ada", "kind": "chat"},
    "other": {"user": {"name": "eve"}, "kind": "chat"},
    "a list": {"user": [{"name": "ada"}]},
    "text": {"user": "ada"},
}


@pytest.fixture
def labelled(saver: HoldfastSaver) -> HoldfastSaver:
    for label, metadata in METADATA.items():
        put(saver, thread("t", checkpoint_ns=""), checkpoint([], label=label), **metadata)
    return saver


def labels(saver: HoldfastSaver, filter: dict[str, Any]) -> set[str]:
    return {item.checkpoint["channel_values"]["label"] for item in saver.list(thread("t"), filter=filter)}


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize(
    ("filter", "found"),
    [
        ({"user.name": "ada"}, {"nested", "literal", "both"}),
        ({"user.name": "bob"}, {"both"}),
        ({"user.name": "nobody"}, set()),
        ({"user.team.id": 7}, {"nested"}),
        ({"user.team.id": "7"}, set()),
        ({"user.team": {"id": 7}}, {"nested"}),
        ({"user.team.tags": ["b"]}, {"nested"}),
        ({"user.name": "ada", "user.team.id": 7}, {"nested"}),
        ({"user.name": "ada", "kind": "chat"}, {"both"}),
        ({"user.name": "eve", "kind": "chat"}, {"other"}),
        ({"user.name": "eve", "kind": "mail"}, set()),
        ({"user": {"name": "ada"}}, {"nested"}),
        ({}, set(METADATA)),
    ],
)
def test_a_filter_with_dots_is_a_path_or_a_key(
    labelled: HoldfastSaver, filter: dict[str, Any], found: set[str]
) -> None:
    assert labels(labelled, filter) == found


@pytest.mark.sweep(every=5)
@pytest.mark.parametrize(
    "key",
    [
        "user.name') OR 1=1 --",
        "x' OR '1'='1",
        "user.%(thread_id)s",
        "user.:limit",
        "..",
        "user.",
        ".",
        "",
        "a" + ".a" * 5000,
        "user.name\ud800",
    ],
)
def test_no_key_of_a_filter_becomes_sql(labelled: HoldfastSaver, key: str) -> None:
    assert labels(labelled, {key: "ada"}) == set()
    assert labels(labelled, {"user.name": "ada", key: {key: 1}}) == set()


def test_the_history_of_a_graph_takes_the_same_filter(labelled: HoldfastSaver) -> None:
    found = list(echo_graph(labelled).get_state_history(thread("t"), filter={"user.name": "bob"}))
    assert [state.metadata["kind"] for state in found] == ["chat"]


# --- what cannot be read


def damage_value(saver: HoldfastSaver, url: str, at: str) -> None:
    if dialect_of(url) == "postgres":
        change(saver, "DELETE FROM checkpoint_blobs WHERE version = 'v2'")
    else:
        change(saver, "UPDATE checkpoints SET checkpoint = substr(checkpoint, 1, 9) WHERE checkpoint_id = :at", at=at)


def damage_references(saver: HoldfastSaver, url: str, at: str) -> None:
    column = "checkpoint_blobs SET blob" if dialect_of(url) == "postgres" else "checkpoints SET checkpoint"
    where = "version = 'v2'" if dialect_of(url) == "postgres" else "checkpoint_id = :at"
    new = r"'\xffffff'::bytea" if dialect_of(url) == "postgres" else "x'ffffff'"
    change(saver, f"UPDATE {column} = {new} WHERE {where}", **({} if dialect_of(url) == "postgres" else {"at": at}))


def damage_metadata(saver: HoldfastSaver, url: str, at: str) -> None:
    if dialect_of(url) == "postgres":
        pytest.skip("PostgreSQL checks JSON itself")
    change(saver, "UPDATE checkpoints SET metadata = '{\"step\": ' WHERE checkpoint_id = :at", at=at)


def damage_row(saver: HoldfastSaver, url: str, at: str) -> None:
    change(saver, "DELETE FROM holdfast_messages WHERE content = 'said 2'")


DAMAGES = [damage_value, damage_references, damage_metadata, damage_row]


@pytest.fixture
def ids(saver: HoldfastSaver) -> list[str]:
    """Five checkpoints of a thread, oldest first, and one of another thread. Each has a message of its own."""
    found = []
    for number in range(5):
        saved = checkpoint([HumanMessage(f"said {number}", id=f"m{number}")])
        saved["channel_versions"] = {"messages": f"v{number}"}
        found.append(put(saver, thread(), saved, step=number)["configurable"]["checkpoint_id"])
    put(saver, thread("bob-1"), checkpoint([HumanMessage("hello")]))
    return found


def listed(saver: HoldfastSaver, config: Any, **wanted: Any) -> list[str]:
    return [item.config["configurable"]["checkpoint_id"] for item in saver.list(config, **wanted)]


@pytest.mark.sweep(every=7)
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("page", [1, 2, 3, 50])
def test_a_list_goes_on_past_a_checkpoint_that_cannot_be_read_and_names_it(
    saver: HoldfastSaver,
    url: str,
    ids: list[str],
    damage: Any,
    page: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("holdfast.checkpoints.load.listing._PAGE", page)
    damage(saver, url, ids[2])
    rest = [ids[4], ids[3], ids[1], ids[0]]

    assert listed(saver, thread()) == rest
    [named] = caplog.records
    assert named.levelno == logging.WARNING
    assert ids[2] in named.message
    assert "'ada-1' is damaged" in named.message

    assert listed(saver, thread(), limit=3) == rest[:3], "as many as were asked for"
    assert listed(saver, thread(), before=thread(checkpoint_id=ids[4])) == rest[1:]
    assert listed(saver, thread(), filter={"source": "loop"}) == rest
    assert len(listed(saver, None)) == 5, "of all threads"


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("damage", DAMAGES)
def test_the_history_of_a_graph_goes_on_as_well(
    saver: HoldfastSaver, url: str, ids: list[str], damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    damage(saver, url, ids[2])
    texts = [state.values["messages"][0].text for state in echo_graph(saver).get_state_history(thread())]
    assert texts == ["said 4", "said 3", "said 1", "said 0"]
    assert ids[2] in caplog.text


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("damage", DAMAGES)
async def test_so_does_a_list_on_an_event_loop(saver: HoldfastSaver, url: str, ids: list[str], damage: Any) -> None:
    damage(saver, url, ids[2])
    assert len([item async for item in saver.alist(thread())]) == 4


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_checkpoint_that_was_asked_for_alone_is_an_error(
    saver: HoldfastSaver, url: str, ids: list[str], damage: Any
) -> None:
    damage(saver, url, ids[2])
    for wanted in (
        lambda: listed(saver, thread(checkpoint_id=ids[2])),
        lambda: listed(saver, thread(), before=thread(checkpoint_id=ids[3]), limit=1),
        lambda: saver.get_tuple(thread(checkpoint_id=ids[2])),
    ):
        with pytest.raises(DamagedThread, match="'ada-1' is damaged"):
            wanted()


def test_a_thread_of_which_nothing_can_be_read_is_an_error_and_no_empty_list(
    saver: HoldfastSaver, ids: list[str]
) -> None:
    assert len(ids) == len(rows(saver, "SELECT 1 FROM holdfast_messages WHERE thread_id = 'ada-1'"))
    change(saver, "DELETE FROM holdfast_messages WHERE thread_id = 'ada-1'")
    with pytest.raises(DamagedThread, match="'ada-1' is damaged: message row 5 is missing"):
        listed(saver, thread())
