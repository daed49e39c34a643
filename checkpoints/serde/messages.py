"""One message and its row: encode, decode, digest. No I/O.

A row has the text in a column of its own, which SQL can read, and a body: msgpack of everything that differs from the
defaults of the message's class, without the id. Two messages with the same role, text and body are the same message
said twice; only their ids differ, in a column that may be filled in later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from types import new_class
from typing import Any, Final, NamedTuple

import ormsgpack
from langchain_core import messages as lc
from langchain_core.messages import BaseMessage, RemoveMessage
from pydantic_core import PydanticUndefined

from holdfast.checkpoints.errors import NotStorable
from holdfast.checkpoints.serde.msgpack import FIRST_FREE_CODE, NOT_MINE, Packing, Unpacking
from holdfast.checkpoints.serde.types import Types

# How to read `content`. The numbers are in the database.
TEXT: Final = 1
"""`content` is the message's text, exactly."""
BLOCKS: Final = 2
"""`content` is the text of the blocks, one after the other; the body has the blocks, which point into it."""
OPAQUE: Final = 3
"""`content` is the text as far as SQL can hold it, for reading only; the body has everything."""

_STAND_IN: Final = "__holdfast_stand_in__"
_SOURCE: Final = "lc_source"  # of LangChain, in `additional_kwargs`
_PERSON: Final = b"holdfast-message"  # keeps these digests apart from all others made with the same key
SLICE: Final = FIRST_FREE_CODE  # in a body: this text is content[start:stop]
NESTED: Final = FIRST_FREE_CODE + 1  # in a body: a message within the message, such as in an artifact

EMPTY_BODY: Final = ormsgpack.packb(["", {}])  # plain text and nothing else: most messages

_CLASSES: Final[dict[str, type[BaseMessage]]] = {
    cls.__name__: cls
    for cls in (
        lc.HumanMessage,
        lc.AIMessage,
        lc.SystemMessage,
        lc.ToolMessage,
        lc.FunctionMessage,
        lc.ChatMessage,
        lc.HumanMessageChunk,
        lc.AIMessageChunk,
        lc.SystemMessageChunk,
        lc.ToolMessageChunk,
        lc.FunctionMessageChunk,
        lc.ChatMessageChunk,
    )
}
_BASES: Final[dict[str, type[BaseMessage]]] = {
    "human": lc.HumanMessage,
    "ai": lc.AIMessage,
    "system": lc.SystemMessage,
    "tool": lc.ToolMessage,
    "function": lc.FunctionMessage,
    "chat": lc.ChatMessage,
}
_ROLE_OF: Final = {
    cls: next(role for role, base in _BASES.items() if issubclass(cls, base)) for cls in _CLASSES.values()
}


class MessageRow(NamedTuple):
    """The stored form of a message, without its place."""

    message_id: str | None
    digest: bytes
    codec: int
    role: str
    name: str | None
    content: str | None
    body: bytes


class Snapshot(NamedTuple):
    """A copy of the attributes of a message: LangGraph sets ids in place while a save is going on."""

    cls: type[BaseMessage]
    fields: dict[str, Any]
    extra: dict[str, Any] | None
    private: dict[str, Any] | None


def snapshot(message: BaseMessage) -> Snapshot:
    """Return a snapshot of a message."""
    return Snapshot(
        type(message), message.__dict__.copy(), message.__pydantic_extra__ or None, message.__pydantic_private__
    )


def _is_row_class(cls: type) -> bool:
    return issubclass(cls, BaseMessage) and not issubclass(cls, RemoveMessage)


is_row_class: Callable[[type], bool] = cache(_is_row_class)
"""Returns whether instances of a class are stored as rows. A `RemoveMessage` is an instruction, not a message."""


