"""An export from its head to its seal, in any format.

The head has facts about all entries, so the entries are rendered first, and kept: in memory while they are few, else in
a temporary file without a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import Any, Final, NamedTuple, Protocol

from holdfast.checkpoints.transcript import Transcript
from holdfast.checkpoints.transcript.export.content import Numbered, numbered
from holdfast.checkpoints.transcript.export.facts import Facts

# Characters of rendered entries that are in memory.
_IN_MEMORY: Final = 4 * 2**20
_CHUNK: Final = 2**18


class Block(NamedTuple):
    """An entry in a file."""

    number: str
    text: str


class Form(Protocol):
    """A format of exports."""

    name: str
    seal: str
    """The last line, with `{}` for the SHA-256 of all bytes before it, in hexadecimal."""

    def head(self, head: Mapping[str, Any]) -> str:
        """Return what stands before the entries. It contains the line that `read_head` reads.

        Args:
            head: as `Facts.as_json` returns it.
        """
        ...

    def entry(self, found: Numbered, fields: Mapping[str, Any]) -> str:
        """Return an entry as whole lines. `fields` is its object, as `entry_fields` returns it."""
        ...

    def foot(self) -> str:
        """Return what stands between the entries and the seal."""
        ...

    def read_head(self, line: str) -> dict[str, Any] | None:
        """Return the head as JSON, if it is in this line of a file.

        Raises:
            ValueError: the line was altered.
        """
        ...

    def blocks(self, lines: Iterable[str]) -> Iterator[Block]:
        """Yield the entries in the lines of a file, which begin behind that of the head.

        The number of an entry that was altered may be any text, and that of one that cannot be read is `""`.
        """
        ...


def render(transcript: Transcript, form: Form) -> Iterator[str]:
    """Yield an export in parts."""
    transcript = transcript.plain()
    facts, seal = Facts(transcript), sha256()
    with SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8", newline="") as kept:
        for found in numbered(transcript):
            kept.write(form.entry(found, facts.count(found)))
        kept.seek(0)
        chunks = iter(lambda: kept.read(_CHUNK), "")
        for part in chain([form.head(facts.as_json())], chunks, [form.foot()]):
            seal.update(part.encode())
            yield part
    yield form.seal.format(seal.hexdigest())
