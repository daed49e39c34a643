"""The diagrams of the documentation, as SVG. Pure, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final
from xml.sax.saxutils import escape

from docs.pictures.ink import Ink

WIDTH: Final = 520
"""The width of a diagram. A phone shows it at two thirds of this, in which the text can still be read."""

_FONT: Final = "-apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', Arial, sans-serif"


def rows(ink: Ink) -> str:
    """Draw the message rows of a thread, and the checkpoints that consist of them."""
    said = ("human · Refund order 1001", "ai · calls refund_order", "tool · it is refunded", "ai · done")
    checkpoints = (
        ("checkpoint 1", "", 1, "[1, 1]"),
        ("checkpoint 2", "paused", 2, "[1, 2]"),
        ("checkpoint 3", "head", 4, "[1, 4]"),
    )
    top, step = 62, 44
    parts = [_text(16, 24, "message rows of thread ada-1", ink.faint)]
    for number, text in enumerate(said):
        y = top + number * step
        parts += [
            _box(16, y, 250, step - 8, ink),
            _text(30, y + 23, str(number + 1), ink.accent, weight=600),
            _text(52, y + 23, text, ink.text),
        ]
    for number, (name, note, last, ranges) in enumerate(checkpoints):
        x, end = 326 + number * 80, top + last * step - 8
        parts += [
            _text(x, 24, name, ink.text, size=12, anchor="middle"),
            _text(x, 41, note, ink.faint, size=12, anchor="middle"),
            f'<rect x="{x - 11}" y="{top}" width="22" height="{end - top}" rx="6" fill="{ink.accent}"/>',
            _text(x, end + 20, ranges, ink.accent, weight=600, anchor="middle"),
        ]
    return _svg(272, parts, ink)


def steps(ink: Ink) -> str:
    """Draw a call from the model's wish to the tool's result, with what is recorded on the way."""
    who = {"model": 48, "agent": 168, "database": 352, "person": 472}
    arrows = (
        ("model", "agent", "calls refund_order"),
        ("agent", "database", "saved: call, request"),
        None,
        ("person", "database", "approve"),
        ("agent", "database", "started, by this answer"),
        ("agent", "agent", "refund_order runs"),
        ("agent", "database", "done, with its result"),
        ("agent", "model", "the result"),
    )
    top, step = 74, 44
    end = top + len(arrows) * step - 14
    parts = []
    for name, x in who.items():
        parts += [
            f'<line x1="{x}" y1="40" x2="{x}" y2="{end}" stroke="{ink.line}"/>',
            _box(x - 44, 12, 88, 28, ink),
            _text(x, 31, name, ink.text, weight=600, anchor="middle"),
        ]
    for number, arrow in enumerate(arrows):
        y = top + number * step
        if arrow is None:
            parts += _pause(y, ink)
        else:
            parts += _arrow(who[arrow[0]], who[arrow[1]], y, arrow[2], ink)
    return _svg(end + 12, parts, ink)


def floors(ink: Ink) -> str:
    """Draw the three floors of the code, each of which imports from those below it."""
    names = (
        ("holdfast/", "the ways in", "command line, server, middleware, settings"),
        ("graph/", "the agent", "conversation, nodes, tools, approvals, context, models"),
        ("checkpoints/", "the checkpointer", "saver, threads, transcript, search, effects, backends"),
    )
    parts = []
    for number, (folder, role, rooms) in enumerate(names):
        y = 12 + number * 92
        parts += [
            _box(16, y, WIDTH - 32, 64, ink),
            _text(32, y + 27, folder, ink.accent, weight=600),
            _text(136, y + 27, role, ink.text, weight=600),
            _text(32, y + 49, rooms, ink.faint),
        ]
        if number < 2:
            parts.append(_line(WIDTH // 2, y + 66, WIDTH // 2, y + 88, ink))
    return _svg(272, parts, ink)


DIAGRAMS: Final[dict[str, Callable[[Ink], str]]] = {"rows": rows, "steps": steps, "floors": floors}


def _arrow(start: int, end: int, y: int, text: str, ink: Ink) -> list[str]:
    """Draw an arrow between two of those who take part, or from one to itself, with a text above it."""
    if start == end:
        return [
            f'<rect x="{start - 72}" y="{y - 22}" width="144" height="28" rx="6" fill="{ink.accent}"/>',
            _text(start, y - 3, text, ink.on_accent, weight=600, anchor="middle"),
        ]
    tip = end - 3 if end > start else end + 3
    return [_text((start + end) // 2, y - 8, text, ink.text, anchor="middle", size=12), _line(start, y, tip, y, ink)]


def _pause(y: int, ink: Ink) -> list[str]:
    return [
        f'<rect x="16" y="{y - 24}" width="{WIDTH - 32}" height="30" rx="6" fill="{ink.fill}" stroke="{ink.warning}" '
        'stroke-dasharray="5 4"/>',
        _text(WIDTH // 2, y - 4, "kill -9, or a month: the call waits in the database", ink.warning, anchor="middle"),
    ]


def _line(x1: int, y1: int, x2: int, y2: int, ink: Ink) -> str:
    ends = f'x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"'
    return f'<line {ends} stroke="{ink.text}" stroke-width="1.4" marker-end="url(#tip)"/>'


def _box(x: int, y: int, width: int, height: int, ink: Ink) -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{ink.fill}" stroke="{ink.line}"/>'


def _text(x: int, y: int, text: str, colour: str, *, size: int = 14, weight: int = 400, anchor: str = "start") -> str:
    return (
        f'<text x="{x}" y="{y}" fill="{colour}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )


def _svg(height: int, parts: Iterable[str], ink: Ink) -> str:
    tip = (
        '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        f'<path d="M 0 0.5 L 8 4 L 0 7.5 z" fill="{ink.text}"/></marker>'
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    return "\n".join([f'{head} font-family="{_FONT}">', f"<defs>{tip}</defs>", *parts, "</svg>", ""])
