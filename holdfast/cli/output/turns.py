"""Show a turn while it runs: to a person, to a script, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol, assert_never

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from rich.text import Text

from holdfast.cli.output import pending_facts, print_json
from holdfast.cli.output.screen import Screen
from holdfast.cli.output.text import one_line, shortened, shown_json, visible
from holdfast.graph import (
    Done,
    Event,
    Paused,
    Token,
    ToolAnswered,
    ToolCalled,
)

# Characters of an earlier message, or of a tool's answer, that are shown. The thread has the whole text.
_LONGEST_GLANCE = 2000


class TurnOutput(Protocol):
    """The output of a turn."""

    def event(self, event: Event) -> None:
        """Show an event of the turn."""

    def end(self) -> None:
        """End the output, after the turn has ended or was stopped."""


class TurnScreen(Screen):
    """Output for people, of a turn as well. In a pipe only the agent speaks, so its text has no label."""

    def __init__(self) -> None:
        super().__init__()
        self._speaking = False

    def line(self, text: str = "", style: str = "") -> None:
        self.end()
        super().line(text, style)

    def event(self, event: Event) -> None:
        match event:
            case Token(text):
                self._speak(text)
            case ToolCalled(name, args):
                self.line(f"  -> {one_line(name)} {shown_json(args)}", "dim")
            case ToolAnswered(name, text, failed):
                self.line(f"  <- {_glance(text)}", "red" if failed else "dim")
            case Paused() | Done():
                self.end()  # the command shows the pending call when it asks for a decision
            case _:
                assert_never(event)

    def end(self) -> None:
        if self._speaking:
            self._speaking = False
            self._console.print()

    def _speak(self, text: str) -> None:
        self._speaking = True
        self._console.print(Text(visible(text)), end="", soft_wrap=True)

    def history(self, messages: Sequence[AnyMessage]) -> None:
        """Show earlier messages."""
        for message in messages:
            if isinstance(message, HumanMessage):
                self.line(f"you    {_glance(message.text)}", "dim")
            elif isinstance(message, AIMessage):
                if message.text:
                    self.line(f"agent  {_glance(message.text)}", "dim")
                for call in message.tool_calls:
                    self.event(ToolCalled(call["name"], call["args"], call["id"]))
            elif isinstance(message, ToolMessage):
                self.event(ToolAnswered(message.name, message.text, message.status == "error", message.tool_call_id))


class JsonLines:
    """Output for scripts: one JSON object a line, in ASCII."""

    def __init__(self, thread_id: str) -> None:
        self._thread_id = thread_id

    def write(self, event: str, **facts: Any) -> None:
        """Print an event with its facts."""
        print_json({"event": event, **facts})

    def event(self, event: Event) -> None:
        match event:
            case Token():
                self.write("token", **asdict(event))
            case ToolCalled():
                self.write("tool_called", **asdict(event))
            case ToolAnswered():
                self.write("tool_answered", **asdict(event))
            case Paused(pending):
                self.write("waits", **pending_facts(pending, self._thread_id))
            case Done(reply):
                self.write("end", text=reply.text, waiting=len(reply.pending))
            case _:
                assert_never(event)

    def end(self) -> None:
        pass


class NoOutput:
    """No output: the command prints only the result of the turn."""

    def event(self, event: Event) -> None:
        pass

    def end(self) -> None:
        pass


def _glance(text: str) -> str:
    # Indented, so that no line of the text can pass for another speaker's.
    return shortened(text, _LONGEST_GLANCE).replace("\n", "\n       ")
