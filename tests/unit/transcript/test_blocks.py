"""Attachments and reasoning in a message, in the forms of LangChain and of the providers."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from holdfast.checkpoints.transcript.blocks import attachment_of, reasoning_beside, reasoning_of
from holdfast.checkpoints.transcript.export.fences import segments

DATA = "aGVsbG8="
URL = f"data:image/png;base64,{DATA}"


@pytest.mark.parametrize(
    ("block", "kind", "mime_type", "name"),
    [
        ({"type": "image", "base64": DATA, "mime_type": "image/png"}, "image", "image/png", None),
        (
            {"type": "image", "source_type": "base64", "data": DATA, "mime_type": "image/png"},
            "image",
            "image/png",
            None,
        ),
        ({"type": "image_url", "image_url": {"url": URL}}, "image", "image/png", None),
        ({"type": "input_image", "image_url": URL}, "image", "image/png", None),
        ({"type": "image_url", "image_url": {"url": "data:,hello"}}, "image", None, None),
        ({"type": "file", "file": {"file_data": URL, "filename": "a.png"}}, "file", "image/png", "a.png"),
        ({"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}}, "audio", "audio/wav", None),
        (
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": DATA},
                "title": "t",
            },
            "file",
            "application/pdf",
            "t",
        ),
        ({"type": "document", "source": {"type": "text", "data": "hello"}}, "file", None, None),
        ({"type": "file", "base64": DATA, "extras": {"filename": "b.txt"}}, "file", None, "b.txt"),
        ({"type": "media", "data": b"hello", "mime_type": "video/mp4"}, "file", "video/mp4", None),
    ],
)
def test_an_attachment_is_found_with_its_digest(block: Any, kind: str, mime_type: str | None, name: str | None) -> None:
    found = attachment_of(block)
    assert found is not None
    assert (found.kind, found.mime_type, found.name, found.size) == (kind, mime_type, name, 5)
    assert (found.data, found.sha256) == (b"hello", hashlib.sha256(b"hello").hexdigest())


@pytest.mark.parametrize(
    ("block", "url"),
    [
        ({"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}, "https://example.com/cat.png"),
        ({"type": "file", "file": {"file_id": "file-1"}}, "file-1"),
        ({"type": "image", "base64": "no base64!"}, None),
        ({"type": "image", "base64": 7, "source": [1], "image": None}, None),
    ],
)
def test_an_attachment_without_data_has_an_address_or_nothing(block: Any, url: str | None) -> None:
    found = attachment_of(block)
    assert found is not None
    assert (found.url, found.size, found.sha256) == (url, None, None)


@pytest.mark.parametrize("block", [None, 7, "text", {"type": "text", "text": "hi"}, {"type": 7}, {"type": ["image"]}])
def test_what_is_no_attachment_is_none(block: Any) -> None:
    assert attachment_of(block) is None
    assert reasoning_of(block) is None


def test_reasoning_is_found_in_the_content_and_beside_it() -> None:
    parts = [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}, 3]
    assert reasoning_of({"type": "reasoning", "summary": parts}) == "One.\n\nTwo."
    assert reasoning_of({"type": "reasoning", "reasoning": "Three."}) == "Three."
    assert reasoning_of({"type": "thinking", "thinking": "Four.", "signature": "x"}) == "Four."
    assert reasoning_of({"type": "redacted_thinking", "data": "x"}) == ""
    assert reasoning_beside({"reasoning_content": "Five."}) == "Five."
    assert reasoning_beside({"reasoning": {"summary": parts}}) == "One.\n\nTwo."
    assert reasoning_beside({"reasoning": "x"}) is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a\n```python\nb\n```\nc", ["```python\nb\n```"]),
        ("~~~~\n~~~\n```\n~~~~~\n```", ["~~~~\n~~~\n```\n~~~~~", "```"]),
        ("```\nnever closed", ["```\nnever closed"]),
        ("    ```\nno fence\n`` `\n```a`b", []),
        ("", []),
    ],
)
def test_the_fenced_code_of_a_text_is_found_as_markdown_has_it(text: str, code: list[str]) -> None:
    found = list(segments(text))
    assert [segment.text for segment in found if segment.is_code] == code
    assert "\n".join(segment.text for segment in found) == text
