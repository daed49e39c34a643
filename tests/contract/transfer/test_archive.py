"""Threads go into a file and come out of it as they were, and a file that is not right changes nothing."""

from __future__ import annotations

import gzip
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from langchain_core.messages import HumanMessage

from holdfast.checkpoints import HoldfastSaver, open_checkpointer, transfer
from holdfast.checkpoints.errors import InvalidArchive, NotMoved
from holdfast.checkpoints.serde.values import with_references
from holdfast.checkpoints.transfer import jsonl as moving_lines
from holdfast.checkpoints.transfer.archive import import_archive, read_archive, write_archive
from holdfast.checkpoints.transfer.jsonl import checkpoint_values, decode_record
from holdfast.checkpoints.transfer.records import ThreadDigest
from holdfast.graph import needs_approval
from tests.support.kit import change, checkpoint, echo_graph, put, thread
from tests.support.stock_kit import TYPES
from tests.support.transfer_kit import everything, told
from tests.support.world import World, talk_with

Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def source() -> Iterator[HoldfastSaver]:
    """A database with a thread of each kind of record, and another one."""
    with open_checkpointer("memory://", allow=TYPES) as saver:
        world = World()
        talk = talk_with(saver, needs_approval(world.tool()), lines=2)
        talk.thread["metadata"] = {"run_id": "run-1"}
        talk.say("pay")
        [pause] = talk.agent.get_state(talk.thread).interrupts
        talk.answer(pause.id, type="approve", by="Grace")
        talk.say("pay again")
        change(
            saver, "INSERT INTO holdfast_events (thread_id, no, after_seq, kind, at) VALUES ('ada-1', 1, 2, 'x', 1.5)"
        )
        echo_graph(saver).invoke({"messages": [HumanMessage("hello")]}, thread("bob-1"))
        yield saver


