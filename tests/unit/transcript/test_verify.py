"""An exported file is checked: no character of it can change without being noticed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from holdfast.checkpoints import HoldfastSaver, Transcript, open_checkpointer
from holdfast.checkpoints.errors import InvalidExport, UnknownThread
from holdfast.checkpoints.transcript import export
from holdfast.checkpoints.transcript.export import facts
from tests.support.kit import change, checkpoint, put, thread

Export = Callable[[Transcript], Iterator[str]]

FORMATS: list[Export] = [export.jsonl, export.html, export.markdown]

# What may change in an entry without anything else being said.
STATE = {"live", "replaced", "undone"}


@pytest.fixture(scope="module")
def saver() -> Iterator[HoldfastSaver]:
    """A database with a thread of every kind of entry, in which nobody writes."""
    with open_checkpointer("memory://") as saver:
        call = {"name": "refund", "args": {"order": 1, "why": ["late"]}, "id": "c1", "type": "tool_call"}
        note = {"decision": "reject", "by": "Grace", "at": "2026-11-29T12:00:00+00:00"}
        picture = {"type": "image", "base64": "aGVsbG8=", "mime_type": "image/png"}
        usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
        said = [
            HumanMessage(
                [{"type": "text", "text": 'Refund it.\n```\n<a id="m9"></a>\n```'}, picture], id="h1", name="ada"
            ),
            AIMessage("", id="a1", tool_calls=[call], usage_metadata=usage, response_metadata={"model_name": "gpt"}),
            ToolMessage("No.", id="t1", tool_call_id="c1", status="error", additional_kwargs={"approval": note}),
            AIMessage("It was refused.", id="a2", additional_kwargs={"reasoning_content": "So be it."}),
        ]
        put(saver, thread(), checkpoint(said), user_id="ada")
        event = "INSERT INTO holdfast_events VALUES ('ada-1', 1, 2, 'prompt', NULL, '{\"text\": \"Be brief.\"}', 5.0)"
        change(saver, event)
        change(
            saver,
            "INSERT INTO holdfast_interrupts (thread_id, interrupt_id, checkpoint_ns, checkpoint_id, task_id, asked_at,"
            " answered_at, answered_by, answer_digest, closed_why)"
            " VALUES ('ada-1', 'i1', '', 'x', 't', 6.0, 7.0, NULL, x'00', 'expired')",
        )
        yield saver


def written(saver: HoldfastSaver, path: Path, form: Export, transcript: Transcript | None = None) -> Path:
    text = "".join(form(transcript or saver.transcript("ada-1")))
    path.write_text(text, "utf-8", newline="")
    return path


def seal(data: bytes) -> bytes:
    """Return a file with a new seal, as a forger would make it."""
    rest = data[: data.rindex(b"\n", 0, -1) + 1]
    return rest + re.sub(rb"[0-9a-f]{64}", hashlib.sha256(rest).hexdigest().encode(), data[len(rest) :])


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_that_was_not_touched_is_intact_and_says_what_the_thread_says(
    saver: HoldfastSaver, tmp_path: Path, form: Export
) -> None:
    found = export.verify(written(saver, tmp_path / "file", form), saver)
    assert (found.problems, found.differences, found.added) == ([], [], 0)
    assert (found.is_intact, found.is_same, found.thread_id, found.entries) == (True, True, "ada-1", 6)
    assert (found.format, found.compared) == (form.__name__, "text")


def test_every_format_has_the_same_digest_which_anyone_can_compute(saver: HoldfastSaver, tmp_path: Path) -> None:
    digests = {export.verify(written(saver, tmp_path / "file", form)).digest for form in FORMATS}
    head, *entries, end = map(json.loads, "".join(export.jsonl(saver.transcript("ada-1"))).splitlines())
    state = hashlib.sha256()
    for entry in entries:
        content = {name: value for name, value in entry.items() if name not in STATE}
        state.update(json.dumps(content, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    assert digests == {f"sha256:{state.hexdigest()}"} == {head["digest"]}
    assert end["kind"] == "seal"


def test_the_seal_is_that_of_all_bytes_before_the_last_line(saver: HoldfastSaver, tmp_path: Path) -> None:
    for form in FORMATS:
        data = written(saver, tmp_path / "file", form).read_bytes()
        *rest, last = data.splitlines(keepends=True)
        assert hashlib.sha256(b"".join(rest)).hexdigest().encode() in last


@pytest.mark.parametrize("form", FORMATS)
def test_no_byte_can_be_changed_taken_out_or_added(saver: HoldfastSaver, tmp_path: Path, form: Export) -> None:
    path = written(saver, tmp_path / "file", form)
    data = path.read_bytes()
    for at in range(0, len(data), max(1, len(data) // 12)):
        for altered in (
            data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :],
            data[:at] + data[at + 1 :],
            data[:at] + b" " + data[at:],
            data[:at],
        ):
            path.write_bytes(altered)
            with suppress(InvalidExport):  # as good
                assert not export.verify(path).is_intact


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = False
    for key, item in items:
        found = True
        yield from leaves(item, (*path, key))
    if not found:
        yield path


def other(value: Any) -> Any:
    """Return another value, as near as can be."""
    match value:
        case bool() | None:
            return not value
        case int():
            return value + 1
        case str():
            return f"{value}."
    return [value]


def with_other(entry: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    entry = json.loads(json.dumps(entry))
    *above, last = path
    place: Any = entry
    for key in above:
        place = place[key]
    place[last] = other(place[last])
    return entry


def test_a_forged_field_of_any_entry_is_found_by_its_number(saver: HoldfastSaver, tmp_path: Path) -> None:
    path = written(saver, tmp_path / "file", export.jsonl)
    head, *lines, end = path.read_bytes().splitlines(keepends=True)
    entries = [json.loads(line) for line in lines]
    fields = [[leaf for leaf in leaves(entry) if leaf[0] not in STATE] for entry in entries]
    for forged in zip_longest(*fields):  # one field of each entry
        altered = [with_other(entry, leaf) if leaf else entry for entry, leaf in zip(entries, forged, strict=True)]
        texts = [json.dumps(entry, sort_keys=True, separators=(",", ":")).encode() + b"\n" for entry in altered]
        path.write_bytes(seal(b"".join([head, *texts, end])))
        found = export.verify(path, saver)
        assert "its entries have another digest than its head says" in found.problems
        differences = {difference.number: difference.fields for difference in found.differences}
        for entry, leaf in zip(entries, forged, strict=True):
            if leaf and leaf[0] != "number":
                assert differences[entry["number"]] == (leaf[0],)
            elif leaf:
                assert entry["number"] in differences


def forge(path: Path, saver: HoldfastSaver, change: Callable[[str], str]) -> list[dict[str, Any]]:
    data = path.read_text("utf-8")
    assert change(data) != data
    path.write_bytes(seal(change(data).encode()))
    return [asdict(difference) for difference in export.verify(path, saver).differences]


@pytest.mark.parametrize("form", [export.html, export.markdown])
def test_a_page_that_was_forged_and_sealed_again_differs_from_the_thread(
    saver: HoldfastSaver, tmp_path: Path, form: Export
) -> None:
    path = tmp_path / "file"
    for before, after, number in (
        ("It was refused.", "It was approved.", "4"),
        ("Rejected by Grace", "Rejected by Linus", "3"),
        ("Be brief.", "Be long.", "2.1"),
        ("tokens in", "tokens on", "2"),
    ):
        written(saver, path, form)
        [difference] = forge(path, saver, lambda text, a=before, b=after: text.replace(a, b))  # type: ignore[misc]
        assert (difference["number"], difference["kind"]) == (number, "altered")


@pytest.mark.parametrize("form", [export.html, export.markdown])
def test_text_that_was_put_beside_the_entries_is_found(saver: HoldfastSaver, tmp_path: Path, form: Export) -> None:
    path = tmp_path / "file"
    for before, after in (("Left out", "Left in"), ("All times", "Approved. All times")):
        written(saver, path, form)
        data = path.read_text("utf-8")
        path.write_bytes(seal(data.replace(before, after).encode()))
        assert not export.verify(path).is_intact
    written(saver, path, export.html)
    path.write_bytes(seal(path.read_bytes().replace(b"</main>", b"<p>Approved.</p>\n</main>")))
    assert not export.verify(path).is_intact


def test_an_entry_that_was_taken_out_or_put_in_is_told(saver: HoldfastSaver, tmp_path: Path) -> None:
    path = written(saver, tmp_path / "file", export.jsonl)
    lines = path.read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["number"] for line in lines[1:4]] == ["0.1", "1", "2"]
    path.write_bytes(seal(b"".join([*lines[:2], *lines[3:]])))
    gone = export.verify(path, saver)
    assert [(d.number, d.kind) for d in gone.differences] == [("1", "not in the file")]
    assert "it has 5 entries, and its head says 6" in gone.problems
    new = lines[2].replace(b'"number":"1"', b'"number":"1.5"')
    path.write_bytes(seal(b"".join([*lines[:3], new, b"no JSON\n", *lines[3:]])))
    assert [(d.number, d.kind) for d in export.verify(path, saver).differences] == [
        ("1.5", "not in the thread"),
        ("?", "not in the thread"),
    ]
    path.write_bytes(lines[0])
    assert export.verify(path, saver).problems[0] == "its end is missing, with the seal"
    path.write_bytes(b"".join(lines[1:]))
    with pytest.raises(InvalidExport, match="no head"):
        export.verify(path, saver)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"text":"It was refused."', b'"text":"It was approved.","text":"It was refused."'),
        (b'"text":"It was refused."', b'"text":NaN'),
        (b'"text":"It was refused."', b'"text":' + b"[" * 100_000),
        (b'"number":"4"', b'"number":4'),
        (b"{", b"{ "),
    ],
)
def test_a_line_in_another_form_is_no_entry(saver: HoldfastSaver, tmp_path: Path, before: bytes, after: bytes) -> None:
    path = written(saver, tmp_path / "file", export.jsonl)
    head, *lines = path.read_bytes().splitlines(keepends=True)
    assert before in lines[-2]
    path.write_bytes(seal(b"".join([head, *lines[:-2], lines[-2].replace(before, after, 1), lines[-1]])))
    found = export.verify(path, saver)
    assert "its entry 6 cannot be read" in found.problems
    assert found.is_same is False


def test_a_forged_head_is_found_by_what_follows_from_the_entries(saver: HoldfastSaver, tmp_path: Path) -> None:
    path = written(saver, tmp_path / "file", export.jsonl)
    lines = path.read_bytes().splitlines(keepends=True)
    for name in facts.COUNTED:
        head = json.loads(lines[0])
        head[name] = other(head[name])
        path.write_bytes(seal(b"".join([json.dumps(head).encode() + b"\n", *lines[1:]])))
        found = export.verify(path, saver)
        assert [(d.number, d.fields) for d in found.differences] == [("head", (name,))]
        del head[name]
        path.write_bytes(seal(b"".join([json.dumps(head).encode() + b"\n", *lines[1:]])))
        if name in {"entries", "digest"}:
            with pytest.raises(InvalidExport, match="no head"):
                export.verify(path)
        else:
            assert f"its head lacks {name}" in export.verify(path).problems
    for name, wrong in (("entries", "6"), ("bounds", None), ("exported_at", "soon"), ("version", "1"), ("format", "x")):
        head = {**json.loads(lines[0]), name: wrong}
        path.write_bytes(seal(b"".join([json.dumps(head).encode() + b"\n", *lines[1:]])))
        with pytest.raises(InvalidExport, match="no head"):
            export.verify(path, saver)


@pytest.mark.parametrize("form", FORMATS)
def test_a_part_of_a_thread_says_what_it_leaves_out_and_is_compared_with_that_part(
    saver: HoldfastSaver, tmp_path: Path, form: Export
) -> None:
    last = saver.transcript("ada-1").last(2).until("2100-01-01")
    path = written(saver, tmp_path / "file", form, last)
    found = export.verify(path, saver)
    assert (found.is_intact, found.is_same, found.entries) == (True, True, 2)
    text = path.read_text("utf-8").replace("\\", "")
    assert "Messages up to number 2, and what happened before." in text
    assert "What is not older than 2100-01-01 00:00:00 UTC." in text


def test_a_page_of_another_version_is_compared_by_its_digest(saver: HoldfastSaver, tmp_path: Path) -> None:
    path = written(saver, tmp_path / "file", export.html)
    page = path.read_bytes().replace(facts.holdfast_version().encode(), b"0.0.9").replace(b"<dl>", b"<dl class=old>")
    path.write_bytes(seal(page))
    found = export.verify(path, saver)
    assert (found.compared, found.is_same, found.problems) == ("digest", True, [])
    path.write_bytes(seal(page.replace(found.digest.encode(), b"sha256:" + b"0" * 64)))
    assert export.verify(path, saver).is_same is False


def test_the_file_of_a_thread_that_is_gone_is_refused(saver: HoldfastSaver, tmp_path: Path) -> None:
    path = written(saver, tmp_path / "file", export.jsonl)
    path.write_bytes(seal(path.read_bytes().replace(b'"thread_id": "ada-1"', b'"thread_id": "ada-9"')))
    with pytest.raises(UnknownThread):
        export.verify(path, saver)


@pytest.mark.parametrize("form", FORMATS)
def test_marks_of_an_editor_are_named_and_what_else_was_changed_is_found_through_them(
    saver: HoldfastSaver, tmp_path: Path, form: Export
) -> None:
    path = written(saver, tmp_path / "file", form)
    text = path.read_bytes()
    path.write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"))
    found = export.verify(path, saver)
    marks = "a program has put in a byte order mark and line ends of CR LF"
    assert (found.problems, found.is_intact, found.is_same) == ([f"{marks}; apart from that it is"], False, True)
    path.write_bytes(text.replace(b"\n", b"\r\n").replace(b"It was refused.", b"It was approved"))
    found = export.verify(path, saver)
    assert found.problems[0] == "a program has put in line ends of CR LF; more was changed as well"
    assert [difference.kind for difference in found.differences] == ["altered"]
