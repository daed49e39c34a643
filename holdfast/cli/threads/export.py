"""Print a transcript, or write it to a file."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import assert_never

import typer

from holdfast.checkpoints import Transcript
from holdfast.checkpoints.transcript import export
from holdfast.cli.errors import Mistake
from holdfast.cli.options import Format
from holdfast.cli.output import print_notice
from holdfast.cli.output.screen import Screen

_STYLES = {"user": "bold", "agent": "bold cyan", "tool": "bold yellow", "system": "bold magenta", "other": "bold"}


def print_transcript(transcript: Transcript, *, as_json: bool) -> None:
    """Print a transcript, for people or as JSONL."""
    _print_notice_of(transcript)
    if as_json:
        return _print(export.lines(transcript))
    screen = Screen()
    for found in export.numbered(transcript.plain()):
        _print_entry(found, screen)
    return None


class ExportFile:
    """A file that is written as a whole, or not at all."""

    def __init__(self, path: Path, *, force: bool, option: str = "--output") -> None:
        """
        Raises:
            Mistake: the file exists and may not be replaced, or cannot be at this path.
        """
        self.path = path
        if path.is_dir():
            raise Mistake(f"{path} is a folder. Name a file with {option}.")
        if path.exists() and not force:
            again = ", or replace it with --force" if option == "--output" else ""
            raise Mistake(f"{path} exists already. Name another file with {option}{again}.")
        if not path.parent.is_dir():
            raise Mistake(f"There is no folder {path.parent} to write {path.name} to. Create it first.")

    def write(self, texts: Iterable[str]) -> None:
        """Write to a temporary file beside it, and rename that when it is complete."""
        part = self.path.with_name(f".holdfast-{uuid.uuid4().hex}.part")
        try:
            part.touch(mode=0o600, exist_ok=False)  # readable by its owner only
            with part.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(texts)
                file.flush()
                if self.path.exists():
                    shutil.copymode(self.path, part)
                os.fsync(file.fileno())  # else the name could survive a crash of the machine without the text
            part.replace(self.path)
        finally:
            part.unlink(missing_ok=True)


def write_transcript(transcript: Transcript, format_: Format, file: ExportFile | None) -> None:
    """Write a transcript to a file, or to standard output."""
    _print_notice_of(transcript)
    texts = _texts(transcript, format_)
    if file is None:
        return _print(texts)
    file.write(texts)
    # It is read back, since its digest is kept elsewhere as a proof of what it says.
    found = export.verify(file.path)
    return print_written(file, f"{found.entries:,} {'entry' if found.entries == 1 else 'entries'}, {found.digest}")


def print_written(file: ExportFile, contents: str = "") -> None:
    """Report that a file was written."""
    print_notice(f"Written to {file.path}{contents and ': '}{contents}.")


def _texts(transcript: Transcript, format_: Format) -> Iterator[str]:
    match format_:
        case Format.HOLDFAST:
            raise Mistake("--format holdfast writes to a file, and none was given. Needed: --output FILE")
        case Format.JSONL:
            return export.jsonl(transcript)
        case Format.MARKDOWN:
            return export.markdown(transcript)
        case Format.HTML:
            return export.html(transcript)
        case _:
            assert_never(format_)


def _print_notice_of(transcript: Transcript) -> None:
    if transcript.notice:
        print_notice(transcript.notice)


def _print(texts: Iterable[str]) -> None:
    for text in texts:
        typer.echo(text.encode(), nl=False)  # the formats are UTF-8, whatever the terminal's encoding


def _print_entry(found: export.Numbered, screen: Screen) -> None:
    description = export.describe(found.entry)
    screen.line(f"#{found.number}  {description.who}", _STYLES[description.tone])
    screen.line(f"    {', '.join([description.at, *description.notes])}", "dim")
    for part in description.parts:
        screen.line(_indented(part))


def _indented(part: export.Part) -> str:
    # Indented, so that no line of the text can pass for another speaker's.
    text = f"{part.label}: {part.text}" if part.label and part.text else part.label or part.text
    return "    " + text.replace("\n", "\n    ")
