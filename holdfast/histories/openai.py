"""The conversations in an export of OpenAI's ChatGPT: the file `conversations.json`.

A conversation is a tree of messages, since a person may edit a message and ask again. What is imported is the way from
its root to its current node.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    try:
        path = _path(conversation)
    except NotUnderstood as error:
        history.problem = f"{history.thread_id!r}: {error}."
        return history
    for message in path:
        try:
            _add(history, message)
        except NotUnderstood as error:
            history.problem = history.problem or f"message {message.get('id')!r} of {history.thread_id!r}: {error}."
    return history


def _path(conversation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the messages from the root to the current node.

    Raises:
        NotUnderstood: a node on the way is missing, is none, or is its own ancestor.
    """
    nodes: Mapping[str, Any] = conversation["mapping"]
    at: Any = conversation.get("current_node")
    if not isinstance(at, str) or at not in nodes:  # of an older export: the last leaf
        at = next(reversed([name for name, node in nodes.items() if not _node(name, node).get("children")]), None)
    path: list[Mapping[str, Any]] = []
    met: set[Any] = set()
    while at is not None:
        if not isinstance(at, str):
            raise NotUnderstood(f"a parent is {type(at).__name__}, and needed the name of a node")
        if at in met:
            raise NotUnderstood(f"node {at!r} is its own ancestor, and needed a tree")
        met.add(at)
        node = _node(at, nodes.get(at))
        if isinstance(node.get("message"), Mapping):
            path.append(node["message"])
        at = node.get("parent")
    return path[::-1]


def _node(name: Any, node: Any) -> Mapping[str, Any]:
    if not isinstance(node, Mapping):
        found = "is missing" if node is None else f"is {type(node).__name__}"
        raise NotUnderstood(f"node {name!r} {found}, and needed an object with a message and a parent")
    return node


def _add(history: History, message: Mapping[str, Any]) -> None:
    role = _object(message, "author").get("role")
    hidden = _object(message, "metadata").get("is_visually_hidden_from_conversation")
    content = _object(message, "content")
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


def _object(message: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = message.get(name) or {}
    if not isinstance(found, Mapping):
        raise NotUnderstood(f"the {name} is {type(found).__name__}, and needed an object")
    return found


def _named(part: Any) -> str:
    """Return what stands for an image or another attachment, which the export has as a file of its own."""
    if not isinstance(part, Mapping):
        return ""
    return f"[{part.get('content_type') or 'attachment'}: {part.get('asset_pointer') or 'not in the export'}]"
