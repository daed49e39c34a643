"""Transcripts as text: whatever was said, it is text and stays text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from holdfast.checkpoints import HoldfastSaver, Transcript, open_checkpointer
from holdfast.checkpoints.transcript import export as exports
from holdfast.checkpoints.transcript.export import render
from holdfast.checkpoints.transcript.export.text import plain, visible
from holdfast.cli.output import text as texts
from tests.support.kit import change, checkpoint, put, thread
from tests.support.shapes import Colour, Parcel

HOSTILE = [
    "</script><script>alert(1)</script><img src=x onerror=alert(1)>",
    "```\n## 9 · User grace\n\nI approve.\n````` js",
    "\x1b[2J\x07\x00bell\r\nand\rback",
    "\u202eevil\u2066 \u2028line \ud800 \U000e0041",
    '"><a href="javascript:alert(1)">[click](https://evil.example) <https://evil.example> www.evil.example &lt;',
    "~~~\n<!-- \n--> ]]> {{7*7}} ${x} `one` ``two``",
    '</article>\n<article id="m9" class="user">\n<a id="m9"></a>\n```text\n<!-- holdfast-transcript {} -->',
]


@pytest.fixture
def saver() -> Iterator[HoldfastSaver]:
    with open_checkpointer("memory://", allow=[Colour, Parcel]) as saver:
        yield saver


@pytest.fixture
def hostile(saver: HoldfastSaver) -> Transcript:
    """Texts of people, models and tools that try to be markup or commands."""
    said: list[Any] = []
    for number, text in enumerate(HOSTILE):
        call = {"name": text, "args": {f"k{number}": [text, float("nan")]}, "id": f"c{number}", "type": "tool_call"}
        more: Any = {"tool_calls": [call], "response_metadata": {"model_name": text}}
        picture = {"type": "image", "base64": "aGVsbG8=", "mime_type": "image/png", "filename": text}
        artifact = {"colour": Colour.RED, "parcel": Parcel(1.0), 3: {b"x"}}
        approval = {"decision": text, "by": text, "at": text, "args": artifact}
        said += [
            HumanMessage([{"type": "text", "text": text}, {"type": text}, picture], id=f"h{number}", name=text),
            AIMessage([{"type": "reasoning", "reasoning": text}, text], id=f"a{number}", **more),
            ToolMessage(text, id=f"t{number}", tool_call_id=text, additional_kwargs={"approval": approval}),
        ]
    put(saver, thread("<b>&\u202e`x`"), checkpoint(said))
    id_, user = "<b>&\u202e`x`", "</title><b onclick=x>"
    change(saver, "UPDATE holdfast_threads SET user_id = :user, title = :user WHERE thread_id = :id", user=user, id=id_)
    for no, text in enumerate(HOSTILE):
        change(
            saver,
            "INSERT INTO holdfast_events VALUES (:id, :no, 3, :kind, :kind, :data, :at)",
            id=id_, no=no, kind=text.replace("\ud800", ""), data=json.dumps({"text": text}), at=1e300 if no else -1.5,
        )  # fmt: skip
    return saver.transcript(id_)


class Page(HTMLParser):
    """A page as a browser parses it: its elements, their attributes, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: dict[str, set[str]] = {}
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value or "")
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_has_no_element_but_its_own(hostile: Transcript) -> None:
    text = "".join(exports.html(hostile))
    page = Page()
    page.feed(text)
    assert (page.open, text.encode().decode()) == ([], text)
    assert page.tags == {
        *("html", "head", "meta", "title", "style", "body", "main", "header", "h1", "h2", "p", "dl", "dt", "dd", "a"),
        *("article", "time", "bdi", "div", "pre", "code", "details", "summary", "figure", "figcaption", "img"),
    }
    assert set(page.attributes) == {
        *("lang", "charset", "http-equiv", "content", "name", "class", "id", "href", "datetime", "dir", "src", "alt")
    }
    assert {f"#{id_}" for id_ in page.attributes["id"]} == page.attributes["href"]
    assert all(re.fullmatch(r"m[\d.]+", id_) for id_ in page.attributes["id"])
    assert all(re.fullmatch(r"data:image/png;base64,[\w/+=]+", source) for source in page.attributes["src"])
    assert not re.search(r"url\(|@import|https?://(?!evil\.example)", text)
    for said in HOSTILE:
        assert visible(said) in page.text
    assert visible(text) == text


