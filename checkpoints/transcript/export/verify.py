"""The check of an exported file: whether it is as it was written, and whether the thread still says the same.

Each file ends with a seal: the SHA-256 of all bytes before the last line. It shows an accident or a careless change. A
forger can seal a file again, so proof is a digest that was kept elsewhere, or the database.

Compared with a database, each entry of the file is compared with the same entry as it would be exported now, character
by character. Only what has become of a message since is free to differ: whether it is live, replaced or undone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from itertools import product
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Final, Literal, Protocol

from holdfast.checkpoints.errors import InvalidExport
from holdfast.checkpoints.transcript import Transcript
from holdfast.checkpoints.transcript.entries import Entry, MessageEntry
from holdfast.checkpoints.transcript.export.content import (
    STATE,
    VERSION,
    ContentDigest,
    Numbered,
    entry_fields,
    numbered,
    parse,
    place_of,
    state_fields,
)
from holdfast.checkpoints.transcript.export.facts import COUNTED, FORMAT, Facts, bounds_in, holdfast_version
from holdfast.checkpoints.transcript.export.html import Html
from holdfast.checkpoints.transcript.export.jsonl import Jsonl
from holdfast.checkpoints.transcript.export.markdown import Markdown
from holdfast.checkpoints.transcript.export.render import Block, Form

_SEAL: Final = re.compile(
    rb'(?:\{"kind":"seal","sha256":"([0-9a-f]{64})"\}|<!-- holdfast seal sha256:([0-9a-f]{64}) -->)\n'
)

# By the first characters of a file.
_FORMS: Final[tuple[tuple[bytes, Form], ...]] = ((b"{", Jsonl()), (b"<!DOCTYPE html>", Html()), (b"# ", Markdown()))

_BOM: Final = b"\xef\xbb\xbf"

# Bytes of a line. An image stands in one.
_LONGEST_LINE: Final = 2**28

_ARCHIVE: Final = "holdfast-threads"
_ABSENT: Final = object()

# Without these a head says too little for any check. Older versions may lack others.
_NEEDED: Final = frozenset({"thread_id", "exported_at", "entries", "digest", "holdfast", "bounds"})


class OpensTranscripts(Protocol):
    """What a database is asked for: a `HoldfastSaver` has it."""

    def transcript(self, thread_id: str) -> Transcript: ...


@dataclass(frozen=True, slots=True)
class Difference:
    """An entry that the file and the thread do not have alike."""

    number: str
    kind: Literal["altered", "not in the thread", "not in the file"]
    fields: tuple[str, ...] = ()
    """Of an altered entry in a JSONL file: the names that have other values."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What is known of an exported file."""

    path: str
    format: str
    """"jsonl", "html" or "markdown"."""
    thread_id: str
    exported_at: datetime
    entries: int
    digest: str
    """The digest of the content, as the file names it."""
    seal: str
    """The SHA-256 of the file without its last line, as it is."""
    problems: list[str]
    """What is wrong with the file by itself."""
    compared: Literal["text", "digest"] | None = None
    """How it was compared with the thread; `None`: it was not. A page of another version is compared by its digest."""
    differences: list[Difference] = field(default_factory=list)
    added: int = 0
    """The entries that the thread has had since."""

    @property
    def is_intact(self) -> bool:
        """Return whether the file is as it was written."""
        return not self.problems

    @property
    def is_same(self) -> bool | None:
        """Return whether the thread says what the file says; `None` if they were not compared."""
        return None if self.compared is None else not self.differences


def verify(path: str | Path, checkpointer: OpensTranscripts | None = None) -> Verification:
    """Check an exported file.

    Args:
        path: a file that `jsonl`, `html` or `markdown` wrote.
        checkpointer: the database to compare it with. Without one, only the file itself is checked.

    Raises:
        InvalidExport: the file is not such an export, or was cut off before its head.
        UnknownThread: the database has no such thread.
        OSError: the file cannot be read.
    """
    with ExitStack() as opened:
        file: IO[bytes] = opened.enter_context(Path(path).open("rb"))
        if marks := _marks(file):
            file = _without_marks(file, opened.enter_context(TemporaryFile()))
        seal, sealed, lines = _read_seal(path, file)
        checked = _CheckedFile(Path(path), file, lines)
        head, problems = checked.head, list(checked.problems())
        if sealed is None:
            problems.insert(0, "its end is missing, with the seal")
        elif sealed != seal:
            problems.insert(0, "its bytes have another SHA-256 than its seal says")
        if marks:
            rest = "more was changed as well" if problems else "apart from that it is"
            problems.insert(0, f"a program has put in {' and '.join(marks)}; {rest}")
        thread_id, exported_at = str(head["thread_id"]), datetime.fromisoformat(head["exported_at"])
        about = (thread_id, exported_at, head["entries"], str(head["digest"]), seal, problems)
        found = Verification(str(path), checked.form.name, *about)
        if checkpointer is None:
            return found
        transcript = checkpointer.transcript(thread_id).within(bounds_in(head)).plain()
        return _compared(found, checked, transcript)