@pytest.fixture(scope="module")
def lines(source: HoldfastSaver, tmp_path_factory: pytest.TempPathFactory) -> Lines:
    """The file of these threads, one object a line."""
    path = tmp_path_factory.mktemp("archive") / "threads.jsonl"
    write_archive(source.database, transfer.transferable_threads(source.database), path)
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.sweep(every=4)
@pytest.mark.sweep(on="postgres")
@pytest.mark.parametrize("name", ["threads.jsonl", "threads.jsonl.gz"])
def test_threads_come_out_of_a_file_as_they_went_in(
    source: HoldfastSaver, saver: HoldfastSaver, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    done = write_archive(source.database, transfer.transferable_threads(source.database), path)
    found = read_archive(path)
    assert [one[:3] for one in found] == [(moved.thread_id, moved.records, moved.digest) for moved in done]
    assert list(import_archive(saver.database, path)) == [replace(moved, was_there=False) for moved in done]
    assert told(saver.with_allowlist(TYPES)) == told(source)
    assert saver.interrupts.waiting() == source.interrupts.waiting()
    again = tmp_path / f"again-{name}"
    write_archive(saver.database, transfer.transferable_threads(saver.database), again)
    assert {one.digest for one in read_archive(again)} == {one.digest for one in found}

    echo_graph(saver).invoke({"messages": [HumanMessage("on")]}, thread("bob-1"))
    ada, bob = import_archive(saver.database, path)
    assert (ada.was_there, bob.digest) == (True, "")
    assert "'bob-1' is there already, and is not the same" in str(bob.problem)
    assert not list(tmp_path.glob("*.part"))


def test_a_value_that_does_not_change_is_in_a_file_once(tmp_path: Path) -> None:
    with open_checkpointer("memory://") as saver:
        for number in range(20):
            saved = checkpoint([], docs=["d" * 10_000], number=[number])
            saved["channel_versions"]["docs"] = "1"
            put(saver, thread(), saved)
        write_archive(saver.database, ["ada-1"], tmp_path / "file")
        assert (tmp_path / "file").stat().st_size < 40_000
        before = everything(saver)
        assert [outcome.problem for outcome in import_archive(saver.database, tmp_path / "file")] == [None]
        assert everything(saver) == before


def test_a_thread_that_no_line_can_hold_is_not_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.checkpoints.transfer.archive.LONGEST_LINE", 5000)
    with open_checkpointer("memory://") as saver:
        put(saver, thread(), checkpoint([HumanMessage("x" * 5000)]))
        with pytest.raises(NotMoved, match=r"message of it is longer.*`holdfast db copy` needs no file"):
            write_archive(saver.database, ["ada-1"], tmp_path / "file")
        put(saver, thread("long", checkpoint_ns="n" * 1025), checkpoint([]))
        with pytest.raises(NotMoved, match=r"no file can hold it: the field 'ns' is not a short text.*db copy"):
            write_archive(saver.database, ["long"], tmp_path / "file")
        with pytest.raises(NotMoved, match="no such thread"):
            write_archive(saver.database, ["unknown"], tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


# --- files that are not right


def first(lines: Lines, kind: str, **such: Any) -> dict[str, Any]:
    return next(line for line in lines if line.get("kind") == kind and such.items() <= line.items())


def sealed(lines: Lines) -> Lines:
    """Give lines the counts and digests that fit them, as a forger would."""
    digest, before = ThreadDigest(""), None
    for line in lines:
        said = dict(line)
        if line.get("kind") == "thread":
            digest, before = ThreadDigest(str(said.pop("thread_id"))), None
        if line.get("kind") == "end_of_thread":
            line |= {"records": digest.count, "digest": digest.digest()}
        with suppress(ValueError, KeyError):  # what is no record
            record = decode_record(said, before)
            digest.add(record)
            before = checkpoint_values(record)
    return lines


def text(data: bytes) -> str:
    return b64encode(data).decode()


def nested(depth: int) -> bytes:
    data = ormsgpack.packb(1)
    for _ in range(depth):
        data = ormsgpack.packb(ormsgpack.Ext(66, data))
    return data


def value(type_: str, blob: bytes) -> Callable[[Lines], object]:
    """A checkpoint has this value."""
    return lambda lines: first(lines, "checkpoint")["values"].update(x=[type_, text(blob)])


def set_(kind: str, /, **fields: Any) -> Callable[[Lines], object]:
    return lambda lines: first(lines, kind).update(fields)


def tampered(line: dict[str, Any], name: str) -> None:
    line[name] = text(b64decode(line[name]) + b"\0")


HOSTILE: dict[str, tuple[Callable[[Lines], object], str]] = {
    "empty": (list.clear, "ends before its last line"),
    "without an end": (list.pop, "cut off"),
    "something after it": (lambda lines: lines.append({"kind": "end"}), "something comes after its end"),
    "not one of ours": (lambda lines: lines.pop(0), "no file of threads"),
    "newer": (lambda lines: lines[0].update(version=2), r"version 2 .* reads 1\. Upgrade Holdfast"),
    "of no version": (lambda lines: lines[0].update(version=True), "does not say the version"),
    "a thread less": (lambda lines: lines[-1].update(threads=1), "threads are missing"),
    "a record less": (lambda lines: lines.remove(first(lines, "write")), "its records are not those"),
    "a record twice": (lambda lines: lines.insert(4, first(lines, "message")), "second 'message' under the same key"),
    "a thread twice": (
        lambda lines: first(lines, "thread", thread_id="bob-1").update(thread_id="ada-1"),
        "second time",
    ),
    "another digest": (set_("end_of_thread", digest="0" * 32), "was altered"),
    "an unknown kind": (set_("message", kind="sql"), "no kind of record 'sql'"),
    "a field less": (lambda lines: first(lines, "message").pop("role"), "needs the field 'role'"),
    "a field more": (set_("message", x=1), "has no field 'x'; a newer version"),
    "a number for a text": (set_("message", role=1), "'role' is not a text"),
    "a text for a number": (set_("message", seq="1"), "'seq' is not an integer"),
    "a truth for a number": (set_("message", codec=True), "'codec' is not an integer"),
    "a huge number": (set_("message", step=2**31), "'step' is not an integer of 32 bits"),
    "an endless time": (set_("message", created_at=1e300), "'created_at' is not a time"),
    "no base64": (set_("message", body="é"), "'body' is not base64"),
    "half a character": (set_("message", content="\ud800"), "'content' is not a text"),
    "a huge key": (set_("write", task_id="x" * 5000), "'task_id' is not a short text"),
    "a thread id with a NUL": (set_("thread", thread_id="a\0"), "cannot be used"),
    "no thread id": (set_("thread", thread_id=None), "has no id"),
    "another text": (set_("message", content="other"), "the message was altered"),
    "a row beyond the last": (set_("thread", next_seq=1), "no row 1 can be here"),
    "a wrong order": (lambda lines: lines.insert(2, first(lines, "event")), "'message' is out of order"),
    "a question twice": (
        lambda lines: lines.insert(lines.index(first(lines, "interrupt")), first(lines, "interrupt")),
        "second 'interrupt' under the same key",
    ),
    "a pickle": (set_("write", type="pickle"), "unknown form"),
    "an old form": (value("json", b"{}"), "unknown form"),
    "damaged bytes": (lambda lines: tampered(first(lines, "write", type="holdfast-1"), "blob"), "its checksum differs"),
    "no msgpack": (value("msgpack", b"\xc1"), "cannot be read"),
    "two values in one": (value("msgpack", b"\x01\x01"), "not in its canonical form"),
    "another form of a number": (value("msgpack", b"\xcd\0\x01"), "not in its canonical form"),
    "a lost row": (value("holdfast-1", with_references([[999]], b"\xd4\x43\0")), "rows 999 to 999"),
    "a list that is not there": (value("holdfast-1", with_references([[1]], b"\xd4\x43\x05")), "cannot be read"),
    "too deep a value": (value("holdfast-1", with_references([[1]], nested(5000))), "cannot be read"),
    "a value that is as before": (lambda lines: first(lines, "checkpoint")["values"].update(x=None), "none before"),
    "too deep a line": (lambda lines: first(lines, "checkpoint").update(metadata="@deep"), "not JSON"),
    "a forged document": (
        lambda lines: first(lines, "checkpoint")["document"].update(packed="x"),
        "it is no checkpoint",
    ),
    "a version that is none": (
        lambda lines: first(lines, "checkpoint")["document"]["channel_versions"].update(x=[]),
        "versions are invalid",
    ),
    "a checkpoint from the future": (
        lambda lines: first(lines, "checkpoint").update(checkpoint_id="fffff000-0000-6000-8000-000000000000"),
        "from the future",
    ),
    "a tool call of another thread": (set_("effect", lineage="victim"), "of another thread"),
    "a state that is none": (set_("effect", state="whatever"), "in no state"),
    "half an answer": (set_("interrupt", answer=None, answer_type="msgpack"), "incomplete"),
    "an event nowhere": (set_("event", after_seq=10**6), "is not there"),
    "data that are none": (set_("event", data="{"), "cannot be read"),
}


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("what", HOSTILE)
def test_a_file_that_is_not_right_is_refused_by_its_line_and_nothing_is_written(
    lines: Lines, tmp_path: Path, what: str
) -> None:
    change_, why = HOSTILE[what]
    copy: Lines = json.loads(json.dumps(lines))
    change_(copy)
    if what not in {"a record less", "another digest"}:
        sealed(copy)
    path = tmp_path / "threads"
    path.write_text("".join(json.dumps(line).replace('"@deep"', "[" * 9999) + "\n" for line in copy))
    with open_checkpointer("memory://") as saver:
        before = everything(saver)
        with pytest.raises(InvalidArchive, match=why) as refused:
            list(import_archive(saver.database, path))
        assert everything(saver) == before
    assert f"{path}, line {refused.value.line}: " in str(refused.value)
    assert str(refused.value).endswith("Nothing was changed.")


def test_references_that_no_memory_holds_are_refused_before_they_are_expanded(lines: Lines, tmp_path: Path) -> None:
    header = ormsgpack.packb([[1, 2**40]])
    rest = len(header).to_bytes(4, "big") + header + b"\xd4\x43\0"
    value("holdfast-1", b"\0\0\0\0" + rest)(copy := json.loads(json.dumps(lines)))
    path = tmp_path / "threads"
    path.write_text("".join(json.dumps(line) + "\n" for line in copy))
    with pytest.raises(InvalidArchive, match="message rows 1 to 1099511627776"):
        read_archive(path)


def test_a_file_that_was_cut_off_anywhere_is_refused(lines: Lines, tmp_path: Path) -> None:
    whole = "".join(json.dumps(line) + "\n" for line in lines).encode()
    for name, data in (("plain", whole), ("packed", gzip.compress(whole))):
        path = tmp_path / name
        for part in range(1, 12):
            path.write_bytes(data[: len(data) * part // 12])
            with pytest.raises(InvalidArchive, match="cut off"):
                read_archive(path)
    path.write_bytes(data[:-200] + bytes(200))
    with pytest.raises(InvalidArchive, match=r"cut off or altered|not JSON|comes after"):
        read_archive(path)


def test_a_file_that_is_missing_is_named_with_what_was_needed_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InvalidArchive, match=r"nothing: there is no such file\. Needed: a file as .* Check the path\."):
        read_archive(tmp_path / "nothing")
    with pytest.raises(
        InvalidArchive, match=r"it cannot be read \(.+\)\. Needed: .* Check the path and its permissions\."
    ):
        read_archive(tmp_path)


def test_no_line_fills_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.checkpoints.transfer.archive_reader.LONGEST_LINE", 1 << 20)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b" " * (50 << 20)))
    with pytest.raises(InvalidArchive, match="longer than 1 MB"):
        read_archive(path)
    assert moving_lines.LONGEST_LINE < 1 << 30


def test_a_file_that_changes_while_it_is_read_changes_no_thread(
    source: HoldfastSaver, lines: Lines, tmp_path: Path
) -> None:
    path = tmp_path / "threads"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with open_checkpointer("memory://") as saver:
        found = read_archive(path)
        path.write_text(path.read_text().replace('"hello"', '"hallo"'))
        outcomes = import_archive(saver.database, path, found)
        assert next(outcomes).problem is None
        before = everything(saver)
        with pytest.raises(InvalidArchive, match="the message was altered"):
            next(outcomes)
        assert everything(saver) == before
