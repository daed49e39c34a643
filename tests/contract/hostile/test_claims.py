"""What a value claims to be, or how long it claims to be, is not believed."""

from __future__ import annotations

import zlib
from base64 import b64encode
from multiprocessing.managers import SyncManager
from typing import Any

import ormsgpack
import pytest
from langchain_core.prompts import PromptTemplate
from langgraph.checkpoint.serde import jsonplus

from holdfast.checkpoints.backends.postgres import documents
from holdfast.checkpoints.serde import ranges
from holdfast.checkpoints.serde.messages import MessageRow, decode, digest
from holdfast.checkpoints.serde.types import Types
from holdfast.checkpoints.serde.types.rebuild import rebuild


@pytest.mark.parametrize("active", [PromptTemplate, SyncManager])
@pytest.mark.parametrize("code", [jsonplus.EXT_PYDANTIC_V2, jsonplus.EXT_PYDANTIC_V1])
def test_what_does_something_when_it_is_made_is_made_only_if_it_is_named(active: type, code: int) -> None:
    fields: dict[str, Any] = {"template": "{word}", "input_variables": ["word"]} if active is PromptTemplate else {}
    stored = [active.__module__, active.__qualname__, fields]

    assert rebuild(Types(), code, stored) == fields
    assert type(rebuild(Types([active]), code, stored)) is active


def test_a_value_does_not_fill_the_memory_with_references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "MOST", 1_000)
    for lists in ([[1, 10**12]], [[1, 500]] * 3, [[-1, -(2**62)]]):
        with pytest.raises(ValueError, match="more than 1,000 messages"):
            ranges.expand_each(lists)
    assert ranges.expand_each([[1, 2], [-3, -3]]) == [[1, 2], [-3]]


def test_a_packed_document_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_LONGEST", 2**20)
    bomb = zlib.compress(b"\0" * (2**20 + 1), 1, 9)
    document = {"v": 4, "channel_versions": {}, "packed": b64encode(bomb).decode()}

    with pytest.raises(ValueError, match="longer than 1,048,576 bytes"):
        documents.unpacked(document, "1f0")


def test_a_body_gives_its_message_no_other_id() -> None:
    body = ormsgpack.packb(["", {"id": "that of another message"}])
    row = MessageRow("m-1", digest("human", "Hello.", body), 1, "human", None, "Hello.", body)

    with pytest.raises(ValueError, match="an id"):
        decode(row, Types())