def _marks(file: IO[bytes]) -> list[str]:
    """Return what editors and transfers put into a file of text: a mark at its beginning, and other ends of lines."""
    first = file.readline(_LONGEST_LINE)
    file.seek(0)
    found = {"a byte order mark": first.startswith(_BOM), "line ends of CR LF": first.endswith(b"\r\n")}
    return [name for name, is_there in found.items() if is_there]


def _without_marks(given: IO[bytes], plain: IO[bytes]) -> IO[bytes]:
    """Write a file without these marks into another one, which is checked in its place, and return that."""
    if given.read(len(_BOM)) != _BOM:
        given.seek(0)
    while line := given.readline(_LONGEST_LINE):
        plain.write(line[:-2] + b"\n" if line.endswith(b"\r\n") else line)
    plain.seek(0)
    return plain


def _read_seal(path: object, file: IO[bytes]) -> tuple[str, str | None, int]:
    """Return the SHA-256 of all lines but the last, the one that the last line names, and the number of the others."""
    state, last, lines = sha256(), b"", 0
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise InvalidExport(path, f"it has a line of more than {_LONGEST_LINE // 2**20} MB")
        state.update(last)
        lines, last = lines + bool(last), line
    found = _SEAL.fullmatch(last)
    if found is None:  # the end is missing
        state.update(last)
        return state.hexdigest(), None, lines + bool(last)
    return state.hexdigest(), (found[1] or found[2]).decode(), lines


