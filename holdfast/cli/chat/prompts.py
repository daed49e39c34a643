"""Ask a person at the terminal to decide about a call, or to answer a question."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from holdfast.checkpoints.interrupts.forms import Action
from holdfast.cli.chat.words import json_problem
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

# What people type as well.
_OTHER_WORDS: Final = {"y": "approve", "yes": "approve", "ok": "approve", "n": "reject", "no": "reject"}

# About a call in doubt.
_VERDICTS: Final = ("run again", "happened", "skip", "later")
_VERDICT_LETTERS: Final = {"r": "run again", "h": "happened", "s": "skip", "l": "later"}
_VERDICT_PROMPT: Final = "[r]un again, it [h]appened, [s]kip or [l]ater? "


class Reader(Protocol):
    """The part of `LineEditor` that reads from a person who decides."""

    def choice(self, prompt: str) -> str: ...

    def answer(self, prompt: str, begin: str = "") -> str: ...


class Prompts:
    """The questions to a person who decides.

    Args:
        reader: reads what the person types.
        screen: where errors, and each of several calls, are shown.
    """

    def __init__(self, reader: Reader, screen: Screen) -> None:
        self._reader = reader
        self._screen = screen

    def ask_answer(self, pending: Pending, begin: str) -> tuple[Any, str]:
        """Ask the user to answer a request: to decide about each of its calls, or to answer a question.

        Args:
            pending: the request.
            begin: arguments that were just refused, to be edited further; empty to ask for the decision first.

        Returns:
            The answer in the form of `Conversation.answer`, or `None` for later; and for an edit, the arguments as the
            user typed them.
        """
        if pending.kind == "doubt":
            return self._ask_verdict(), ""
        if pending.kind == "question":
            return self._ask_question(), ""
        if len(pending.actions) < 2:
            return self._ask_decision(pending.args, _allowed(pending.actions), begin)
        decisions = []
        for number, action in enumerate(pending.actions, 1):
            self._screen.action(action, f"{number}.")
            decision, _ = self._ask_decision(action.args, _allowed([action]), "")
            if decision is None:
                return None, ""
            decisions.append(decision)
        return decisions, ""

    def _ask_decision(
        self, args: Mapping[str, Any], allowed: Collection[str], begin: str
    ) -> tuple[dict[str, Any] | None, str]:
        prompt = f"{', '.join(_DECISION_WORDS[word] for word in allowed)} or {_DECISION_WORDS['later']}? "
        choices = (*allowed, "later")
        letters = {typed: word for typed, word in (_DECISION_LETTERS | _OTHER_WORDS).items() if word in choices}
        while True:
            match "edit" if begin else self._choose(prompt, choices, letters):
                case "approve":
                    return {"type": "approve"}, ""
                case "edit":
                    arguments = self._edit_arguments(begin or shown_json(args))
                    if arguments:
                        return {"type": "edit", "edited_action": {"args": json.loads(arguments)}}, arguments
                    begin = ""
                case "reject":
                    reason = self._reader.answer("reason, for the agent (optional)> ")
                    return {"type": "reject", "message": reason or None}, ""
                case "respond":
                    if message := self._reader.answer("answer, in place of the tool's> "):
                        return {"type": "respond", "message": message}, ""
                case "later":
                    return None, ""

    def _ask_question(self) -> Any:
        """Return the answer to a question of a graph; `None` for later. JSON is taken as JSON, except for numbers."""
        text = self._reader.answer("answer (empty for later)> ").strip()
        if text.startswith(("{", "[", '"')) or text in ("true", "false"):
            with suppress(ValueError):
                return json.loads(text)
        return text or None

    def _ask_verdict(self) -> dict[str, Any] | None:
        match self._choose(_VERDICT_PROMPT, _VERDICTS, _VERDICT_LETTERS):
            case "run again":
                return {"type": "run_again"}
            case "happened":
                return {"type": "happened", "result": self._reader.answer("result, for the agent (optional)> ") or None}
            case "skip":
                return {"type": "skip"}
        return None

    def _choose(self, prompt: str, choices: Collection[str], letters: Mapping[str, str]) -> str:
        while True:
            typed = self._reader.choice(prompt).strip()
            word = typed.lower()
            if word in letters or word in choices:
                return letters.get(word, word)
            if typed:
                self._screen.line(
                    f"{typed!r} is none of these: {', '.join(choices)}. Type a word or its letter.", "red"
                )

    def _edit_arguments(self, begin: str) -> str:
        """Return the new arguments as a JSON object, or an empty text if the user goes back."""
        while True:
            begin = self._reader.answer("arguments, as JSON (empty to go back)> ", begin).strip()
            if not begin:
                return ""
            try:
                if isinstance(json.loads(begin), dict):
                    return begin
                problem = 'this is not an object. Needed: all arguments in one, such as {"order_id": 1002}'
            except json.JSONDecodeError as error:
                problem = json_problem(error)
            self._screen.line(f"The arguments cannot be used: {problem}. Change them, or empty the line.", "red")


def _allowed(actions: Sequence[Action]) -> list[str]:
    """Return the decisions that are allowed about some calls; all if that is not known."""
    words = [_OF_AGENT_INBOX.get(word, word) for action in actions for word in action.allowed]
    return [word for word in DECISIONS if word in words] or [*DECISIONS]
