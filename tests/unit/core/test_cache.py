"""The cache of the messages whose rows a process knows."""

from __future__ import annotations

from langchain_core.messages import HumanMessage

from holdfast.checkpoints.core.cache.messages import MessageCache
from holdfast.checkpoints.serde.known import Known, Template, contents_of


def remembered(memory: MessageCache, thread_id: str, texts: list[str], generation: int = 1) -> None:
    known, templates = [], {}
    for ref, text in enumerate(texts, 1):
        message = HumanMessage(text)
        contents = contents_of(message)
        assert contents is not None
        templates[ref] = Template(HumanMessage, contents, (False, False))
        known.append(Known(message, contents, ref, claimed=True))
    memory.loaded(thread_id, "", generation, known, templates)


def test_the_threads_that_were_used_longest_ago_are_forgotten_by_number_of_messages_and_by_bytes() -> None:
    for memory, text in ((MessageCache(most_messages=25), "short"), (MessageCache(most_bytes=25_000), "long" * 200)):
        for thread_id in ("t1", "t2", "t3"):
            remembered(memory, thread_id, [text] * 10)
        assert [bool(memory.templates(thread_id, 1)) for thread_id in ("t1", "t2", "t3")] == [False, True, True]
        memory.forget("t2")
        memory.forget("t3")
        assert (memory._messages, memory._bytes) == (0, 0)


def test_entries_of_an_earlier_generation_are_not_used() -> None:
    memory = MessageCache()
    remembered(memory, "t1", ["one"])
    assert memory.templates("t1", 2) == memory.templates("t1", None) == {}
    remembered(memory, "t1", ["two"], generation=2)
    assert memory.templates("t1", 1) == {}
    assert memory.recall("t1", "")[0] == 2


def test_messages_that_have_left_the_conversation_are_forgotten() -> None:
    memory = MessageCache()
    remembered(memory, "t1", [f"message {number}" for number in range(300)])
    remembered(memory, "t1", ["message 0"])
    assert set(memory.templates("t1", 1)) == {1}
    assert memory._bytes == sum(found.size for found in memory.templates("t1", 1).values())
