"""Asking a person what is to become of a call."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from holdfast.cli.output.screen import Screen, notice
from holdfast.cli.output.text import shown_json
from holdfast.graph import Pending

CHOICES = ("approve", "edit", "reject", "respond", "later")
_LETTERS = {"a": "approve", "e": "edit", "r": "reject", "s": "respond", "l": "later"}
_QUESTION = "[a]pprove, [e]dit, [r]eject, re[s]pond or [l]ater? "

# Of a call that is in doubt.
VERDICTS = ("run again", "happened", "skip", "later")
_VERDICT_LETTERS = {"r": "run again", "h": "happened", "s": "skip", "l": "later"}
_WHAT_IS_KNOWN = "[r]un again, it [h]appened, [s]kip or [l]ater? "


def ask(prompt: str, begin: str = "") -> str:
    """A line from the terminal, which begins with a text that can be edited.

    Raises:
        EOFError: Ctrl-D.
        KeyboardInterrupt: Ctrl-C.
    """
    while True:
        try:
            with suppress(ImportError):  # not on every system; without it lines cannot be edited
                import readline

                readline.set_startup_hook(lambda: readline.insert_text(begin))
            line = input(prompt)
            line.encode()  # a terminal in another encoding gives what is not text
        except UnicodeError:
            notice("That was not UTF-8. Once more:")
        else:
            return line
        finally:
            with suppress(ImportError):
                import readline

                readline.set_startup_hook(None)


def ask_decision(pending: Pending, screen: Screen, begin: str) -> tuple[dict[str, Any] | None, str]:
    """What a person decides: an answer in the form of `holdfast.graph.approvals.decisions`, or None for later.

    Args:
        begin: arguments that were refused a moment ago, to be edited further; else the question comes first.

    Returns:
        The answer, and the arguments as they were written, if it is an edit.
    """
    if pending.kind == "doubt":
        return _verdict(), ""
    while True:
        match "edit" if begin else _choice(_QUESTION, CHOICES, _LETTERS):
            case "approve":
                return {"type": "approve"}, ""
            case "edit":
                written = _edited(begin or shown_json(pending.args), screen)
                if written:
                    return {"type": "edit", "edited_action": {"args": json.loads(written)}}, written
                begin = ""
            case "reject":
                return {"type": "reject", "message": ask("why (for the agent; may be empty)> ") or None}, ""
            case "respond":
                if message := ask("what the agent is told instead> "):
                    return {"type": "respond", "message": message}, ""
            case "later":
                return None, ""


def _verdict() -> dict[str, Any] | None:
    """What is known about a call that may have taken effect."""
    match _choice(_WHAT_IS_KNOWN, VERDICTS, _VERDICT_LETTERS):
        case "run again":
            return {"type": "run_again"}
        case "happened":
            return {"type": "happened", "result": ask("what came of it (for the agent; may be empty)> ") or None}
        case "skip":
            return {"type": "skip"}
    return None


def _choice(question: str, choices: Collection[str], letters: Mapping[str, str]) -> str:
    while True:
        word = ask(question).strip().lower()
        if word in letters or word in choices:
            return letters.get(word, word)


def _edited(begin: str, screen: Screen) -> str:
    """The arguments as a person wants them, as a JSON object; empty if they would rather not."""
    while True:
        begin = ask("arguments (JSON; empty to go back)> ", begin).strip()
        if not begin:
            return ""
        try:
            if isinstance(json.loads(begin), dict):
                return begin
            screen.line("The arguments are a JSON object: {...}", "red")
        except ValueError as error:
            screen.line(f"This is not JSON: {error}", "red")