def encode(message: Snapshot, types: Types, *, key: bytes = b"") -> MessageRow:
    """Return the row of a message.

    Args:
        message: the message's attributes.
        types: the types that may be stored within it.
        key: the key of the digest.

    Raises:
        NotStorable: an attribute cannot be stored.
    """
    cls, fields, extra, private = message
    content, message_id = fields.get("content"), fields.get("id")
    if (
        type(content) is str
        and extra is None
        and private is None
        and {**fields, "content": None, "id": None} == _plain(cls)
        and is_sql_text(content)
        and (message_id is None or (type(message_id) is str and is_sql_text(message_id)))
    ):
        # Only a text, as most messages of people. For None, texts and empty containers == is exact.
        role = _ROLE_OF[cls]
        own_digest = digest(role, content, EMPTY_BODY, key=key)
        return MessageRow(message_id, own_digest, TEXT, role, None, content, EMPTY_BODY)
    defaults = _defaults(cls)
    own = {
        name: fields[name]
        for name in sorted(fields)
        if name not in {"id", "content"} and not (name in defaults and _is_default(fields[name], defaults[name]))
    }
    codec, content, left = split_content(fields.get("content"))
    if codec != TEXT:
        own["content"] = left
    kind: Any = "" if _BASES.get(_role(cls, fields)) is cls else cls.__name__
    if cls not in _ROLE_OF:
        kind = list(types.name(cls))
    stored: list[Any] = [kind, own]
    if extra or private is not None:
        stored += [extra, private]

    def special(packing: Packing, value: Any) -> Any:
        if type(value) is Slice:
            return packing.ext(SLICE, ormsgpack.packb([value.start, value.stop]))
        if is_row_class(type(value)):
            return packing.ext(NESTED, ormsgpack.packb(list(encode(snapshot(value), types))))
        return NOT_MINE

    if kind or own or extra or private is not None:
        body = Packing(types, special, keep_tuples=True).pack(stored)
    else:
        body = EMPTY_BODY
    role = _role(cls, fields)
    name, message_id = fields.get("name"), fields.get("id")
    if message_id is not None and not is_sql_text(message_id):
        raise NotStorable(
            f"The message id {message_id!r} cannot be saved: it has a NUL or a lone surrogate. Use another id."
        )
    return MessageRow(
        message_id=message_id,
        digest=digest(role, content, body, key=key),
        codec=codec,
        role=role,
        name=sql_text(name) if isinstance(name, str) else None,
        content=content,
        body=body,
    )


def decode(row: MessageRow, types: Types, *, with_id: bool = True) -> BaseMessage:
    """Return a new message object from its row, without running its validators again.

    Raises:
        NotStorable: a type within it is not allowed or cannot be imported.
        ValueError, KeyError, IndexError: the row is not one that `encode` made.
    """
    content = row.content

    def revive(code: int, data: bytes) -> Any:
        if code == SLICE and content is not None:
            start, stop = ormsgpack.unpackb(data)
            return content[start:stop]
        if code == NESTED:
            return decode(MessageRow(*ormsgpack.unpackb(data)), types)
        raise NotStorable(f"A message row has the extension code {code}, which this version does not know.")

    kind, own, *rest = ("", {}) if row.body == EMPTY_BODY else Unpacking(types, revive).unpack(row.body)
    cls = _class(kind, row.role, types)
    blank, containers = _blank(cls)
    fields = {**blank, "content": content, "id": row.message_id if with_id else None}
    for name, container in containers:
        fields[name] = container()  # two messages must not share one
    extra, private = rest or (None, None)
    if "id" in own:  # it has a column of its own
        raise ValueError("the body has an id")
    fields.update(own)
    message = cls.__new__(cls)
    object.__setattr__(message, "__dict__", fields)
    object.__setattr__(message, "__pydantic_extra__", extra or {})
    object.__setattr__(message, "__pydantic_private__", private)
    object.__setattr__(message, "__pydantic_fields_set__", set(fields))
    return message


def digest(role: str, content: str | None, body: bytes, *, key: bytes = b"") -> bytes:
    """Return 16 bytes that identify a message apart from its id: keyed BLAKE2b over role, body and content."""
    state = blake2b(b"%b\0%d\0%b" % (role.encode(), len(body), body), digest_size=16, key=key, person=_PERSON)
    if content is not None:
        state.update(content.encode())
    return state.digest()


SUMMARY: Final = "summarization"
"""The source of a summary of older messages, as LangChain's middleware names it."""


def source_of(message: BaseMessage | None) -> str | None:
    """Return what added a message in the role of a person, such as `SUMMARY`; `None` for the words of a person."""
    return _source(getattr(message, "additional_kwargs", None)) if isinstance(message, lc.HumanMessage) else None


def source_in(role: str, body: bytes | None) -> str | None:
    """Return the same from the role and the body of a row; `None` as well for a body that cannot be read."""
    if role != "human" or body is None or _SOURCE.encode() not in bytes(body):
        return None
    try:
        _, own, *_ = Unpacking(Types.plain(), lambda code, data: None).unpack(bytes(body))
        return _source(own.get("additional_kwargs"))
    except (NotStorable, ValueError, TypeError, AttributeError):  # encrypted, or damaged
        return None


