"""The chat as a person at a terminal sees it."""

from __future__ import annotations

import re
from typing import Final

from rich.text import Text

from holdfast.cli.chat.layout import Beside
from holdfast.cli.chat.markdown import MarkdownStream
from holdfast.cli.output.text import visible
from holdfast.cli.output.turns import TurnScreen

_LABEL: Final = "agent  "

# What stands before the text of a line: the lines after it begin below the text.
_BEFORE: Final = re.compile(r"agent  |you    | *(?:->|<-|\d+\.)? ?")


class ChatScreen(TurnScreen):
    """Output on a terminal: the agent's Markdown is rendered while it comes, and lines are wrapped between words."""

    def __init__(self) -> None:
        super().__init__()
        self._stream: MarkdownStream | None = None

    def line(self, text: str = "", style: str = "") -> None:
        """Print a text, wrapped between words."""
        self.end()
        for part in visible(text).split("\n"):
            found = _BEFORE.match(part)
            before = found[0] if found else ""
            self._console.print(Beside(before, style, len(before), Text(part.removeprefix(before), style)), end="")

    def notice(self, text: str) -> None:
        """Print a text with a command in it. It is not wrapped here, so that the command can be copied."""
        self.end()
        self._console.print(Text(visible(text), "dim"), soft_wrap=True)

    def end(self) -> None:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            stream.end()

    def _speak(self, text: str) -> None:
        if self._stream is None:
            self._stream = MarkdownStream(self._console, _LABEL, "bold cyan")
        self._stream.add(text)
