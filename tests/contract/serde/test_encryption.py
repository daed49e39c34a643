"""Everything that can be encrypted passes through the sealer, and each piece is told where it belongs."""

from __future__ import annotations

import pytest
from langchain_core.messages import HumanMessage

from holdfast.checkpoints import open_checkpointer
from holdfast.checkpoints.errors import NotStorable
from tests.support.encryption_kit import mirrored
from tests.support.kit import change, echo_graph, rows, texts, thread

SAID = "the eagle lands at noon"


def test_a_sealed_conversation_goes_on_and_no_text_of_it_is_in_the_clear(url: str) -> None:
    saver, mirror = mirrored(url)
    with saver:
        graph = echo_graph(saver)
        for turn in range(2):
            graph.invoke({"messages": [HumanMessage(f"{SAID} {turn}", name="ada")]}, thread(), durability="sync")

        assert texts(saver) == [text for turn in range(2) for text in (f"{SAID} {turn}", f"You said: {SAID} {turn}")]
        columns = "message_id, codec, role, name, content, body, channel"
        stored = rows(saver, f"SELECT {columns} FROM holdfast_messages ORDER BY seq")
        assert len(stored) == 4
        assert SAID not in repr(stored)
        assert len(mirror.places) == len(set(mirror.places))


def test_a_row_that_was_moved_to_another_place_is_not_opened(url: str) -> None:
    saver, _ = mirrored(url)
    with saver:
        echo_graph(saver).invoke({"messages": [HumanMessage(SAID)]}, thread(), durability="sync")
        for old, new in ((1, 3), (2, 1), (3, 2)):  # the two change places
            change(saver, "UPDATE holdfast_messages SET seq = :new WHERE seq = :old", old=old, new=new)
        with pytest.raises(AssertionError):
            texts(saver)


def test_without_keys_a_sealed_row_is_refused_with_its_thread_and_number(url: str) -> None:
    with open_checkpointer(url) as saver:
        echo_graph(saver).invoke({"messages": [HumanMessage(SAID)]}, thread(), durability="sync")
        change(saver, "UPDATE holdfast_messages SET key_no = 3 WHERE seq = 1")
        with pytest.raises(NotStorable, match=r"row 1 of thread 'ada-1' is encrypted with key 3"):
            texts(saver)
