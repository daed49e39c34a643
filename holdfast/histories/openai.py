"""The conversations in an export of OpenAI's ChatGPT: the file `conversations.json`.

A conversation is a tree of messages, since a person may edit a message and ask again. What is imported is the way from
its root to its current node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from holdfast.histories.history import History, NotUnderstood, moment

_ROLES: Final = {"user": "user", "assistant": "assistant", "system": "system"}


def is_openai(conversation: Any) -> bool:
    """Return whether something is a conversation of such an export."""
    return isinstance(conversation, Mapping) and isinstance(conversation.get("mapping"), Mapping)


def openai_history(conversation: Mapping[str, Any]) -> History:
    """Return a conversation of such an export. Texts of tools, empty ones and hidden ones are left out."""
    thread_id = conversation.get("conversation_id") or conversation.get("id")
    title = conversation.get("title")
    history = History(str(thread_id or title or "untitled"), title=title if isinstance(title, str) and title else None)
    for message in _path(conversation):
        try:
            _add(history, message)
        except NotUnderstood as error:
            history.problem = history.problem or f"message {message.get('id')!r} of {history.thread_id!r}: {error}."
    return history


def _path(conversation: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the messages from the root to the current node."""
    nodes: Mapping[str, Any] = conversation["mapping"]
    at: Any = conversation.get("current_node")
    if at not in nodes:  # of an older export: the last leaf
        at = next(reversed([name for name, node in nodes.items() if not node.get("children")]), None)
    path: list[Mapping[str, Any]] = []
    met: set[Any] = set()
    while at in nodes and at not in met:
        met.add(at)
        node = nodes[at]
        if isinstance(node.get("message"), Mapping):
            path.append(node["message"])
        at = node.get("parent")
    yield from reversed(path)


def _add(history: History, message: Mapping[str, Any]) -> None:
    role = (message.get("author") or {}).get("role")
    hidden = (message.get("metadata") or {}).get("is_visually_hidden_from_conversation")
    content = message.get("content") or {}
    if role not in _ROLES or hidden or content.get("content_type") not in {"text", "multimodal_text", "code"}:
        return
    parts = [content["text"]] if content.get("text") else content.get("parts") or []
    text = "\n".join(part if isinstance(part, str) else _named(part) for part in parts if part)
    if not text.strip():
        return
    time = message.get("create_time")
    history.add(
        {"id": message.get("id"), "role": _ROLES[role], "content": text}, None if time is None else moment(time)
    )


def _named(part: Any) -> str:
    """Return what stands for an image or another attachment, which the export has as a file of its own."""
    if not isinstance(part, Mapping):
        return ""
    return f"[{part.get('content_type') or 'attachment'}: {part.get('asset_pointer') or 'not in the export'}]"
