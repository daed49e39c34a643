"""A history of each kind is imported, goes on with an agent, and is exported: equal in text, role, time and order.

What was exported is imported once more, and is still the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.errors import UnreadableHistory
from holdfast.checkpoints.transcript import export
from holdfast.graph import Conversation
from holdfast.histories import History, read_file, read_sql
from tests.support.histories_kit import COLUMNS, NOON, outcomes, table, written
from tests.support.kit import echo_graph

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

Told = list[tuple[str, str, datetime | None]]

TALK = [("user", "human", "Grüß Gott\n\0"), ("assistant", "ai", "Hello, Ada."), ("user", "human", "Hello, Ada.")]
# A float is a little less than some of these microseconds.
TIMES = [NOON + timedelta(seconds=number, microseconds=number) for number in range(len(TALK))]
TIMED: Told = [(role, text, at) for (_, role, text), at in zip(TALK, TIMES, strict=True)]
UNTIMED: Told = [(role, text, None) for _, role, text in TALK]


def fields(**more: str) -> list[dict[str, str]]:
    rows = zip(TALK, TIMES, strict=True)
    return [{**more, "role": role, "content": text, "timestamp": at.isoformat()} for (role, _, text), at in rows]


def langchain_file(folder: Path) -> tuple[Iterator[History], Told]:
    from langchain_community.chat_message_histories import FileChatMessageHistory

    call = {"name": "pay", "args": {"order": 1}, "id": "c-1", "type": "tool_call"}
    messages: list[BaseMessage] = [
        HumanMessage([{"type": "text", "text": "Pay"}]),
        AIMessage("I pay.", tool_calls=[call]),
        ToolMessage("paid", tool_call_id="c-1"),
        AIMessage("It is paid: €5", id="b"),
    ]
    FileChatMessageHistory(str(folder / "s-1.json")).add_messages(messages)
    return read_file(folder / "s-1.json"), [(message.type, message.text, None) for message in messages]


def langchain_table(folder: Path) -> tuple[Iterator[History], Told]:
    from langchain_community.chat_message_histories import SQLChatMessageHistory

    url = f"sqlite:///{folder / 'old.db'}"
    made = {"human": HumanMessage, "ai": AIMessage}
    SQLChatMessageHistory("s-1", connection=url).add_messages([made[role](text) for _, role, text in TALK])
    return read_sql(url), UNTIMED


def table_of_ones_own(folder: Path) -> tuple[Iterator[History], Told]:
    rows = [(no, "s-1", "ada", one["role"], one["content"], one["timestamp"]) for no, one in enumerate(fields())]
    return read_sql(table(folder, rows[::-1]), table="chat_messages", columns=COLUMNS), TIMED


def sessions(folder: Path) -> tuple[Iterator[History], Told]:
    return read_file(written(folder, "a.json", {"s-1": fields()})), TIMED


def lines(folder: Path) -> tuple[Iterator[History], Told]:
    text = "\n".join(json.dumps(one) for one in fields(session_id="s-1"))
    return read_file(written(folder, "a.jsonl", text)), TIMED


def openai_export(folder: Path) -> tuple[Iterator[History], Told]:
    def node(number: int, role: str, text: str) -> dict[str, Any]:
        content = {"content_type": "text", "parts": [text]}
        message = {"author": {"role": role}, "create_time": TIMES[number].timestamp(), "content": content}
        return {"message": message, "parent": str(number - 1) if number else None}

    mapping = {str(number): node(number, role, text) for number, (role, _, text) in enumerate(TALK)}
    conversation = {"conversation_id": "s-1", "mapping": mapping, "current_node": "2"}
    return read_file(written(folder, "conversations.json", [conversation])), TIMED


def exported(saver: HoldfastSaver) -> Told:
    entries = map(json.loads, "".join(export.jsonl(saver.transcript("s-1"))).splitlines())
    return [
        (one["role"], one["text"], datetime.fromisoformat(one["at"])) for one in entries if one["kind"] == "message"
    ]


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize(
    "kind",
    [
        langchain_file,
        pytest.param(langchain_table, marks=pytest.mark.sweep),  # it imports SQLAlchemy's mapper
        table_of_ones_own,
        sessions,
        lines,
        openai_export,
    ],
    ids=lambda kind: kind.__name__,
)
def test_a_history_comes_back_as_it_was_after_an_agent_went_on_with_it(
    saver: HoldfastSaver, tmp_path: Path, kind: Callable[[Path], tuple[Iterator[History], Told]]
) -> None:
    found, told = kind(tmp_path)
    assert outcomes(saver, found, user_id="ada") == [("s-1", "added", len(told))]
    assert Conversation(echo_graph(saver), "s-1", "ada").send("And now?").text == "You said: And now?"

    whole = exported(saver)
    assert [(role, text) for role, text, _ in whole[: len(told)]] == [(role, text) for role, text, _ in told]
    assert [at for _, _, at in whole[: len(told)]] == [at or whole[0][2] for _, _, at in told]
    assert [(role, text) for role, text, _ in whole[len(told) :]] == [
        ("human", "And now?"),
        ("ai", "You said: And now?"),
    ]

    path = written(tmp_path, "again.jsonl", "".join(export.jsonl(saver.transcript("s-1"))))
    with open_checkpointer("memory://") as other:
        assert outcomes(other, read_file(path)) == [("s-1", "added", len(whole))]
        assert exported(other) == whole
        assert other.threads.get("s-1").user_id == "ada"


def test_of_an_exported_transcript_a_prompt_keeps_its_place_and_what_was_undone_stays_behind(
    saver: HoldfastSaver, tmp_path: Path
) -> None:
    saver.threads.add("s-1", [("system", "Be kind."), ("user", "Hi"), ("system", "Be brief."), ("user", "Ho")])
    ada = Conversation(echo_graph(saver), "s-1")
    ada.send("Never mind")
    ada.undo()
    path = written(tmp_path, "a.jsonl", "".join(export.jsonl(saver.transcript("s-1"))))
    with open_checkpointer("memory://") as other:
        assert outcomes(other, read_file(path)) == [("s-1", "added", 4)]
        told = [
            (e.data["text"] if e.kind == "event" else e.text)
            for e in other.transcript("s-1")
            if e.seq < 2 or e.kind == "message"
        ]
        assert told == ["Be kind.", "Hi", "Be brief.", "Ho"]
    half = path.read_text("utf-8").rpartition('{"kind":"seal"')[0]
    with pytest.raises(UnreadableHistory, match="its end is missing"):
        list(read_file(written(tmp_path, "half.jsonl", half)))
