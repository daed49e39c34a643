"""The record of a conversation, on a terminal or in a file."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import assert_never

import typer

from holdfast.checkpoints import Entry, Transcript
from holdfast.checkpoints.transcript import export as exports
from holdfast.checkpoints.transcript.export.describe import Part, describe
from holdfast.cli.errors import Mistake
from holdfast.cli.formats import Format
from holdfast.cli.output.screen import Screen, notice

_STYLES = {"user": "bold", "agent": "bold cyan", "tool": "bold yellow", "system": "bold magenta", "other": "bold"}


def show(transcript: Transcript, *, as_json: bool) -> None:
    """Print a transcript, for people or as JSONL."""
    _note(transcript)
    if as_json:
        return _print(exports.jsonl(transcript))
    screen = Screen(labelled=False)
    for entry in transcript:
        _show(entry, screen)
    return None


class Target:
    """A file that is to be written, and is there as a whole or not at all."""

    def __init__(self, path: Path, *, force: bool) -> None:
        """
        Raises:
            Mistake: it is there already and may not be replaced, or it cannot be there.
        """
        self.path = path
        if path.is_dir():
            raise Mistake(f"{path} is a folder. Name a file with --output.")
        if path.exists() and not force:
            raise Mistake(f"{path} is there already. Name another file with --output, or replace it with --force.")
        if not path.parent.is_dir():
            raise Mistake(f"There is no folder {path.parent} to write {path.name} to. Make it first.")

    def write(self, texts: Iterable[str]) -> None:
        """Write beside the file, and put that in its place when all is written."""
        beside = self.path.with_name(f".holdfast-{uuid.uuid4().hex}.part")
        try:
            with beside.open("x", encoding="utf-8", newline="\n") as file:
                file.writelines(texts)
                file.flush()
                os.fsync(file.fileno())  # else a crash of the machine could leave the name without the text
            beside.replace(self.path)
        finally:
            beside.unlink(missing_ok=True)


def write(transcript: Transcript, format_: Format, target: Target | None) -> None:
    """Write a transcript to a file, or else to standard output."""
    _note(transcript)
    texts = _texts(transcript, format_)
    if target is None:
        return _print(texts)
    target.write(texts)
    return wrote(target)


def wrote(target: Target, what: str = "") -> None:
    """Say that a file was written."""
    notice(f"Written to {target.path}{what and ': '}{what}.")


def _texts(transcript: Transcript, format_: Format) -> Iterator[str]:
    match format_:
        case Format.HOLDFAST:
            raise Mistake("--format holdfast writes conversations whole, and needs a file.")
        case Format.JSONL:
            return exports.jsonl(transcript)
        case Format.MARKDOWN:
            return exports.markdown(transcript)
        case Format.HTML:
            return exports.html(transcript)
        case _:
            assert_never(format_)


def _note(transcript: Transcript) -> None:
    if transcript.notice:
        notice(transcript.notice)


def _print(texts: Iterable[str]) -> None:
    for text in texts:
        typer.echo(text.encode(), nl=False)  # a file says UTF-8, whatever the terminal has


def _show(entry: Entry, screen: Screen) -> None:
    description = describe(entry)
    number = f"#{entry.seq}  " if entry.kind == "message" else "--  "
    screen.line(f"{number}{description.who}", _STYLES[description.tone])
    screen.line(f"    {', '.join([description.at, *description.notes])}", "dim")
    for part in description.parts:
        screen.line(_indented(part))


def _indented(part: Part) -> str:
    # Indented, so that no line of it can pass for somebody else's.
    text = f"{part.label}: {part.text}" if part.label and part.text else part.label or part.text
    return "    " + text.replace("\n", "\n    ")
