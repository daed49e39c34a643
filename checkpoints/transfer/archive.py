"""Threads in a file: one JSON object a line, gzipped if the name ends with `.gz`.

    {"format": "holdfast-threads", "version": 1}
    {"kind": "thread", "thread_id": "ada-1", …}
    {"kind": "message", "seq": 1, …}
    …
    {"kind": "end_of_thread", "records": 17, "digest": "…"}
    {"kind": "end", "threads": 1}

A file is looked at as a whole before anything is written, and again line by line while it is: it may say anything, and
change in between.
"""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any, cast

from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.errors import NotMoved
from holdfast.checkpoints.transfer import (
    Transferred,
    attempt_transfer,
    export_thread,
    import_thread,
)
from holdfast.checkpoints.transfer.archive_reader import ArchivedThread, ArchiveReader
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

# --- writing


def write_archive(
    database: Database, thread_ids: Iterable[str], path: Path, *, gone_ok: bool = False
) -> list[Transferred]:
    """Write threads into a file, each as it is at one moment. The file is there when all of it is written.

    Args:
        store: the database.
        thread_ids: which threads, each once.
        path: the file; one that is there is replaced.
        gone_ok: leave out a thread that is not there, such as one that somebody deletes while others are written.

    Raises:
        NotMoved: a thread is not there, or has no form that another database could hold, or a part that is too large.
        DamagedThread, DatabaseUnavailable, NotOpen: as `export_thread`.
        OSError: the file cannot be written.
    """
    part = path.with_name(f".holdfast-{uuid.uuid4().hex}.part")  # two who write the same file do not meet
    try:
        with _opened_to_write(part, gzipped=path.suffix == ".gz") as file:
            _write(file, {"format": FORMAT, "version": VERSION})
            written = (_write_thread(database, file, thread_id, gone_ok=gone_ok) for thread_id in thread_ids)
            done = [thread for thread in written if thread is not None]
            _write(file, {"kind": END, "threads": len(done)})
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return done


def _write_thread(database: Database, file: IO[bytes], thread_id: str, *, gone_ok: bool) -> Transferred | None:
    digest, check, before = ThreadDigest(thread_id), None, None
    with closing(export_thread(database, thread_id)) as leaving:
        for record in leaving:
            digest.add(record)
            said = encode_record(record, before)
            try:
                again = decode_record(said, before)
                if check is None:
                    check = ThreadValidator(thread_id, again)
                else:
                    check.look(again)
            except InvalidLine as error:  # who reads the file would say so, and by then it may be too late
                raise NotMoved(
                    thread_id, f"no file can hold it: {error}. `holdfast db copy` needs no file, and may do."
                ) from error
            if record.kind == THREAD:
                said = {"kind": THREAD, "thread_id": thread_id, **said}
            before = checkpoint_values(record)
            if not _write(file, said):
                raise NotMoved(
                    thread_id,
                    f"a {record.kind} of it is longer than {LONGEST_LINE // 2**20} MB, the most that a line of a file "
                    "holds. `holdfast db compact` may help; `holdfast db copy` needs no file.",
                )
    if not digest.count and gone_ok:
        return None
    if not digest.count:
        raise NotMoved(thread_id, "there is no such thread.")
    _write(file, {"kind": END_OF_THREAD, "records": digest.count, "digest": digest.digest()})
    return Transferred(thread_id, digest.digest(), digest.count, was_there=True)


def _write(file: IO[bytes], said: Mapping[str, Any]) -> bool:
    """Write a line, unless it is too long."""
    line = json.dumps(said, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    if len(line) > LONGEST_LINE:
        return False
    file.write(line)
    return True


@contextmanager
def _opened_to_write(path: Path, *, gzipped: bool) -> Iterator[IO[bytes]]:
    with path.open("wb") as file:
        if not gzipped:
            yield file
            return
        # Without its name and time, so that the same threads make the same file.
        with gzip.GzipFile("", "wb", fileobj=file, mtime=0, compresslevel=6) as packed:
            yield cast("IO[bytes]", packed)


# --- reading


def read_archive(path: Path) -> list[ArchivedThread]:
    """What is in a file, after all of it was looked at.

    Raises:
        InvalidArchive: it is not a file of threads, or cut off, altered, or of a newer version.
    """
    with ArchiveReader(path) as reader:
        reader.begin()
        found: list[ArchivedThread] = []
        ids: set[str] = set()
        while (said := reader.next()).get("kind") == THREAD:
            line, offset = reader.line, reader.offset
            thread_id = reader.thread_of(said)
            if thread_id in ids:
                raise reader.wrong(f"thread {thread_id!r} is in it a second time.")
            ids.add(thread_id)
            digest = ThreadDigest(thread_id)
            for record in reader.records(said):
                digest.add(record)
            found.append(ArchivedThread(thread_id, digest.count, digest.digest(), line, offset))
        reader.end(said, len(found))
    return found


def import_archive(
    database: Database, path: Path, found: Sequence[ArchivedThread] | None = None
) -> Iterator[Transferred]:
    """Put the threads of a file into a database, each in its own transaction. Those that are there, the same, stay.

    Args:
        store: the database.
        path: the file.
        found: what `read_archive` has just found in it. Without this, all of it is looked at now, before the first
            thread is written.

    Raises:
        InvalidArchive: as `read_archive`; nothing was written.
        DatabaseUnavailable, NotOpen: as ever; the threads that came before are there.
    """
    found = read_archive(path) if found is None else found
    with ArchiveReader(path) as reader:
        for thread in found:
            yield attempt_transfer(thread.thread_id, lambda thread=thread: _import(database, reader, thread))  # type: ignore[misc]


def _import(database: Database, reader: ArchiveReader, thread: ArchivedThread) -> Transferred:
    def work() -> Transferred:
        reader.go_to(thread)
        return import_thread(database, thread.thread_id, reader.records(reader.next()))

    return persist(database.backend, work)
