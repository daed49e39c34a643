"""Metadata of a thread: given with a conversation, found in the list."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.checkpoints import HoldfastSaver
from holdfast.graph import Conversation
from tests.support.kit import echo_graph


def listed(saver: HoldfastSaver, metadata: dict[str, Any], **filters: Any) -> list[str]:
    return sorted(thread.thread_id for thread in saver.threads.list(metadata=metadata, **filters).threads)


def test_threads_are_found_by_the_metadata_of_their_conversations(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver)
    Conversation(graph, "ada-1", "ada", metadata={"plan": "gold", "seats": 3, "trial": True}).send("Hello")
    Conversation(graph, "ada-2", "ada", metadata={"plan": "free"}).send("Hello")
    Conversation(graph, "bob-1", "bob").send("Hello")
    assert saver.threads.get("ada-1").metadata == {"plan": "gold", "seats": 3, "trial": True}
    assert listed(saver, {"plan": "gold"}) == listed(saver, {"seats": 3, "trial": True}, user_id="ada") == ["ada-1"]
    assert listed(saver, {"seats": 4}) == listed(saver, {"plan": "gold"}, user_id="bob") == []
    assert listed(saver, {}) == ["ada-1", "ada-2", "bob-1"]


def test_a_later_conversation_changes_them_and_one_without_does_not(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver)
    Conversation(graph, "ada-1", metadata={"plan": "free", "page": 1}).send("Hello")
    Conversation(graph, "ada-1", metadata={"plan": "gold"}).send("More")
    Conversation(graph, "ada-1").send("And more")
    assert saver.threads.get("ada-1").metadata == {"plan": "gold", "page": 1}


def test_the_pages_of_a_list_have_the_same_metadata(saver: HoldfastSaver) -> None:
    for number in range(3):
        saver.threads.add(f"t-{number}", [("user", "Hello")], metadata={"odd": bool(number % 2)})
    first = saver.threads.list(metadata={"odd": False}, limit=1)
    second = saver.threads.list(metadata={"odd": False}, limit=1, cursor=first.cursor)
    assert {one.thread_id for page in (first, second) for one in page.threads} == {"t-0", "t-2"}
    assert second.cursor is None


@pytest.mark.parametrize(
    ("metadata", "error", "words"),
    [
        ({"user_id": "bob"}, ValueError, "metadata has the name 'user_id'"),
        ({"holdfast_refused": "x"}, ValueError, "metadata has the name"),
        ({"of": {"a": 1}}, TypeError, "metadata has a dict as 'of'. Needed: a text, a number, True or False"),
        ("gold", TypeError, "metadata is a str. Needed: a Mapping"),
    ],
)
def test_what_is_no_metadata_is_told_everywhere(
    saver: HoldfastSaver, metadata: Any, error: type[Exception], words: str
) -> None:
    for call in (
        lambda: Conversation(echo_graph(saver), "ada-1", metadata=metadata),
        lambda: saver.threads.list(metadata=metadata),
        lambda: saver.threads.add("ada-1", [("user", "Hello")], metadata=metadata),
    ):
        with pytest.raises(error, match=words):
            call()