def _source(kwargs: Any) -> str | None:
    source = kwargs.get(_SOURCE) if isinstance(kwargs, Mapping) else None
    return source if isinstance(source, str) and source else None


def sql_text(text: str) -> str:
    """Return a text that every database can hold: without NUL, and with `?` for what UTF-8 cannot encode."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "").encode("utf-8", "replace").decode()


class Slice(NamedTuple):
    start: int
    stop: int


def split_content(content: Any) -> tuple[int, str | None, Any]:
    """Return how to read the column `content`, the column, and the rest of the content for the body."""
    if type(content) is str and is_sql_text(content):
        return TEXT, content, None
    if isinstance(content, str):
        return OPAQUE, sql_text(content), content
    if not isinstance(content, list):
        return OPAQUE, None, content
    texts: list[str] = []
    blocks: list[Any] = []
    end = 0
    for block in content:
        text = block.get("text") if isinstance(block, dict) and block.get("type") == "text" else block
        if type(text) is str and is_sql_text(text):
            slice_ = Slice(end, end := end + len(text))
            texts.append(text)
            blocks.append({**block, "text": slice_} if isinstance(block, dict) else slice_)
        else:
            blocks.append(block)
    return BLOCKS, "".join(texts) if texts else None, blocks


def is_sql_text(text: str) -> bool:
    """Return whether every database can hold a text."""
    if "\0" in text:  # PostgreSQL refuses it, and SQLite's tools cut the text there
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _role(cls: type[BaseMessage], fields: dict[str, Any]) -> str:
    return _ROLE_OF.get(cls) or sql_text(str(fields.get("type") or cls.__name__))


def _class(kind: str | Sequence[str], role: str, types: Types) -> type[BaseMessage]:
    if not kind:
        return _BASES[role]
    if isinstance(kind, str):
        return _CLASSES[kind]
    module, name = kind
    cls = types.find(module, name)
    if isinstance(cls, type) and issubclass(cls, BaseMessage):
        return cls
    types.warn(module, name, "this program has not loaded it")
    return _stand_in(module, name, _BASES.get(role, BaseMessage))


@cache
def _stand_in(module: str, name: str, base: type[BaseMessage]) -> type[BaseMessage]:
    """Return a class for messages whose own class is not here.

    It is one of the same role and has the same name, so a message that is saved again is still the row that it was, and
    belongs to its own class once that is here.
    """
    names = {"__module__": module, "__qualname__": name, _STAND_IN: True}
    return new_class(name.rpartition(".")[2], (base,), exec_body=lambda namespace: namespace.update(names))


def is_stand_in(cls: type[BaseMessage]) -> bool:
    """Return whether a class of messages stands for one that is not here."""
    return _STAND_IN in vars(cls)


@cache
def _defaults(cls: type[BaseMessage]) -> dict[str, Any]:
    """Return the defaults of LangChain's own classes, so that rows omit them and a new field changes no digest.

    All fields of other subclasses are stored, because their defaults may change.
    """
    if cls not in _ROLE_OF:
        return {}
    return {
        name: default
        for name, field in cls.model_fields.items()
        if (default := field.get_default(call_default_factory=True)) is not PydanticUndefined
    }


@cache
def _plain(cls: type[BaseMessage]) -> dict[str, Any] | None:
    """Return the fields of a message that says nothing; `None` for a class of which `==` may not be exact."""
    if cls not in {lc.HumanMessage, lc.AIMessage, lc.SystemMessage}:
        return None
    defaults = _defaults(cls)
    return {name: defaults.get(name) for name in cls.model_fields}


@cache
def _blank(cls: type[BaseMessage]) -> tuple[dict[str, Any], list[tuple[str, type]]]:
    """Return the fields of a message that has only defaults, and which of them are containers.

    The fields are in the order of the class, so that a loaded message prints as before.
    """
    defaults = _defaults(cls)
    containers = [(name, type(default)) for name, default in defaults.items() if isinstance(default, (dict, list))]
    return {name: defaults.get(name) for name in cls.model_fields}, containers


def _is_default(value: Any, default: Any) -> bool:
    # Defaults are None, a str, or empty. For these == is exact (1 == True is not).
    return type(value) is type(default) and bool(value == default)
