"""Text in databases whose encoding is not UTF8.

The connection speaks UTF8, and the server converts. A character that the encoding of the database lacks would be
refused there. So it is written as a mark, `=u{4e2d}`, in ASCII, and read back as the character: texts, keys, JSON and
words of the search index come back exactly, and whatever the encoding has is stored as it is, readable by SQL.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Any, Final

from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg.types.string import StrDumper, StrDumperUnknown, TextBinaryLoader, TextLoader

from holdfast.checkpoints.backends.postgres.pool import Connection

_WHOLE: Final = "UTF8"

# No server converts this one: it stores the bytes of the client.
_BYTES: Final = "SQL_ASCII"

# PostgreSQL's names of the encodings with one byte a character, and Python's codecs that know the same characters.
_CODECS: Final = {
    "LATIN1": "iso8859-1",
    "LATIN2": "iso8859-2",
    "LATIN3": "iso8859-3",
    "LATIN4": "iso8859-4",
    "LATIN5": "iso8859-9",
    "LATIN6": "iso8859-10",
    "LATIN7": "iso8859-13",
    "LATIN8": "iso8859-14",
    "LATIN9": "iso8859-15",
    "LATIN10": "iso8859-16",
    "ISO_8859_5": "iso8859-5",
    "ISO_8859_6": "iso8859-6",
    "ISO_8859_7": "iso8859-7",
    "ISO_8859_8": "iso8859-8",
    "KOI8R": "koi8-r",
    "KOI8U": "koi8-u",
    "WIN866": "cp866",
    "WIN874": "cp874",
    "WIN1250": "cp1250",
    "WIN1251": "cp1251",
    "WIN1252": "cp1252",
    "WIN1253": "cp1253",
    "WIN1254": "cp1254",
    "WIN1255": "cp1255",
    "WIN1256": "cp1256",
    "WIN1257": "cp1257",
    "WIN1258": "cp1258",
}

KNOWN: Final = frozenset({_WHOLE, _BYTES, *_CODECS})
"""The encodings of databases that can hold every text."""

_OPENS: Final = "=u{"
_MARK: Final = re.compile(r"=u\{([0-9a-f]{2,6})\}")
_HANDLER: Final = "holdfast-mark"


def _mark(error: UnicodeError) -> tuple[str, int]:
    """Replace the characters that a codec lacks by marks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    if any("\ud800" <= character <= "\udfff" for character in lacking):
        raise error  # no character, in any encoding
    return "".join(f"=u{{{ord(character):02x}}}" for character in lacking), error.end


codecs.register_error(_HANDLER, _mark)


class Repertoire:
    """The characters of a database that has not all of them."""

    def __init__(self, encoding: str) -> None:
        """
        Args:
            encoding: the encoding, one of `KNOWN`.
        """
        self._codec = _CODECS.get(encoding)

    @classmethod
    def of(cls, encoding: str) -> Repertoire | None:
        """Return the characters of an encoding; `None` if it has all."""
        return None if encoding == _WHOLE else cls(encoding)

    def to_stored(self, text: str) -> str:
        """Return a text with marks for the characters that the database lacks."""
        if self._codec is None:
            return text
        # The beginning of a mark that the text itself has becomes one too.
        text = text.replace(_OPENS, "=u{3d}u{")
        return text.encode(self._codec, _HANDLER).decode(self._codec)

    def from_stored(self, text: str) -> str:
        """Return the text that `to_stored` was given."""
        if self._codec is None or _OPENS not in text:
            return text
        return _MARK.sub(_marked, text)

    def register(self, connection: Connection) -> None:
        """Let a connection write and read texts and JSON in this way."""
        repertoire = self

        class Dumper(StrDumper):
            def dump(self, obj: str) -> Any:
                return super().dump(repertoire.to_stored(obj))

        class UnknownDumper(StrDumperUnknown):
            def dump(self, obj: str) -> Any:
                return super().dump(repertoire.to_stored(obj))

        class Loader(TextLoader):
            def load(self, data: Any) -> Any:
                return repertoire.from_stored(bytes(data).decode())

        class BinaryLoader(TextBinaryLoader):
            def load(self, data: Any) -> Any:
                return repertoire.from_stored(bytes(data).decode())

        adapters = connection.adapters
        adapters.register_dumper(str, Dumper)
        adapters.register_dumper(str, UnknownDumper)
        for type_ in ("text", "varchar", "name", "bpchar"):
            adapters.register_loader(type_, Loader)
            adapters.register_loader(type_, BinaryLoader)
        # Not as \uXXXX: the server would refuse such a character too.
        set_json_dumps(lambda value: self.to_stored(json.dumps(value, ensure_ascii=False)).encode(), connection)
        set_json_loads(lambda data: json.loads(self.from_stored(_text(data))), connection)


def _marked(mark: re.Match[str]) -> str:
    code = int(mark[1], 16)
    # Only what `to_stored` writes: never a character that JSON or an array would understand.
    return chr(code) if code == ord("=") or 0x80 <= code <= 0x10FFFF else mark[0]


def _text(data: str | bytes | bytearray | memoryview) -> str:
    return data if isinstance(data, str) else bytes(data).decode()