class _CheckedFile:
    """An exported file while it is checked."""

    def __init__(self, path: Path, file: IO[bytes], lines: int) -> None:
        """
        Args:
            path: its path.
            file: the file.
            lines: the number of its lines, without the seal.

        Raises:
            InvalidExport: it is no export.
        """
        self._path, self._file, self._lines = path, file, lines
        file.seek(0)
        start = file.read(32)
        form = next((form for begins, form in _FORMS if start.startswith(begins)), None)
        if form is None:
            raise InvalidExport(path, "it is neither JSONL nor HTML nor Markdown")
        self.form: Form = form
        self.head = self._read_head()
        self.is_of_this_version = self.head["holdfast"] == holdfast_version()

    def _read_head(self) -> Mapping[str, Any]:
        try:
            head = next(filter(None, map(self.form.read_head, self._read_lines())))
            if head["format"] == _ARCHIVE:
                raise InvalidExport(self._path, "it has whole threads, which `holdfast threads import` checks")
            if head["format"] == FORMAT and head["version"] > VERSION:
                raise InvalidExport(self._path, f"a newer version, Holdfast {head['holdfast']}, has written it")
            datetime.fromisoformat(head["exported_at"])
            bounds_in(head)
            if head["format"] == FORMAT and head.keys() >= _NEEDED and type(head["entries"]) is int:
                return head
        except (StopIteration, ValueError, TypeError, LookupError, AttributeError) as error:
            if isinstance(error, InvalidExport):
                raise
        raise InvalidExport(self._path, "it has no head that can be read")

    def _read_lines(self) -> Iterator[str]:
        """Yield the lines before the seal. What is no UTF-8 is replaced, and differs from every export."""
        self._file.seek(0)
        for _ in range(self._lines):
            yield self._file.readline().decode("utf-8", "replace")

    def blocks(self) -> Iterator[Block]:
        """Yield the entries."""
        lines = self._read_lines()
        next(line for line in lines if self.form.read_head(line) is not None)
        return self.form.blocks(lines)

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with it by itself."""
        count, size, digest = 0, 0, ContentDigest()
        for block in self.blocks():
            count, size = count + 1, size + len(block.text)
            if not block.number:
                yield f"its entry {count} cannot be read"
            if self.form.name == "jsonl" and block.number:
                digest.add(parse(block.text))
        if count != self.head["entries"]:
            yield f"it has {count} entries, and its head says {self.head['entries']}"
        if self.form.name == "jsonl" and digest.text() != self.head["digest"]:
            yield "its entries have another digest than its head says"
        if self.is_of_this_version:
            if lacking := [name for name in COUNTED if name not in self.head]:
                yield f"its head lacks {', '.join(lacking)}"
            try:
                head = self.form.head(self.head)
            except (TypeError, ValueError, LookupError, AttributeError):
                head = ""
            whole = sum(map(len, self._read_lines())) == len(head) + size + len(self.form.foot())
            if not whole or not self._begins_with(head.encode()):
                yield "it has text beside its entries that no export has, or a head that does not fit its facts"

    def _begins_with(self, text: bytes) -> bool:
        self._file.seek(0)
        return self._file.read(len(text)) == text


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d{1,18}(\.\d{1,18})?", text) is not None


# --- comparing


def _compared(found: Verification, file: _CheckedFile, transcript: Transcript) -> Verification:
    """Compare the entries of a file with those of the thread."""
    if file.form.name != "jsonl" and not file.is_of_this_version:
        return _compared_by_digest(found, file, transcript)
    facts, differences, added = Facts(transcript), [], 0
    for block, entry in _aligned(file.blocks(), numbered(transcript)):
        if entry is None and block is not None:
            differences.append(Difference(block.number or "?", "not in the thread"))
        elif entry is not None and block is None and entry.entry.at > found.exported_at:
            added += 1
        elif entry is not None:
            fields = facts.count(entry)
            if block is None:
                differences.append(Difference(entry.number, "not in the file"))
            elif (difference := _difference(file.form, block, entry, fields)) is not None:
                differences.append(difference)
    counted = facts.as_json()
    if wrong := tuple(name for name in COUNTED if file.head.get(name, counted[name]) != counted[name]):
        differences.append(Difference("head", "altered", wrong))
    return replace(found, compared="text", differences=differences, added=added)


def _compared_by_digest(found: Verification, file: _CheckedFile, transcript: Transcript) -> Verification:
    """Compare a page of another version, whose words may be others, by the digest that it names."""
    digest, added = ContentDigest(), 0
    for number, entry in enumerate(numbered(transcript)):
        if number < found.entries:
            digest.add(entry_fields(transcript.thread_id, entry))
        else:
            added += 1
    differences = [] if digest.text() == found.digest else [Difference("head", "altered", ("digest",))]
    return replace(found, compared="digest", differences=differences, added=added)


def _aligned(
    blocks: Iterator[Block], entries: Iterator[Numbered]
) -> Iterator[tuple[Block, Numbered] | tuple[Block, None] | tuple[None, Numbered]]:
    """Pair the entries of a file with those of the thread, in the order of their numbers."""
    entry = next(entries, None)
    for block in blocks:
        while entry is not None and _is_number(block.number) and place_of(entry.number) < place_of(block.number):
            yield None, entry
            entry = next(entries, None)
        if entry is not None and entry.number == block.number:
            yield block, entry
            entry = next(entries, None)
        else:
            yield block, None
    while entry is not None:
        yield None, entry
        entry = next(entries, None)


def _difference(form: Form, block: Block, found: Numbered, fields: Mapping[str, Any]) -> Difference | None:
    """Return how an entry of a file differs from that of the thread, apart from what has become of it since."""
    for entry in _states(found.entry):
        now = found._replace(entry=entry)
        if form.entry(now, {**fields, **state_fields(entry)}) == block.text:
            return None
    names: tuple[str, ...] = ()
    if form.name == "jsonl":
        there = parse(block.text)
        both = sorted({*fields, *there} - {*STATE})
        names = tuple(name for name in both if fields.get(name, _ABSENT) != there.get(name, _ABSENT))
    return Difference(found.number, "altered", names)


def _states(entry: Entry) -> Iterator[Entry]:
    """Yield an entry as it is, then in every state that it may have been in."""
    yield entry
    if isinstance(entry, MessageEntry):
        for live, replaced, undone in product((True, False, None), (False, True), {None, entry.undone}):
            yield replace(entry, live=live, replaced=replaced, undone=undone)
