"""Archives: files of threads, with one JSON object on each line, gzipped if the name ends with `.gz`.

    {"format": "holdfast-threads", "version": 1}
    {"kind": "thread", "thread_id": "ada-1", …}
    {"kind": "message", "seq": 1, …}
    …
    {"kind": "end_of_thread", "records": 17, "digest": "…"}
    {"kind": "end", "threads": 1}

A file is untrusted. It is validated as a whole before anything is written, and again line by line during the import,
since it may change in between.
"""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, cast

from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.errors import NotMoved
from holdfast.checkpoints.transfer import (
    Transferred,
    attempt_transfer,
    export_thread,
    import_thread,
)
from holdfast.checkpoints.transfer.archive_reader import GZIP, ArchivedThread, ArchiveReader
from holdfast.checkpoints.transfer.jsonl import (
    END,
    END_OF_THREAD,
    FORMAT,
    LONGEST_LINE,
    VERSION,
    InvalidLine,
    checkpoint_values,
    decode_record,
    encode_record,
)
from holdfast.checkpoints.transfer.records import THREAD, ThreadDigest
from holdfast.checkpoints.transfer.validate import ThreadValidator

_LONGEST_HEADER: Final = 1000

# --- writing


def write_archive(
    database: Database, thread_ids: Iterable[str], path: Path, *, gone_ok: bool = False
) -> list[Transferred]:
    """Write threads into a file, each from one snapshot. The file appears when it is complete.

    Args:
        database: the database.
        thread_ids: the threads, each once.
        path: the file; an existing one is replaced.
        gone_ok: leave out a thread that does not exist, such as one that is deleted while others are written.

    Returns:
        The threads in the file.

    Raises:
        NotMoved: a thread does not exist, has no form that another database could hold, or has a part that is too
            large for a line.
        DamagedThread, DatabaseUnavailable, NotOpen: as `export_thread`.
        OSError: the file cannot be written.
    """
    part = path.with_name(f".holdfast-{uuid.uuid4().hex}.part")  # unique, so that concurrent exports do not collide
    try:
        with _open_for_writing(part, gzipped=path.suffix == ".gz") as file:
            _write(file, {"format": FORMAT, "version": VERSION})
            written = (_write_thread(database, file, thread_id, gone_ok=gone_ok) for thread_id in thread_ids)
            done = [thread for thread in written if thread is not None]
            _write(file, {"kind": END, "threads": len(done)})
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return done


def _write_thread(database: Database, file: IO[bytes], thread_id: str, *, gone_ok: bool) -> Transferred | None:
    digest, validator, before = ThreadDigest(thread_id), None, None
    with closing(export_thread(database, thread_id)) as exported:
        for record in exported:
            digest.add(record)
            line = encode_record(record, before)
            try:
                decoded = decode_record(line, before)
                if validator is None:
                    validator = ThreadValidator(thread_id, decoded)
                else:
                    validator.validate(decoded)
            except InvalidLine as error:  # the import would refuse the file, when the original may no longer exist
                raise NotMoved(
                    thread_id, f"no file can hold it: {error}. Try `holdfast db copy`, which needs no file."
                ) from error
            if record.kind == THREAD:
                line = {"kind": THREAD, "thread_id": thread_id, **line}
            before = checkpoint_values(record)
            if not _write(file, line):
                raise NotMoved(
                    thread_id,
                    f"a {record.kind} of it is longer than {LONGEST_LINE // 2**20} MB, the limit of a line in a file. "
                    "`holdfast db compact` may make it smaller; `holdfast db copy` needs no file.",
                )
    if not digest.count and gone_ok:
        return None
    if not digest.count:
        raise NotMoved(thread_id, "there is no such thread.")
    _write(file, {"kind": END_OF_THREAD, "records": digest.count, "digest": digest.digest()})
    return Transferred(thread_id, digest.digest(), digest.count, was_there=True)


def _write(file: IO[bytes], line: Mapping[str, Any]) -> bool:
    """Write a line, and return whether it was short enough to be written."""
    data = json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    if len(data) > LONGEST_LINE:
        return False
    file.write(data)
    return True


@contextmanager
def _open_for_writing(path: Path, *, gzipped: bool) -> Iterator[IO[bytes]]:
    path.touch(mode=0o600)  # readable by its owner only, unless it is there
    with path.open("wb") as file:
        if not gzipped:
            yield file
            return
        # Without name and time, so that equal threads make equal files.
        with gzip.GzipFile("", "wb", fileobj=file, mtime=0, compresslevel=6) as packed:
            yield cast("IO[bytes]", packed)


# --- reading


def is_archive(path: Path) -> bool:
    """Return whether a file claims to be an archive, by its first line; a file in gzip is taken for one."""
    with suppress(OSError), path.open("rb") as file:
        start = file.read(_LONGEST_HEADER)
        return start.startswith(GZIP) or FORMAT.encode() in start.partition(b"\n")[0]
    return True  # and reading it as one says what is wrong


def read_archive(path: Path) -> list[ArchivedThread]:
    """Validate a whole file, and return the threads in it.

    Raises:
        InvalidArchive: the file is not an archive, is cut off or altered, or has a newer version.
    """
    with ArchiveReader(path) as reader:
        reader.read_header()
        threads: dict[str, ArchivedThread] = {}
        while (first := reader.read_line()).get("kind") == THREAD:
            number, offset = reader.line_number, reader.offset
            thread_id = reader.thread_id_of(first)
            if thread_id in threads:
                raise reader.error(f"thread {thread_id!r} is in it a second time.")
            digest = ThreadDigest(thread_id)
            for record in reader.records(first):
                digest.add(record)
            threads[thread_id] = ArchivedThread(thread_id, digest.count, digest.digest(), number, offset)
        reader.check_end(first, len(threads))
    return list(threads.values())


def import_archive(
    database: Database, path: Path, threads: Sequence[ArchivedThread] | None = None
) -> Iterator[Transferred]:
    """Import the threads of a file into a database, each in one transaction, and yield the outcome of each.

    Args:
        database: the database.
        path: the file.
        threads: the result of `read_archive` for this file. Without it, the whole file is validated first.

    Raises:
        InvalidArchive: as `read_archive`. If the whole file was valid, it was changed since, and the threads before
            this one are imported.
        DatabaseUnavailable, NotOpen: as for every write; the threads before this one are imported.
    """
    threads = read_archive(path) if threads is None else threads
    with ArchiveReader(path) as reader:
        for thread in threads:
            yield attempt_transfer(thread.thread_id, lambda thread=thread: _import(database, reader, thread))  # type: ignore[misc]


def _import(database: Database, reader: ArchiveReader, thread: ArchivedThread) -> Transferred:
    def work() -> Transferred:
        reader.seek(thread)
        return import_thread(database, thread.thread_id, reader.records(reader.read_line()))

    return persist(database.backend, work)
