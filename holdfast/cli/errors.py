"""The one place where a failure becomes a line and an exit code."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Collection, Sequence
from typing import NamedTuple

from typer.exceptions import TyperException

from holdfast.cli.output.text import one_line

BROKEN, MISTAKE, INTERRUPTED = 1, 2, 130


class Mistake(Exception):
    """What the user asked for cannot be done as they asked it."""


class _Remark(str):
    """A note of ours on an error; LangGraph leaves notes too, for developers."""

    __slots__ = ()


def remark(error: BaseException, text: str) -> None:
    """Add to an error what else people are to know."""
    error.add_note(_Remark(text))


def remarks(error: BaseException) -> list[str]:
    return [note for note in getattr(error, "__notes__", ()) if isinstance(note, _Remark)]


class Interrupted(Exception):
    """Ctrl-C, with what to say of it."""

    @classmethod
    def after(cls, stopped: KeyboardInterrupt, text: str) -> Interrupted:
        """With what those added through whom Ctrl-C came."""
        return cls(" ".join([*remarks(stopped), text]))


class Failure(NamedTuple):
    """A failure as people see it."""

    line: str
    code: int
    known: bool
    """Whether it is one of those that are to be expected; else it is a defect."""


def explain(error: BaseException) -> Failure:
    """What to say of an error. Remarks that were added to it on its way belong to what is said."""
    if isinstance(error, Interrupted):
        return Failure(_said(error), INTERRUPTED, known=True)
    if isinstance(error, TyperException):
        command = getattr(getattr(error, "ctx", None), "command_path", "holdfast")
        said = error.format_message().rstrip(".")
        return Failure(one_line(f"{_sentence(said)} See: {command} --help"), MISTAKE, known=True)
    if isinstance(error, Mistake):  # before what is slow to import
        return Failure(_said(error), MISTAKE, known=True)
    mistakes, breakages = _known()
    if isinstance(error, mistakes):
        return Failure(_said(error), MISTAKE, known=True)
    if isinstance(error, breakages):
        return Failure(_said(error), BROKEN, known=True)
    what = f"{type(error).__name__}: {error}. This is a defect of Holdfast; --debug shows where."
    return Failure(_said(error, what), BROKEN, known=False)


def report(error: BaseException, *, debug: bool, secrets: Collection[str]) -> int:
    """Say on standard error what happened. Gives the exit code."""
    failure = explain(error)
    text, line = "".join(traceback.format_exception(error)) if debug else "", failure.line
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
        # Lines are written without secrets; this is the second belt. A password of one letter would spoil every word.
        line = line.replace(secret, "***") if len(secret) > 3 else line
    sys.stderr.write(f"{text}{line}\n")
    return failure.code


def check_words(words: Sequence[str]) -> None:
    """Refuse arguments that are not text, before they can become a key or a message."""
    for place, word in enumerate(words, 1):
        try:
            word.encode()
        except UnicodeEncodeError:
            raise Mistake(f"Argument {place} is not UTF-8: {os.fsencode(word)!r}") from None


def never_fail_to_print() -> None:
    """Where the terminal has no sign for a character, show its number."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _known() -> tuple[tuple[type[BaseException], ...], tuple[type[BaseException], ...]]:
    # Imported when something has failed, and not by `--help`. A user's mistakes are looked up first.
    import sqlite3

    from langchain_core.exceptions import ModelError
    from langgraph.errors import GraphRecursionError

    from holdfast.checkpoints import (
        DriverMissing,
        HoldfastError,
        InvalidArchive,
        InvalidCursor,
        InvalidSearch,
        InvalidThread,
        InvalidURL,
        NothingToUndo,
        ThreadNotEmpty,
        UnknownCheckpoint,
        UnknownMessage,
        UnknownThread,
    )
    from holdfast.demo import DemoFailedError, DemoRefusedError
    from holdfast.graph import BadAnswer, NothingWaits
    from holdfast.settings import InvalidSettings

    mistakes = (
        InvalidSettings,
        InvalidURL,
        InvalidThread,
        UnknownThread,
        UnknownCheckpoint,
        UnknownMessage,
        ThreadNotEmpty,
        NothingToUndo,
        InvalidCursor,
        InvalidArchive,
        InvalidSearch,
        DriverMissing,
        BadAnswer,
        NothingWaits,
        DemoRefusedError,
    )
    return mistakes, (HoldfastError, ModelError, DemoFailedError, GraphRecursionError, sqlite3.Error, OSError)


def _said(error: BaseException, what: str | None = None) -> str:
    text = str(error) or type(error).__name__
    # A LookupError shows the repr of its message.
    if isinstance(error, LookupError) and error.args:
        text = str(error.args[0])
    said, notes = text if what is None else what, remarks(error)
    return one_line(" ".join([_sentence(said), *notes] if notes else [said]))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!", "…")) else f"{text}."
