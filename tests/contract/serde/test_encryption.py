"""Everything that can be encrypted passes through the sealer, and each piece is told where it belongs."""

from __future__ import annotations

import pytest
from langchain_core.messages import HumanMessage

from holdfast.checkpoints import HoldfastSaver, NotStorable, open_checkpointer
from holdfast.checkpoints.serde.messages import OPAQUE, MessageRow
from tests.support.kit import change, echo_graph, rows, texts, thread

SAID = "the eagle lands at noon"


class Mirror:
    """Writes everything backwards, behind the place that it is for."""

    def __init__(self) -> None:
        self.places: list[str] = []

    def digest_key(self, thread_id: str) -> bytes:
        return b"mirror of " + thread_id.encode()

    def seal_row(self, thread_id: str, seq: int, row: MessageRow) -> tuple[int | None, MessageRow]:
        content = (row.content or "").encode()[::-1]
        body = f"{thread_id}/{seq}/{row.codec}/{len(content)}/".encode() + content + row.body[::-1]
        return 7, row._replace(codec=OPAQUE, content=None, name=None, body=body)

    def open_row(self, thread_id: str, seq: int, key_no: int | None, row: MessageRow) -> MessageRow:
        assert key_no == 7
        place, number, codec, length, rest = row.body.split(b"/", 4)
        assert (place.decode(), int(number)) == (thread_id, seq)
        content, body = rest[: int(length)], rest[int(length) :]
        return row._replace(codec=int(codec), content=content[::-1].decode(), body=body[::-1])

    def seal_value(self, thread_id: str, place: str, type_: str, blob: bytes) -> tuple[str, bytes]:
        self.places.append(place)
        return f"mirror.{type_}", f"{thread_id}|{place}|".encode() + blob[::-1]

    def open_value(self, thread_id: str, place: str, type_: str, blob: bytes) -> tuple[str, bytes]:
        head = f"{thread_id}|{place}|".encode()
        assert blob.startswith(head)
        return type_.removeprefix("mirror."), blob[len(head) :][::-1]


def mirrored(url: str) -> tuple[HoldfastSaver, Mirror]:
    saver, mirror = open_checkpointer(url), Mirror()
    object.__setattr__(saver._database, "sealer", mirror)
    return saver, mirror


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


def test_without_keys_a_sealed_row_is_refused_with_its_thread_and_number(shared_url: str) -> None:
    with open_checkpointer(shared_url) as saver:
        echo_graph(saver).invoke({"messages": [HumanMessage(SAID)]}, thread(), durability="sync")
        change(saver, "UPDATE holdfast_messages SET key_no = 3 WHERE seq = 1")
        with pytest.raises(NotStorable, match=r"row 1 of thread 'ada-1' is encrypted with key 3"):
            texts(saver)
