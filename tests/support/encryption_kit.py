"""A cipher to test with: it writes backwards."""

from __future__ import annotations

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.serde.messages import OPAQUE, MessageRow


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
