"""Messages stay on record after an undo, a prune and a restart."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from holdfast import Conversation, HoldfastSaver, build_graph
from holdfast.checkpoints.transcript import export
from holdfast.errors import UnknownThread


@pytest.fixture
def ada(checkpointer: HoldfastSaver) -> Conversation:
    """A conversation of user ada, of one turn."""
    ada = Conversation(build_graph(checkpointer=checkpointer), "ada-1", user_id="ada")
    ada.send("My name is Ada.")
    return ada


def messages(talk: Conversation) -> list[Any]:
    return [entry for entry in talk.transcript() if entry.kind == "message"]


def test_an_undone_message_stays_on_record_and_is_not_live(ada: Conversation) -> None:
    ada.send("Forget that.")
    ada.undo()
    assert [(entry.text, entry.live) for entry in messages(ada) if entry.role == "human"] == [
        ("My name is Ada.", True),
        ("Forget that.", False),
    ]


def test_messages_stay_on_record_after_a_prune_and_a_restart(checkpointer: HoldfastSaver, ada: Conversation) -> None:
    before = [entry.text for entry in messages(ada)]
    checkpointer.prune(["ada-1"])
    ada.restart()
    assert ada.history() == []
    assert [entry.text for entry in messages(ada)] == before


def test_a_tools_result_says_who_approved_it(ada: Conversation) -> None:
    ada.send("Please refund order 1001.")
    ada.approve(by="Grace")
    [approved] = [entry for entry in messages(ada) if entry.approval]
    assert approved.text.startswith("Order 1001 is refunded")
    assert (approved.approval["decision"], approved.approval["by"]) == ("approve", "Grace")


def test_the_prompt_in_force_is_on_record(checkpointer: HoldfastSaver, ada: Conversation) -> None:
    agent = build_graph(prompt="Be brief.", checkpointer=checkpointer)
    Conversation(agent, "ada-1").send("Hello")
    *_, newest = [entry for entry in ada.transcript() if entry.kind == "event"]
    assert "Be brief." in str(newest)


def test_the_last_entries_are_read_alone(ada: Conversation) -> None:
    ada.send("What is my name?")
    assert [entry.text for entry in ada.transcript().last(1) if entry.kind == "message"] == ["Your name is Ada."]


def test_the_transcript_is_a_plain_table_in_sql(ada: Conversation) -> None:
    with sqlite3.connect("agent.db") as database:
        rows = database.execute(
            "SELECT user_id, thread_id, role, content FROM holdfast_transcript ORDER BY seq, role"
        ).fetchall()
    database.close()
    assert rows[0] == ("ada", "ada-1", "human", "My name is Ada.")
    assert [role for _, _, role, _ in rows] == ["human", "system", "ai"]  # with the prompt that the model was given


def test_a_transcript_is_exported_for_people_and_for_programs(ada: Conversation) -> None:
    page = "".join(export.html(ada.transcript()))
    assert "</html>\n" in page
    assert "My name is Ada." in page
    assert "My name is Ada." in "".join(export.markdown(ada.transcript()))
    lines = [json.loads(line) for line in "".join(export.jsonl(ada.transcript())).splitlines()]
    assert "My name is Ada." in [line.get("text") for line in lines]


def test_an_exported_file_is_checked_by_itself_and_against_the_database(
    checkpointer: HoldfastSaver, ada: Conversation, folder: Path
) -> None:
    page = folder / "ada-1.html"
    page.write_text("".join(export.html(ada.transcript())), "utf-8", newline="")
    ada.send("What is my name?")
    found = export.verify(page, checkpointer)
    assert (found.is_intact, found.is_same, found.added) == (True, True, 2)

    page.write_text(page.read_text("utf-8").replace("My name is Ada.", "My name is Eve."), "utf-8", newline="")
    found = export.verify(page, checkpointer)
    assert (found.is_intact, found.is_same) == (False, False)
    assert found.differences[0].number == "1"


def test_a_deleted_thread_takes_its_transcript_along(checkpointer: HoldfastSaver, ada: Conversation) -> None:
    ada.delete()
    with pytest.raises(UnknownThread):
        list(checkpointer.transcript("ada-1"))
