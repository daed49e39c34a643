"""A file of threads, read line by line and checked. For its form see `archive`."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, cast

from holdfast.checkpoints.config import thread_of
from holdfast.checkpoints.errors import InvalidArchive, InvalidThread
from holdfast.checkpoints.transfer.jsonl import (
    END,
    END_OF_THREAD,
    FORMAT,
    LONGEST_LINE,
    VERSION,
    InvalidLine,
    Values,
    checkpoint_values,
    decode_record,
    parse_line,
)
from holdfast.checkpoints.transfer.records import RECORDS, ThreadDigest, ThreadRecord
from holdfast.checkpoints.transfer.validate import ThreadValidator

_GZIP: Final = b"\x1f\x8b"  # whatever the file is called

_AGAIN: Final = (
    "Needed: a file as `holdfast threads export --format holdfast` makes it. Export again, or fetch it again."
)


class ArchivedThread(NamedTuple):
    """A thread in a file."""

    thread_id: str
    records: int
    digest: str
    line: int
    """Where it begins: the line's number, counted from 1."""
    offset: int
    """The same in bytes, as they are unpacked."""


class ArchiveReader:
    """A file of threads, line by line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.line = 0
        self.offset = 0
        """Where the line begins that was read last."""
        self._next = 0

    def __enter__(self) -> ArchiveReader:
        with ExitStack() as opening:
            try:
                file = opening.enter_context(self._path.open("rb"))
                is_packed = file.read(2) == _GZIP
                file.seek(0)
            except OSError as error:
                raise InvalidArchive(self._path, f"it cannot be read ({error.strerror}).") from error
            self._file: IO[bytes] = file
            if is_packed:
                self._file = cast("IO[bytes]", opening.enter_context(gzip.GzipFile(fileobj=file, mode="rb")))
            self._opened = opening.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._opened.close()

    def wrong(self, why: str) -> InvalidArchive:
        return InvalidArchive(self._path, f"{why} {_AGAIN}", line=self.line)

    def begin(self) -> None:
        """Read the first line."""
        said = self.next()
        if said.get("format") != FORMAT:
            raise self.wrong("this is no file of threads.")
        version = said.get("version")
        if type(version) is not int or version < 1:
            raise self.wrong("it does not say the version of its format.")
        if version > VERSION:
            raise InvalidArchive(
                self._path,
                f"it has version {version} of its format, and this program reads {VERSION}. Upgrade Holdfast.",
                line=self.line,
            )

    def go_to(self, thread: ArchivedThread) -> None:
        """The next line is the thread's first."""
        if self._next != thread.offset:
            self._file.seek(thread.offset)
        self.line, self._next = thread.line - 1, thread.offset

    def next(self) -> dict[str, Any]:
        """The next line."""
        self.line += 1
        self.offset = self._next
        try:
            line = self._file.readline(LONGEST_LINE + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise self.wrong(f"it is cut off or altered ({error}).") from error
        except OSError as error:
            raise self.wrong(f"it cannot be read ({error.strerror}).") from error
        if not line:
            raise self.wrong("it is cut off: it ends before its last line.")
        if not line.endswith(b"\n"):
            is_long = len(line) > LONGEST_LINE
            most = f"the line is longer than {LONGEST_LINE // 2**20} MB, which none may be."
            raise self.wrong(most if is_long else "it is cut off in the middle of a line.")
        self._next += len(line)
        try:
            return parse_line(line)
        except InvalidLine as error:
            raise self.wrong(f"{error}.") from error

    def thread_of(self, said: Mapping[str, Any]) -> str:
        """The id on a thread's first line."""
        thread_id = said.get("thread_id")
        if type(thread_id) is not str:
            raise self.wrong("the thread has no id.")
        try:
            return thread_of({"configurable": {"thread_id": thread_id}})
        except InvalidThread as error:
            raise self.wrong(str(error)) from error

    def records(self, first: Mapping[str, Any]) -> Iterator[ThreadRecord]:
        """The records of the thread that begins with this line, up to its end, each checked.

        Raises:
            InvalidArchive: one of them cannot be right, or together they are not what was written.
        """
        thread_id = self.thread_of(first)
        digest, check, before = ThreadDigest(thread_id), None, None
        said: Mapping[str, Any] = {name: value for name, value in first.items() if name != "thread_id"}
        while True:
            record = self._record(said, before)
            try:
                if check is None:
                    check = ThreadValidator(thread_id, record)
                else:
                    check.look(record)
            except InvalidLine as error:
                raise self.wrong(f"{error}.") from error
            digest.add(record)
            before = checkpoint_values(record)
            yield record
            said = self.next()
            if said.get("kind") == END_OF_THREAD:
                break
        if said.get("records") != digest.count or said.get("digest") != digest.digest():
            raise self.wrong(f"thread {thread_id!r} was altered: its records are not those that were written.")

    def _record(self, said: Mapping[str, Any], before: Values | None) -> ThreadRecord:
        kind = said.get("kind")
        if kind not in RECORDS:
            shown = f"{kind}"[:40]
            raise self.wrong(f"there is no kind of record {shown!r}; a newer version may have made it.")
        try:
            return decode_record(said, before)
        except InvalidLine as error:
            raise self.wrong(f"{error}.") from error

    def end(self, said: Mapping[str, Any], threads: int) -> None:
        """Check the last line, after which there is nothing."""
        if said.get("kind") != END or said.get("threads") != threads:
            raise self.wrong("threads are missing, or something else stands where a thread begins.")
        self.line += 1
        try:
            more = self._file.read(1)
        except (OSError, EOFError, zlib.error) as error:
            raise self.wrong(f"it is cut off or altered ({error}).") from error
        if more:
            raise self.wrong("something comes after its end.")
