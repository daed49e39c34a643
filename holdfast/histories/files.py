"""Conversations in files: LangChain's JSON, sessions by name, OpenAI's export, and messages line by line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, Final

from holdfast.checkpoints.errors import UnreadableHistory
from holdfast.histories.exported import add_entry, exported_history, is_end, is_exported
from holdfast.histories.history import (
    Columns,
    History,
    NotUnderstood,
    Repeating,
    add_fields,
)
from holdfast.histories.openai import is_openai, openai_history

_THREADS: Final = ("thread_id", "session_id", "conversation_id", "thread", "session")

_NEEDED: Final = (
    "JSON that is a list of messages, {session: [messages]} or OpenAI's conversations, or one message on each line, "
    "with the id of its conversation. A message has a role and a content, or is in LangChain's form."
)


def read_file(path: Path, columns: Columns | None = None, zone: tzinfo = UTC) -> Iterator[History]:
    """Yield the conversations of a file, whose form is found out.

    - A list of messages, as LangChain's `FileChatMessageHistory` writes: one conversation, with the name of the file.
    - `{"session": [messages]}`: conversations by their ids.
    - The `conversations.json` of OpenAI's export.
    - JSONL: a message on each line, with the id of its conversation in `thread_id`, `session_id` or the like.
    - The JSONL of `holdfast threads export`: the messages and prompts of the transcript.

    A part that is not understood makes the conversation one with a `problem`; the others go on.

    Args:
        path: the file.
        columns: the names of the fields, if they are not the usual ones.
        zone: the time zone of times without an offset.

    Raises:
        UnreadableHistory: the file is not there, is cut off, or has none of these forms.
    """
    columns = columns or Columns()
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        needed = "a file of conversations in UTF-8. A database is named by its URL, such as sqlite:///chat.db."
        raise UnreadableHistory(path, f"it cannot be read ({why}).", needed) from None
    if not text.strip():
        raise UnreadableHistory(path, "it is empty.", _NEEDED)
    if path.suffix.lower() in {".jsonl", ".ndjson"}:
        yield from _lines(path, text, columns, zone)
        return
    try:
        found = _read_json(text)
    except RecursionError:
        raise UnreadableHistory(path, "its JSON is nested too deeply.", _NEEDED) from None
    except ValueError as error:
        found = _first_line(text)
        if _thread_of(found, columns) is not None:
            yield from _lines(path, text, columns, zone)
            return
        raise UnreadableHistory(path, f"it is no JSON, or only a part of it ({error}).", _NEEDED) from None
    if _thread_of(found, columns) is not None and not is_openai(found):
        yield from _lines(path, text, columns, zone)
    else:
        yield from _whole(path, found, columns, zone)


def _whole(path: Path, found: Any, columns: Columns, zone: tzinfo) -> Iterator[History]:
    if isinstance(found, list) and found and all(is_openai(one) for one in found):
        yield from _of_openai(path, found)
    elif isinstance(found, list):
        yield _history(path.stem, found, str(path), columns, zone)
    elif is_openai(found):
        yield from _of_openai(path, [found])
    elif isinstance(found, Mapping) and found and all(isinstance(one, list) for one in found.values()):
        twice = found.names if isinstance(found, Repeating) else ()
        for session, messages in found.items():
            history = _history(session, messages, f"{path}, session {session!r}", columns, zone)
            history.of = len(found)
            yield _left(history) if session in twice else history
    else:
        raise UnreadableHistory(path, f"it is JSON of another form ({type(found).__name__}).", _NEEDED)


def _of_openai(path: Path, conversations: list[Any]) -> Iterator[History]:
    histories = list(map(openai_history, conversations))
    ids = Counter(history.thread_id for history in histories)
    for history in histories:
        history.place, history.of = f"{path}, conversation {history.thread_id!r}", len(histories)
        if history.problem is not None:
            history.problem = f"{path}: {history.problem}"
        yield _left(history) if ids[history.thread_id] > 1 else history


def _left(history: History) -> History:
    history.problem = f"{history.place}: it is in the file more than once, and none of them is imported. Needed: one."
    return history


def _history(thread_id: str, messages: list[Any], place: str, columns: Columns, zone: tzinfo) -> History:
    history = History(thread_id, place=place)
    for number, fields in enumerate(messages, 1):
        _add(history, fields, f"{place}, message {number}", columns, zone)
    return history


def _add(history: History, fields: Any, place: str, columns: Columns, zone: tzinfo) -> None:
    try:
        add_fields(history, fields, columns, zone)
    except NotUnderstood as error:
        history.problem = history.problem or f"{place}: {str(error).rstrip('.')}."


def _lines(path: Path, text: str, columns: Columns, zone: tzinfo) -> Iterator[History]:
    # A conversation is complete when the file is: its lines may be anywhere.
    histories: dict[str, History] = {}
    lines = _parsed(path, text)
    for number, fields in lines:
        if number == 1 and is_exported(fields):
            yield _exported(path, fields, lines)
            return
        thread_id = _thread_of(fields, columns)
        if thread_id is None:
            raise UnreadableHistory(path, f"line {number} does not say which conversation it is of.", _NEEDED)
        history = histories.setdefault(thread_id, History(thread_id, place=f"{path}, session {thread_id!r}"))
        _add(history, fields, f"{path}, line {number}", columns, zone)
    for history in histories.values():
        history.of = len(histories)
        yield history


def _exported(path: Path, head: Mapping[str, Any], lines: Iterator[tuple[int, Any]]) -> History:
    history = exported_history(head, str(path))
    for number, entry in lines:
        if is_end(entry):
            return history
        try:
            add_entry(history, entry, head.get("user_id"))
        except NotUnderstood as error:
            history.problem = history.problem or f"{path}, line {number}: {error}."
    raise UnreadableHistory(path, "its end is missing, with the seal.", "a whole file of holdfast threads export.")


def _parsed(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Yield the values of the lines that are not empty, with the numbers of the lines."""
    for number, line in enumerate(text.split("\n"), 1):  # a text may hold what `splitlines` splits at
        if not line.strip():
            continue
        try:
            yield number, _read_json(line)
        except RecursionError:
            raise UnreadableHistory(path, f"line {number} is nested too deeply.", _NEEDED) from None
        except ValueError as error:
            why = f"line {number} is no JSON, or only a part of it ({_why(error)})."
            raise UnreadableHistory(path, why, _NEEDED) from None


def _thread_of(fields: Any, columns: Columns) -> str | None:
    if not isinstance(fields, Mapping):
        return None
    names = _THREADS if columns.thread is None else (columns.thread,)
    found = next((fields[name] for name in names if fields.get(name) is not None), None)
    return str(found) if isinstance(found, str | int) and not isinstance(found, bool) else None


def _why(error: ValueError) -> str:
    """Return what is wrong with a line of JSON, which itself is the first of what was parsed."""
    return f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else str(error)


def _read_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=Repeating.of)


def _first_line(text: str) -> Any:
    try:
        return _read_json(text.partition("\n")[0])
    except ValueError:
        return None
