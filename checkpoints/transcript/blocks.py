"""The parts of a message's content that are no text: attachments and reasoning. Pure, no I/O.

Providers write them in several forms. LangChain translates them too, but its translation changes between releases, and
an export has a digest that must stay the same.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final
from urllib.parse import unquote_to_bytes

_KINDS: Final = {
    "image": "image",
    "image_url": "image",
    "input_image": "image",
    "audio": "audio",
    "input_audio": "audio",
    "video": "video",
    "video_url": "video",
    "file": "file",
    "input_file": "file",
    "document": "file",
    "media": "file",
}

REASONING: Final = frozenset({"reasoning", "thinking", "reasoning_content", "redacted_thinking"})
"""The types of content in which models write their reasoning."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """An image, a recording or another file in a message."""

    kind: str
    """"image", "audio", "video" or "file"."""
    mime_type: str | None
    name: str | None
    size: int | None
    """Its bytes; `None` if the message has no data, but an address."""
    sha256: str | None
    """The SHA-256 of its bytes, in hexadecimal."""
    url: str | None
    """Its address or its provider's id, if the message has no data."""
    data: bytes | None = field(repr=False)

    def facts(self) -> dict[str, Any]:
        """Return all but the data."""
        names = ("kind", "mime_type", "name", "size", "sha256", "url")
        return {name: getattr(self, name) for name in names}


def attachment_of(block: Any) -> Attachment | None:
    """Return the attachment that a part of a message's content is; `None` if it is none."""
    kind = _KINDS.get(_text(block, "type") or "")
    if kind is None:
        return None
    fields = dict(_flat(block))
    data, mime_type, url = _data(fields), _first(fields, "mime_type", "media_type", "format"), None
    if data is None:
        url = _first(fields, "url", "image_url", "video_url", "file_data", "file_uri", "file_url", "file_id", "id")
        if url is not None and url.startswith("data:"):
            found, data = _data_url(url)
            mime_type, url = found or mime_type, None
    if mime_type is not None and "/" not in mime_type:  # such as the "wav" of OpenAI
        mime_type = f"{kind}/{mime_type}"
    return Attachment(
        kind,
        mime_type,
        _first(fields, "filename", "name", "title"),
        None if data is None else len(data),
        None if data is None else sha256(data).hexdigest(),
        url,
        data,
    )


def reasoning_of(block: Any) -> str | None:
    """Return a model's reasoning in a part of its content; `None` if the part is none. It may be empty."""
    if _text(block, "type") not in REASONING:
        return None
    text = _first(block, "reasoning", "thinking", "text")
    return "\n\n".join(_summary(block)) if text is None else text


def reasoning_beside(kwargs: Mapping[str, Any]) -> str | None:
    """Return a model's reasoning that is not in its content, but beside it in `additional_kwargs`."""
    text = _text(kwargs, "reasoning_content")
    if text is None and isinstance(kwargs.get("reasoning"), Mapping):
        text = "\n\n".join(_summary(kwargs["reasoning"]))
    return text or None


def _flat(block: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the fields of an attachment, the inner ones of the providers' forms after its own."""
    yield from block.items()
    for name in ("extras", _text(block, "type") or "", "source"):
        if isinstance(inner := block.get(name), Mapping):
            yield from inner.items()


def _data(fields: Mapping[str, Any]) -> bytes | None:
    """Return the bytes of an attachment that has them in a field; `None` if it has none that can be read."""
    for name in ("base64", "data"):
        match fields.get(name):
            case bytes() as data:
                return data
            case str() as text if name == "data" and _text(fields, "type") == "text":  # a document of plain text
                return text.encode("utf-8", "surrogatepass")
            case str() as text if not text.startswith("data:"):
                return _decoded(text)
    return None


def _data_url(url: str) -> tuple[str | None, bytes | None]:
    """Return the type and the bytes of a `data:` URL."""
    head, _, body = url[len("data:") :].partition(",")
    mime_type, *options = head.split(";")
    return mime_type or None, _decoded(body) if "base64" in options else unquote_to_bytes(body)


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _summary(value: Mapping[str, Any]) -> list[str]:
    """Return the texts in the summary of a reasoning, as OpenAI writes it."""
    parts = value.get("summary")
    texts = [_text(part, "text") for part in parts] if isinstance(parts, list) else []
    return [text for text in texts if text]


def _first(fields: Mapping[str, Any], *names: str) -> str | None:
    return next((text for name in names if (text := _text(fields, name))), None)


def _text(fields: Any, name: str) -> str | None:
    found = fields.get(name) if isinstance(fields, Mapping) else None
    return found if isinstance(found, str) else None
