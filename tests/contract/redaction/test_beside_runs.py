"""Redaction beside conversations that go on: none fails, and nothing of what was redacted comes back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from langchain_core.messages import HumanMessage

from holdfast import Conversation
from holdfast.checkpoints import HoldfastSaver
from tests.support.kit import echo_graph
from tests.support.redaction_kit import SECRET, raw_secrets


@pytest.mark.sweep
def test_conversations_go_on_while_their_threads_are_redacted(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    talks = [Conversation(echo_graph(saver), f"ada-{number}", user_id="ada") for number in range(4)]
    turns, over = 12, Event()

    def talk(conversation: Conversation) -> None:
        for turn in range(turns):
            conversation.send(f"turn {turn}: zqword{chr(97 + turn)}qz")

    def redact() -> int:
        found = 0
        while not over.is_set():
            found += sum(other.redact(user_id="ada", patterns=[SECRET]).places.values())
        return found

    with ThreadPoolExecutor(5) as pool:
        redacting = pool.submit(redact)
        try:
            for done in [pool.submit(talk, conversation) for conversation in talks]:
                done.result()
        finally:
            over.set()
        redacting.result()
    other.redact(user_id="ada", patterns=[SECRET])
    assert raw_secrets(saver) == {}
    for conversation in talks:
        history = conversation.history()
        assert [message.text for message in history if isinstance(message, HumanMessage)] == [
            f"turn {turn}: [redacted]" for turn in range(turns)
        ]
        assert len(history) == 2 * turns
