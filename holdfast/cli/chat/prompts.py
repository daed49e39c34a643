"""Ask a person at the terminal to decide about a call, or to answer a question."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from holdfast.checkpoints.interrupts.forms import Action
from holdfast.cli.output import print_notice
from holdfast.cli.output.screen import Screen
from holdfast.cli.output.text import shown_json
from holdfast.graph import Pending
from holdfast.graph.approvals.decisions import DECISIONS

# About a call that needs approval.
_DECISION_LETTERS: Final = {"a": "approve", "e": "edit", "r": "reject", "s": "respond", "l": "later"}
_DECISION_WORDS: Final = {
    "approve": "[a]pprove",
    "edit": "[e]dit",
    "reject": "[r]eject",
    "respond": "re[s]pond",
    "later": "[l]ater",
}
_OF_AGENT_INBOX: Final = {"accept": "approve", "ignore": "reject", "response": "respond"}

# About a call in doubt.
_VERDICTS: Final = ("run again", "happened", "skip", "later")
_VERDICT_LETTERS: Final = {"r": "run again", "h": "happened", "s": "skip", "l": "later"}
_VERDICT_PROMPT: Final = "[r]un again, it [h]appened, [s]kip or [l]ater? "


def read_line(prompt: str, begin: str = "") -> str:
    """Read a line from the terminal. The user can edit `begin`, which stands there already.

    Raises:
        EOFError: Ctrl-D.
        KeyboardInterrupt: Ctrl-C.
    """
    while True:
        try:
            with suppress(ImportError):  # some systems lack it; the line then cannot be edited
                import readline

                readline.set_startup_hook(lambda: readline.insert_text(begin))
            line = input(prompt)
            line.encode()  # fails for what a terminal with another encoding sends
        except UnicodeError:
            print_notice("The line is not UTF-8. Type it again:")
        else:
            return line
        finally:
            with suppress(ImportError):
                import readline

                readline.set_startup_hook(None)


def ask_answer(pending: Pending, screen: Screen, begin: str) -> tuple[Any, str]:
    """Ask the user to answer a request: to decide about each of its calls, or to answer a question.

    Args:
        pending: the request.
        screen: where errors in JSON, and each of several calls, are shown.
        begin: arguments that were just refused, to be edited further; empty to ask for the decision first.

    Returns:
        The answer in the form of `Conversation.answer`, or `None` for later; and for an edit, the arguments as the user
        typed them.
    """
    if pending.kind == "doubt":
        return _ask_verdict(), ""
    if pending.kind == "question":
        return _ask_question(), ""
    if len(pending.actions) < 2:
        return _ask_decision(pending.args, _allowed(pending.actions), screen, begin)
    decisions = []
    for number, action in enumerate(pending.actions, 1):
        screen.action(action, f"{number}.")
        decision, _ = _ask_decision(action.args, _allowed([action]), screen, "")
        if decision is None:
            return None, ""
        decisions.append(decision)
    return decisions, ""


def _ask_decision(
    args: Mapping[str, Any], allowed: Collection[str], screen: Screen, begin: str
) -> tuple[dict[str, Any] | None, str]:
    prompt = f"{', '.join(_DECISION_WORDS[word] for word in allowed)} or {_DECISION_WORDS['later']}? "
    letters = {letter: word for letter, word in _DECISION_LETTERS.items() if word in (*allowed, "later")}
    while True:
        match "edit" if begin else _choose(prompt, (*allowed, "later"), letters):
            case "approve":
                return {"type": "approve"}, ""
            case "edit":
                arguments = _edit_arguments(begin or shown_json(args), screen)
                if arguments:
                    return {"type": "edit", "edited_action": {"args": json.loads(arguments)}}, arguments
                begin = ""
            case "reject":
                return {"type": "reject", "message": read_line("reason, for the agent (optional)> ") or None}, ""
            case "respond":
                if message := read_line("answer, in place of the tool's> "):
                    return {"type": "respond", "message": message}, ""
            case "later":
                return None, ""


def _allowed(actions: Sequence[Action]) -> list[str]:
    """Return the decisions that are allowed about some calls; all if that is not known."""
    words = [_OF_AGENT_INBOX.get(word, word) for action in actions for word in action.allowed]
    return [word for word in DECISIONS if word in words] or [*DECISIONS]


def _ask_question() -> Any:
    """Return the answer to a question of a graph; `None` for later. JSON is taken as JSON, except for numbers."""
    text = read_line("answer (empty for later)> ").strip()
    if text.startswith(("{", "[", '"')) or text in ("true", "false"):
        with suppress(ValueError):
            return json.loads(text)
    return text or None


def _ask_verdict() -> dict[str, Any] | None:
    match _choose(_VERDICT_PROMPT, _VERDICTS, _VERDICT_LETTERS):
        case "run again":
            return {"type": "run_again"}
        case "happened":
            return {"type": "happened", "result": read_line("result, for the agent (optional)> ") or None}
        case "skip":
            return {"type": "skip"}
    return None


def _choose(prompt: str, choices: Collection[str], letters: Mapping[str, str]) -> str:
    while True:
        word = read_line(prompt).strip().lower()
        if word in letters or word in choices:
            return letters.get(word, word)


def _edit_arguments(begin: str, screen: Screen) -> str:
    """Return the new arguments as a JSON object, or an empty text if the user goes back."""
    while True:
        begin = read_line("arguments, as JSON (empty to go back)> ", begin).strip()
        if not begin:
            return ""
        try:
            if isinstance(json.loads(begin), dict):
                return begin
            screen.line("Not a JSON object. Needed: all arguments in one object, {...}", "red")
        except ValueError as error:
            screen.line(f"Not JSON: {error}", "red")
