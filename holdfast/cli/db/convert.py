"""Going through the conversations of a database: how far it is, and what it came to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import typer

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints import convert as work
from holdfast.cli.errors import Interrupted, Mistake
from holdfast.cli.output.progress import bar
from holdfast.cli.output.screen import notice
from holdfast.cli.output.text import columns, one_line

if TYPE_CHECKING:
    from holdfast.checkpoints.convert import Converted
    from holdfast.checkpoints.core.database import Database
    from holdfast.checkpoints.maintenance import Stats

Convert = Callable[["Database", str], "Converted"]

_UNITS = ("bytes", "KB", "MB", "GB", "TB")


@dataclass
class Done:
    """What it came to."""

    threads: int = 0
    changed: int = 0
    rewritten: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    problems: dict[str, str] = field(default_factory=dict)
    """By thread."""

    def add(self, outcome: Converted) -> None:
        self.threads += 1
        self.changed += bool(outcome.rewritten)
        self.rewritten += outcome.rewritten
        self.bytes_before += outcome.bytes_before
        self.bytes_after += outcome.bytes_after
        if outcome.problem is not None:
            self.problems[outcome.thread_id] = outcome.problem

    def facts(self) -> dict[str, Any]:
        return {**self.__dict__, "saved": self.bytes_before - self.bytes_after}

    def lines(self, verb: str) -> list[str]:
        if not self.rewritten:
            done = "Nothing was to be done" if not self.problems else "Nothing was changed"
            return [f"{done}: {counted(self.threads, 'conversation')}."]
        saved = self.bytes_before - self.bytes_after
        change = f"{sized(saved)} saved" if saved >= 0 else f"{sized(-saved)} more"
        return [
            f"{counted(self.changed, 'conversation')} of {self.threads} {verb}ed, {counted(self.rewritten, 'value')}: "
            f"{sized(self.bytes_before)} before, {sized(self.bytes_after)} now, {change}."
        ]


def convert(saver: HoldfastSaver, convert_one: Convert, thread: str | None, *, as_json: bool) -> Done:
    """Convert every thread, or one; what is to be said of some goes to standard error."""
    done = Done()
    verb = "Compacting" if convert_one is work.compact_thread else "Expanding"
    try:
        for thread_id in chosen(saver, thread, verb, silent=as_json):
            outcome = convert_one(saver.database, thread_id)
            done.add(outcome)
            if outcome.problem is not None:
                notice(outcome.problem)
            if outcome.rewritten and not as_json and not sys.stderr.isatty():
                sizes = f"{sized(outcome.bytes_before)} to {sized(outcome.bytes_after)}"
                typer.echo(f"{one_line(thread_id)}: {counted(outcome.rewritten, 'value')}, {sizes}")
    except KeyboardInterrupt as stopped:
        are = "is done and stays" if done.threads == 1 else "are done and stay"
        text = f"Stopped. {counted(done.threads, 'conversation')} {are} so; the same command goes on."
        raise Interrupted.after(stopped, text) from None
    return done


def chosen(saver: HoldfastSaver, thread: str | None, verb: str, *, silent: bool = False) -> Iterator[str]:
    """The threads to go through, with a bar that shows how far it is where somebody looks at a terminal.

    Raises:
        Mistake: there is no such thread.
    """
    if thread is not None:
        if not saver.heads(thread_id=thread):
            raise Mistake(f"There is no conversation {thread!r} in this database.")
        yield thread
        return
    with bar(verb, work.count_convertible(saver.database), silent=silent) as going:
        for thread_id in work.convertible_threads(saver.database):
            yield thread_id
            going.advance()


def stats_lines(found: Stats) -> list[str]:
    """What takes the space, for people."""
    free = f", of which {sized(found.free)} are free" if found.free else ""
    lines = [
        f"{sized(found.bytes)}{free}",
        f"{counted(found.threads, 'conversation')}, {counted(found.checkpoints, 'checkpoint')}, "
        f"{counted(found.writes, 'write')}, {counted(found.messages, 'message row')}",
    ]
    if found.ratio is not None:
        lines.append(f"{sized(found.text)} of text in message rows: {found.ratio:.2f} bytes stored a byte of text")
    if found.parts:
        lines += ["", *columns([(sized(part.bytes), part.kind, part.name) for part in found.parts])]
    if found.largest:
        rows = [
            (sized(size.bytes), counted(size.checkpoints, "checkpoint"), counted(size.messages, "row"), size.thread_id)
            for size in found.largest
        ]
        lines += ["", *columns([tuple(map(one_line, row)) for row in rows])]
    return lines


def sized(count: int) -> str:
    """A number of bytes, for people."""
    size = float(count)
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:
            break
        size /= 1000
    return f"{count} {unit}" if unit == _UNITS[0] else f"{size:.1f} {unit}"


def counted(number: int, noun: str) -> str:
    """How many there are of something."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
