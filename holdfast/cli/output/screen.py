"""Lines and requests for people."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from holdfast.checkpoints.interrupts.forms import Action
from holdfast.checkpoints.interrupts.pending import Pending
from holdfast.cli.output.text import one_line, shown_json, visible


class Screen:
    """Output for people. No text is taken for markup or for an escape sequence."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False)

    def line(self, text: str = "", style: str = "") -> None:
        """Print a text on a line of its own. It is not wrapped: a pipe needs it whole, and a terminal wraps it."""
        self._console.print(Text(visible(text), style), soft_wrap=True)

    def request(self, pending: Pending) -> None:
        """Show a request that waits for a decision; of one about several calls each with its number."""
        if len(pending.actions) > 1:
            self.line(f"{len(pending.actions)} calls, which are decided together:", "bold yellow")
            for number, action in enumerate(pending.actions, 1):
                self.action(action, f"{number}.")
            return
        text = one_line(pending.description)
        self.line(text if text.endswith(("?", ".", "!", ":")) else f"{text}?", "bold yellow")
        if pending.name:
            self.line(f"  {one_line(pending.name)} {shown_json(pending.args)}")

    def action(self, action: Action, number: str) -> None:
        """Show one of several calls."""
        self.line(f"  {number} {one_line(action.name)} {shown_json(action.args)}")
        self.line(f"     {', '.join(action.allowed)}", "dim")
