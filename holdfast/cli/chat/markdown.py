"""Markdown that is rendered while it is written."""

from __future__ import annotations

from itertools import pairwise
from threading import Lock, Timer
from typing import ClassVar, Final

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.markdown import CodeBlock, Heading, Markdown
from rich.segment import Segment
from rich.syntax import Syntax

from holdfast.cli.chat.layout import Beside, lines_of
from holdfast.cli.output.text import visible

# HTML is shown as it was written: rich would leave it out.
_PARSER: Final = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])

# Seconds until a new piece is drawn, with those that come meanwhile. A slow terminal has to keep up.
_PAUSE: Final = 0.05


class _Heading(Heading):
    """A heading at the left, where the text is."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        yield self.text


class _Code(CodeBlock):
    """Code on the background of the terminal, so that it can be read on a light and on a dark one, and be copied."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip()
        yield Syntax(code, self.lexer_name, theme="ansi_dark", background_color="default", word_wrap=True)


class _Shown(Markdown):
    """Markdown as it is shown: links with their addresses, and HTML as text."""

    elements: ClassVar = {**Markdown.elements, "heading_open": _Heading, "fence": _Code, "code_block": _Code}

    def __init__(self, text: str) -> None:
        super().__init__(text, hyperlinks=False)
        self.parsed = _PARSER.parse(text)


class _Tail:
    """The last lines of something that may be higher than the screen. What is above them cannot be drawn again."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in lines_of(console, self._inner, options)[-max(1, console.height - 2) :]:
            yield from line
            yield Segment.line()


class MarkdownStream:
    """One text in Markdown that comes piece by piece.

    Each block (a paragraph, a list, some code) is printed for good once the next one has begun. The last block is drawn
    again whenever it grows.

    Args:
        console: where the text is shown.
        label: what stands before the first line. All lines are indented by its length.
        style: the style of the label.
    """

    def __init__(self, console: Console, label: str, style: str) -> None:
        self._console = console
        self._label, self._style = label, style
        self._width = len(label)
        self._text = ""
        self._printed = False
        self._live = Live(console=console, auto_refresh=False, transient=True, vertical_overflow="visible")
        self._live.start()
        # A timer draws, and not the thread of `Live`, whose drawing can mix with what is printed at the same time.
        self._lock = Lock()
        self._timer: Timer | None = None

    def add(self, piece: str) -> None:
        """Show the next piece, in a moment."""
        with self._lock:
            self._text += visible(piece)
            if self._timer is None:
                self._timer = Timer(_PAUSE, self._draw)
                self._timer.daemon = True
                self._timer.start()

    def end(self) -> None:
        """Print the rest for good. It may have been cut off at any point."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = None
            self._live.update("", refresh=True)
            self._live.stop()
            self._print(_blocks(self._text))

    def _draw(self) -> None:
        with self._lock:
            if self._timer is None:  # it has ended
                return
            self._timer = None
            *done, self._text = _blocks(self._text)
            if done:
                self._live.update("", refresh=True)
                self._print(done)
            tail = self._beside(self._text)
            self._live.update(_Tail(Group("", tail) if self._printed else tail), refresh=True)

    def _print(self, blocks: list[str]) -> None:
        for block in blocks:
            if self._printed and not block.strip():
                continue
            if self._printed:
                self._console.print()
            self._console.print(self._beside(block), end="")
            self._printed, self._label = True, ""

    def _beside(self, text: str) -> RenderableType:
        return Beside(self._label, self._style, self._width, _Shown(text))


def _blocks(text: str) -> list[str]:
    """Return the blocks that a text consists of, which are rendered one by one; at least one."""
    lines = text.splitlines(keepends=True)
    starts = [token.map[0] for token in _PARSER.parse(text) if token.level == 0 and token.map and token.nesting >= 0]
    return ["".join(lines[start:end]) for start, end in pairwise([0, *starts[1:], len(lines)])]
