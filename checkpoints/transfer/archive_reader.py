"""Reader of an archive, which validates it line by line. The format is described in `archive`."""

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

GZIP: Final = b"\x1f\x8b"  # decides instead of the file's name

_NEEDED: Final = "Needed: a file as `holdfast threads export --format holdfast` writes it."
_AGAIN: Final = f"{_NEEDED} Export it again, or download it again."


class ArchivedThread(NamedTuple):
    """A thread in an archive."""

    thread_id: str
    records: int
    digest: str
    line_number: int
    """The number of its first line, counted from 1."""
    offset: int
    """The position of its first line in the unpacked file, in bytes."""


class ArchiveReader:
    """A reader of an archive, line by line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.line_number = 0
        self.offset = 0
        """The position in bytes of the line that was read last."""
        self._next = 0

    def __enter__(self) -> ArchiveReader:
        with ExitStack() as opening:
            try:
                file = opening.enter_context(self._path.open("rb"))
                is_packed = file.read(2) == GZIP
                file.seek(0)
            except FileNotFoundError as error:
                raise InvalidArchive(self._path, f"there is no such file. {_NEEDED} Check the path.") from error
            except OSError as error:
                why = f"it cannot be read ({error.strerror}). {_NEEDED} Check the path and its permissions."
                raise InvalidArchive(self._path, why) from error
            self._file: IO[bytes] = file
            if is_packed:
                self._file = cast("IO[bytes]", opening.enter_context(gzip.GzipFile(fileobj=file, mode="rb")))
            self._opened = opening.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._opened.close()

    def error(self, why: str) -> InvalidArchive:
        """Return the error for the line that was read last."""
        return InvalidArchive(self._path, f"{why} {_AGAIN}", line=self.line_number)

    def read_header(self) -> None:
        """Read and check the first line.

        Raises:
            InvalidArchive: the file is not an archive, or has a newer version.
        """
        header = self.read_line()
        if header.get("format") != FORMAT:
            raise self.error("this is no file of threads.")
        version = header.get("version")
        if type(version) is not int or version < 1:
            raise self.error("it does not say the version of its format.")
        if version > VERSION:
            raise InvalidArchive(
                self._path,
                f"it has version {version} of its format, and this program reads {VERSION}. Upgrade Holdfast.",
                line=self.line_number,
            )

    def seek(self, thread: ArchivedThread) -> None:
        """Continue at the first line of a thread."""
        if self._next != thread.offset:
            self._file.seek(thread.offset)
        self.line_number, self._next = thread.line_number - 1, thread.offset

    def read_line(self) -> dict[str, Any]:
        """Read the next line.

        Raises:
            InvalidArchive: the line is missing, too long or not a JSON object.
        """
        self.line_number += 1
        self.offset = self._next
        try:
            line = self._file.readline(LONGEST_LINE + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise self.error(f"it is cut off or altered ({error}).") from error
        except OSError as error:
            raise self.error(f"it cannot be read ({error.strerror}).") from error
        if not line:
            raise self.error("it is cut off: it ends before its last line.")
        if not line.endswith(b"\n"):
            if len(line) > LONGEST_LINE:
                raise self.error(f"the line is longer than {LONGEST_LINE // 2**20} MB, the limit.")
            raise self.error("it is cut off in the middle of a line.")
        self._next += len(line)
        try:
            return parse_line(line)
        except InvalidLine as error:
            raise self.error(f"{error}.") from error

    def thread_id_of(self, first: Mapping[str, Any]) -> str:
        """Return the id on the first line of a thread.

        Raises:
            InvalidArchive: it is not the id of a thread.
        """
        thread_id = first.get("thread_id")
        if type(thread_id) is not str:
            raise self.error("the thread has no id.")
        try:
            return thread_of({"configurable": {"thread_id": thread_id}})
        except InvalidThread as error:
            raise self.error(str(error)) from error

    def records(self, first: Mapping[str, Any]) -> Iterator[ThreadRecord]:
        """Yield the validated records of a thread, up to its last line.

        Args:
            first: the first line of the thread.

        Raises:
            InvalidArchive: a record is invalid, or the digest of all records differs from the one in the file.
        """
        thread_id = self.thread_id_of(first)
        digest, validator, before = ThreadDigest(thread_id), None, None
        line: Mapping[str, Any] = {name: value for name, value in first.items() if name != "thread_id"}
        while True:
            record = self._record(line, before)
            try:
                if validator is None:
                    validator = ThreadValidator(thread_id, record)
                else:
                    validator.validate(record)
            except InvalidLine as error:
                raise self.error(f"{error}.") from error
            digest.add(record)
            before = checkpoint_values(record)
            yield record
            line = self.read_line()
            if line.get("kind") == END_OF_THREAD:
                break
        if line.get("records") != digest.count or line.get("digest") != digest.digest():
            raise self.error(f"thread {thread_id!r} was altered: its records are not those that were written.")

    def _record(self, line: Mapping[str, Any], before: Values | None) -> ThreadRecord:
        kind = line.get("kind")
        if kind not in RECORDS:
            shown = f"{kind}"[:40]
            raise self.error(f"there is no kind of record {shown!r}; a newer version may have made it.")
        try:
            return decode_record(line, before)
        except InvalidLine as error:
            raise self.error(f"{error}.") from error

    def check_end(self, last: Mapping[str, Any], threads: int) -> None:
        """Check the last line, and that the file ends after it.

        Args:
            last: the last line.
            threads: the number of threads in the file.

        Raises:
            InvalidArchive: the line is not the expected one, or the file continues.
        """
        if last.get("kind") != END or last.get("threads") != threads:
            raise self.error("threads are missing, or something else stands where a thread begins.")
        self.line_number += 1
        try:
            more = self._file.read(1)
        except (OSError, EOFError, zlib.error) as error:
            raise self.error(f"it is cut off or altered ({error}).") from error
        if more:
            raise self.error("something comes after its end.")
