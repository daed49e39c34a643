"""Where texts stand on the screen of a chat."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment


class Beside:
    """Something beside a label: the label before the first line, and spaces before the others."""

    def __init__(self, label: str, style: str, width: int, inner: RenderableType) -> None:
        self._label, self._style, self._width, self._inner = label, style, width, inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        label = Segment(self._label.ljust(self._width), console.get_style(self._style))
        narrow = options.update_width(max(1, options.max_width - self._width))
        for line in _without_margin([_without_padding(line) for line in lines_of(console, self._inner, narrow)]):
            yield from [label, *line] if _is_filled(line) or label.text.strip() else []
            yield Segment.line()
            label = Segment(" " * self._width)


def lines_of(console: Console, inner: RenderableType, options: ConsoleOptions) -> list[list[Segment]]:
    """Return the lines of something, as wide as they are."""
    return console.render_lines(inner, options, pad=False)


def _without_padding(line: list[Segment]) -> list[Segment]:
    """Return a line without the spaces at its end, which would be copied with it."""
    *before, last = line or [Segment("")]
    text = last.text.rstrip()
    return [*before, Segment(text, last.style)] if text or not before else _without_padding(before)


def _without_margin(lines: list[list[Segment]]) -> list[list[Segment]]:
    """Return lines without the empty ones at both ends."""
    filled = [number for number, line in enumerate(lines) if _is_filled(line)]
    return lines[filled[0] : filled[-1] + 1] if filled else lines[:1]


def _is_filled(line: list[Segment]) -> bool:
    return any(segment.text.strip() for segment in line)
