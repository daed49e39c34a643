"""What happens in a turn, on a terminal, in a pipe, or as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol, assert_never

import typer
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from rich.console import Console
from rich.text import Text

from holdfast.cli.output.text import one_line, shortened, shown_json, visible
from holdfast.graph import (
    Event,
    Paused,
    Pending,
    Token,
    ToolAnswered,
    ToolCalled,
)

# What is shown again, and answers of tools, are there to be glanced at; the whole is in the thread.
_LONGEST_GLANCE = 2000


class Shows(Protocol):
    """Who is told what happens in a turn."""

    def event(self, event: Event) -> None:
        """Something has happened."""

    def end(self) -> None:
        """The turn is over, or broken off."""


class Screen:
    """For people. Nothing in a text is read as markup or as an escape sequence.

    Args:
        labelled: say who speaks. In a pipe only the agent does.
    """

    def __init__(self, *, labelled: bool) -> None:
        # Lines are never folded by us: a terminal does that, and a pipe wants them whole.
        self._console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
        self._labelled = labelled
        self._speaking = False

    def line(self, text: str = "", style: str = "") -> None:
        self.end()
        self._console.print(Text(visible(text), style))

    def event(self, event: Event) -> None:
        match event:
            case Token(text):
                if not self._speaking and self._labelled:
                    self._console.print(Text("agent  ", "bold cyan"), end="")
                self._speaking = True
                self._console.print(Text(visible(text)), end="")
            case ToolCalled(name, args):
                self.line(f"  -> {one_line(name)} {shown_json(args)}", "dim")
            case ToolAnswered(name, text, failed):
                self.line(f"  <- {_glance(text)}", "red" if failed else "dim")
            case Paused():
                self.end()  # what waits is told by who asks about it
            case _:
                assert_never(event)

    def end(self) -> None:
        if self._speaking:
            self._speaking = False
            self._console.print()

    def request(self, pending: Pending) -> None:
        """What a person has to decide."""
        self.line(f"{one_line(pending.description)}?", "bold yellow")
        self.line(f"  {one_line(pending.name)} {shown_json(pending.args)}")

    def said(self, messages: Sequence[AnyMessage]) -> None:
        """What was said before."""
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


class Lines:
    """For scripts: one JSON object a line, in letters that any terminal has."""

    def __init__(self, thread_id: str) -> None:
        self._thread_id = thread_id

    def tell(self, event: str, **facts: Any) -> None:
        typer.echo(json.dumps({"event": event, **facts}, default=str))

    def event(self, event: Event) -> None:
        match event:
            case Token():
                self.tell("token", **asdict(event))
            case ToolCalled():
                self.tell("tool_called", **asdict(event))
            case ToolAnswered():
                self.tell("tool_answered", **asdict(event))
            case Paused(pending):
                self.tell("waits", **facts(pending, self._thread_id))
            case _:
                assert_never(event)

    def end(self) -> None:
        pass


class Silence:
    """For who wants only what a turn came to."""

    def event(self, event: Event) -> None:
        pass

    def end(self) -> None:
        pass


def facts(pending: Pending, thread_id: str) -> dict[str, Any]:
    """A call that waits, as JSON has it."""
    return {"thread_id": thread_id, **asdict(pending)}


def _glance(text: str) -> str:
    # Indented, so that no line of it can pass for somebody else's.
    return shortened(text, _LONGEST_GLANCE).replace("\n", "\n       ")


def notice(text: str) -> None:
    """Something about the command and not of the conversation: on standard error, out of the way of a pipe."""
    typer.echo(one_line(text), err=True)
