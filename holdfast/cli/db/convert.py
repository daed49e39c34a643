"""Convert the threads of a database one by one, and show sizes to people."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import typer

from holdfast.checkpoints import HoldfastDatabase, convert
from holdfast.cli.errors import Interrupted
from holdfast.cli.output import print_notice
from holdfast.cli.output.progress import progress_bar
from holdfast.cli.output.text import columns, counted, one_line

if TYPE_CHECKING:
    from holdfast.checkpoints import Database
    from holdfast.checkpoints.convert import Converted
    from holdfast.checkpoints.maintenance import Stats

Convert = Callable[["Database", str], "Converted"]

# With less text, the empty tables and indexes, half a megabyte on SQLite, would be most of what is stored.
_ENOUGH_TEXT: Final = 1_000_000

_UNITS = ("bytes", "KB", "MB", "GB", "TB")


@dataclass
class ConversionTotals:
    """The totals of a conversion."""

    threads: int = 0
    changed: int = 0
    rewritten: int = 0
    """Values, over all threads."""
    bytes_before: int = 0
    bytes_after: int = 0
    problems: dict[str, str] = field(default_factory=dict)
    """Why a thread, or part of it, stayed as it was, by thread."""

    def add(self, converted: Converted) -> None:
        """Add the outcome of one thread."""
        self.threads += 1
        self.changed += bool(converted.rewritten)
        self.rewritten += converted.rewritten
        self.bytes_before += converted.bytes_before
        self.bytes_after += converted.bytes_after
        if converted.problem is not None:
            self.problems[converted.thread_id] = converted.problem

    def facts(self) -> dict[str, Any]:
        """Return the totals for JSON."""
        return {**self.__dict__, "saved": self.bytes_before - self.bytes_after}

    def line(self, verb: str) -> str:
        """Return the totals for people."""
        if not self.rewritten:
            nothing = "Nothing had to be done" if not self.problems else "Nothing was changed"
            return f"{nothing}: {counted(self.threads, 'conversation')}."
        saved = self.bytes_before - self.bytes_after
        change = f"{sized(saved)} less" if saved >= 0 else f"{sized(-saved)} more"
        return (
            f"{self.changed:,} of {counted(self.threads, 'conversation')} {verb}ed, "
            f"{counted(self.rewritten, 'value')} rewritten: {sized(self.bytes_before)} before, "
            f"{sized(self.bytes_after)} now, {change}."
        )


def convert_threads(
    saver: HoldfastDatabase, convert_one: Convert, verb: str, thread: str | None, *, as_json: bool
) -> ConversionTotals:
    """Convert every thread, or one. Problems are reported on standard error.

    Raises:
        Interrupted: Ctrl-C. The threads before it stay converted.
    """
    totals = ConversionTotals()
    try:
        for thread_id in thread_ids(saver, thread, verb, silent=as_json):
            converted = convert_one(saver.database, thread_id)
            totals.add(converted)
            if converted.problem is not None:
                print_notice(converted.problem)
            if converted.rewritten and not as_json and not sys.stderr.isatty():
                sizes = f"{sized(converted.bytes_before)} to {sized(converted.bytes_after)}"
                typer.echo(f"{one_line(thread_id)}: {counted(converted.rewritten, 'value')}, {sizes}")
    except KeyboardInterrupt as interrupt:
        done = f"{counted(totals.threads, 'conversation')} {'is' if totals.threads == 1 else 'are'} done"
        raise Interrupted.after(interrupt, f"Stopped. {done}; run the command again to continue.") from None
    return totals


def thread_ids(saver: HoldfastDatabase, thread: str | None, verb: str, *, silent: bool = False) -> Iterator[str]:
    """Yield the ids of all threads with a progress bar, or `thread` alone."""
    if thread is not None:
        yield thread
        return
    with progress_bar(verb, convert.count_convertible(saver.database), silent=silent) as bar:
        for thread_id in convert.convertible_threads(saver.database):
            yield thread_id
            bar.advance()


def stats_lines(stats: Stats) -> list[str]:
    """Return the statistics of a database for people."""
    free = f", of which {sized(stats.free)} are free" if stats.free else ""
    lines = [
        f"{sized(stats.bytes)}{free}",
        f"{counted(stats.threads, 'conversation')}, {counted(stats.checkpoints, 'checkpoint')}, "
        f"{counted(stats.writes, 'write')}, {counted(stats.messages, 'message row')}",
    ]
    if stats.ratio is not None:
        ratio = f": {stats.ratio:.2f} bytes stored for each byte of text" if stats.text >= _ENOUGH_TEXT else ""
        lines.append(f"{sized(stats.text)} of text in message rows{ratio}")
    if stats.items:
        lines.append(f"{counted(stats.items, 'item')} of long-term memory")
    if stats.encryption != "off":
        keys = ", ".join(f"{key_id} ({counted(number, 'data key')})" for key_id, number in stats.keys.items())
        lines.append(f"{'Encrypted' if stats.encryption == 'on' else 'Being encrypted'} with the master keys {keys}")
    if stats.parts:
        lines += ["", *columns([(sized(part.bytes), part.kind, part.name) for part in stats.parts])]
    if stats.largest:
        rows = [
            (sized(size.bytes), counted(size.checkpoints, "checkpoint"), counted(size.messages, "row"), size.thread_id)
            for size in stats.largest
        ]
        lines += ["", *columns([tuple(map(one_line, row)) for row in rows])]
    return lines


def sized(count: int) -> str:
    """Return a number of bytes for people."""
    size = float(count)
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:
            break
        size /= 1000
    return f"{count} {unit}" if unit == _UNITS[0] else f"{size:.1f} {unit}"
