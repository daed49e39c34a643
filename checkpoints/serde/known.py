"""Messages whose rows are known: a copy of what was in them, to notice changes and to make equal messages. No I/O."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, NoReturn

import ormsgpack
from langchain_core.messages import BaseMessage

_OVERHEAD: Final = 400  # bytes of a template without its texts

_OPTIONS = (
    ormsgpack.OPT_NON_STR_KEYS
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_UUID
)

_set = object.__setattr__  # the one of a model would validate

MessageContents = dict[str, Any] | tuple[Any, bytes]
"""A copy of everything in a message. It is a dict of the fields if these are only texts, None and empty containers, as
in most messages; else the text, which is immutable, and the other fields packed."""


def contents_of(message: BaseMessage) -> MessageContents | None:
    """Return a copy of everything in a message, or `None` if the message has more than JSON types.

    The copy is compared with the message later, and equal messages are made of it. It is packed because a comparison of
    values would not do: `1 == True == 1.0`, and a shallow copy would change with the original.
    """
    fields = message.__dict__.copy()
    if message.__pydantic_extra__ or message.__pydantic_private__ is not None:
        return None
    simple = True
    for name, value in fields.items():
        if value is None or type(value) is str:
            continue
        if type(value) in (dict, list) and not value:  # of no other type: asked for its truth, an array raises an error
            fields[name] = type(value)()  # a new one: that of the message may be filled later
        else:
            simple = False
            break
    if simple:
        return fields
    content = fields["content"] if type(fields.get("content")) is str else None
    if content is not None:
        fields["content"] = None
    try:
        return content, ormsgpack.packb(fields, default=_refuse, option=_OPTIONS)
    except TypeError:
        return None


def is_unchanged(message: BaseMessage, contents: MessageContents) -> bool:
    """Return whether everything in a message is still as in an earlier copy."""
    if type(contents) is dict:
        # For None, texts and empty containers == is exact.
        return message.__dict__ == contents and not message.__pydantic_extra__ and message.__pydantic_private__ is None
    return contents_of(message) == contents


class Template:
    """The contents of a message row, checked once. Messages are made of it without the database.

    It is made of a row that a checkpoint has, because such a row does not change any more.
    """

    __slots__ = ("_containers", "cls", "contents", "rank", "size")

    def __init__(self, cls: type[BaseMessage], contents: MessageContents, rank: tuple[bool, bool]) -> None:
        self.cls = cls
        self.contents = contents
        self.rank = rank
        """The owner of the row; see `core.placement.rank`."""
        text, rest = (contents.get("content"), b"") if type(contents) is dict else contents
        self.size = _OVERHEAD + len(text or "") + len(rest)
        """The approximate number of bytes that it takes."""
        self._containers: list[tuple[str, type]] | None = None

    def make(self) -> BaseMessage:
        """Return a new message."""
        contents = self.contents
        if isinstance(contents, dict):
            fields = contents.copy()
            if self._containers is None:
                self._containers = [
                    (name, type(value)) for name, value in fields.items() if type(value) in (dict, list)
                ]
            for name, kind in self._containers:
                fields[name] = kind()  # two messages must not share one
        else:
            content, packed = contents
            fields = ormsgpack.unpackb(packed, option=ormsgpack.OPT_NON_STR_KEYS)
            if content is not None:
                fields["content"] = content
        message = self.cls.__new__(self.cls)
        _set(message, "__dict__", fields)
        _set(message, "__pydantic_extra__", {})
        _set(message, "__pydantic_private__", None)
        _set(message, "__pydantic_fields_set__", set(fields))
        return message


class Known(NamedTuple):
    """A message object whose row is known."""

    message: BaseMessage
    contents: MessageContents
    ref: int
    """The reference to the row; see `ranges`."""
    claimed: bool
    """Whether the row is claimed by a checkpoint of this namespace already."""


def _refuse(_: object) -> NoReturn:
    raise TypeError