def test_no_text_ends_the_fence_that_it_stands_in(hostile: Transcript) -> None:
    outside, fence, inside = [], "", []
    for line in "".join(exports.markdown(hostile)).splitlines():
        run = re.match("`{3,}", line)
        if not fence and run:
            fence = run[0]
        elif fence and line == fence:
            fence = ""
        else:
            (inside if fence else outside).append(line)
    assert fence == ""
    text = "\n".join(inside)
    for said in HOSTILE:
        assert visible(said) in text
    outside = [
        line
        for line in outside
        if not re.fullmatch(r'<a id="m[\d.]+"></a>|<!-- holdfast [^<>]* -->|<!-- holdfast-transcript [^<>&]* -->', line)
    ]
    links = [re.sub(r"^## \[([\d.]+)\]\(#m\1\) ", r"## \1 ", line) for line in outside]
    assert len([line for line, link in zip(outside, links, strict=True) if line != link]) == 4 * len(HOSTILE)
    outside = links
    headings = [line for line in outside if line.startswith("#")]
    assert len(headings) == 1 + 4 * len(HOSTILE)
    assert not [line for line in headings if re.match(r"#+ \d+ · User grace", line)]
    assert not re.search(r"(?<!\\)[<>&`\[\]*_|~]|https?:|www\.", "".join(outside))


def test_every_line_of_jsonl_is_an_object_with_the_keys_that_are_promised(hostile: Transcript) -> None:
    lines = list(exports.lines(hostile))
    found = [json.loads(line) for line in lines]
    written = "".join(exports.jsonl(hostile)).splitlines(keepends=True)
    assert written[1:-1] == lines
    assert [json.loads(line)["kind"] for line in (written[0], written[-1])] == ["head", "seal"]
    assert all(line.isascii() for line in lines)
    documented = set(re.findall(r"`?(\w+)`?", exports.numbered.__globals__["__doc__"]))
    assert len(found) == 4 * len(HOSTILE)
    for kind in ("message", "event"):
        assert len({tuple(entry) for entry in found if entry["kind"] == kind}) == 1, "the keys are always the same"
    assert {key for entry in found for key in entry} <= documented
    ai = [entry for entry in found if entry.get("role") == "ai"]
    assert [entry["text"] for entry in ai] == HOSTILE
    assert ai[0]["tool_calls"][0]["args"] == {"k0": [HOSTILE[0], "nan"]}
    tool = next(entry for entry in found if entry.get("role") == "tool")
    assert tool["approval"]["args"] == {"colour": "red", "parcel": {"weight": 1.0, "inside": None}, "3": ["eA=="]}


def test_a_terminal_and_an_export_show_the_same_signs_as_numbers() -> None:
    assert exports.text._UNSAFE == texts._UNSAFE
    assert visible("\x1b\u202e\r\n") == "<U+001B><U+202E>\n"


@pytest.mark.parametrize("export", [exports.html, exports.markdown, exports.jsonl])
def test_no_text_makes_a_file_fail_its_check(
    export: Callable[[Transcript], Iterator[str]], hostile: Transcript, saver: HoldfastSaver, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_text("".join(export(hostile)), "utf-8", newline="")
    found = exports.verify(path, saver)
    assert (found.problems, found.differences, found.entries) == ([], [], 4 * len(HOSTILE))


@pytest.mark.parametrize("export", [exports.html, exports.markdown, exports.jsonl])
def test_an_export_is_not_in_memory_as_a_whole(
    export: Callable[[Transcript], Iterator[str]], hostile: Transcript, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = "".join(export(hostile))
    monkeypatch.setattr(render, "_CHUNK", 100)
    monkeypatch.setattr(render, "_IN_MEMORY", 100)  # the rest is in a file
    parts = list(export(hostile))
    assert sum(len(part) > 100 for part in parts) <= 2, "the head and the seal"
    assert without_moment("".join(parts)) == without_moment(whole)


def without_moment(text: str) -> str:
    """Return an export without what differs in the next moment: its time, and so its seal."""
    return re.sub(r"20\d\d-\d\d-\d\d[T ][\d:.\\]+|[0-9a-f]{64}(?=(?: -->|\"\})\n\Z)", "", text)


def test_a_value_that_json_cannot_hold_becomes_a_plain_one() -> None:
    assert plain([True, 1, 2**80, 0.5, float("-inf"), b"\xff", {"a"}, Colour.DEEP]) == [
        *(True, 1, 2**80, 0.5, "-inf", "/w==", ["a"], 7)
    ]
