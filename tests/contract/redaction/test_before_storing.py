"""Redaction before anything is stored: no place of a database ever holds a secret."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from langchain_core.messages import HumanMessage

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.redaction.patterns import PLACEHOLDER
from tests.support.kit import echo_graph, rows, texts, thread
from tests.support.redaction_kit import SECRET, graph_of, plant, raw_secrets

LONG = "the code of the safe is zqsafeqz"


@pytest.fixture
def filtering(url: str) -> Iterator[HoldfastSaver]:
    with open_checkpointer(url, redact=[SECRET, "card"]) as saver:
        yield saver


@pytest.mark.sweep(on="postgres")
def test_nothing_that_a_pattern_finds_is_stored(filtering: HoldfastSaver) -> None:
    plant(filtering)
    assert raw_secrets(filtering) == {}
    state = graph_of(filtering).get_state(thread("ada-1")).values
    assert (state["summary"], state["note"].text, state["card"].owner) == (PLACEHOLDER,) * 3
    assert [message.type for message in state["messages"]] == ["human", "ai", "tool", "ai", "human", "tool"]
    assert filtering.redact(everywhere=True, patterns=[SECRET]).threads == []


def test_the_run_that_goes_on_keeps_its_messages_and_each_is_one_row(filtering: HoldfastSaver) -> None:
    heard = []
    graph = echo_graph(filtering, lambda message: heard.append(message.text) or "I see")
    done = graph.invoke({"messages": [HumanMessage(LONG, id="m-1")]}, thread("ada-1"))
    assert heard == [LONG]
    assert done["messages"][0].text == LONG
    for _ in range(2):  # the caller has the message as it was, and sends it again
        graph.invoke({"messages": [*done["messages"], ("user", "more")]}, thread("ada-1"))
    said = f"the code of the safe is {PLACEHOLDER}"
    assert texts(filtering) == [said, "I see", "more", "I see", "more", "I see"]
    assert rows(filtering, "SELECT count(*) FROM holdfast_messages WHERE message_id = 'm-1'") == [(1,)]
    assert filtering.threads.get("ada-1").title == said
    assert filtering.threads.rename("ada-1", "4111 1111 1111 1111").title == "[redacted: card]"


def test_a_conversation_from_elsewhere_passes_through_the_filter(filtering: HoldfastSaver) -> None:
    said = [("system", "zqpromptqz"), ("user", LONG), ("assistant", "zqreplyqz")]
    filtering.threads.add("old-1", said, title="zqtitleqz", metadata={"from": "zqsourceqz"})
    assert filtering.threads.append("old-1", [("user", "zqmoreqz")]).messages == 3
    assert raw_secrets(filtering) == {}
