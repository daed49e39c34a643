"""Threads are listed, renamed, forked, undone, restarted, copied and deleted."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import Conversation, HoldfastSaver, build_graph
from holdfast.errors import NothingToUndo, UnknownThread


@pytest.fixture
def agent(checkpointer: HoldfastSaver) -> Any:
    return build_graph(checkpointer=checkpointer)


@pytest.fixture
def ada(agent: Any) -> Conversation:
    """A conversation of user ada, of two turns."""
    ada = Conversation(agent, "ada-1", user_id="ada")
    ada.send("My name is Ada.")
    ada.send("What is my name?")
    return ada


def said(talk: Conversation) -> list[str]:
    return [message.text for message in talk.history() if message.type == "human"]


def test_a_users_threads_are_listed_with_what_they_do(
    checkpointer: HoldfastSaver, agent: Any, ada: Conversation
) -> None:
    Conversation(agent, "ada-2", user_id="ada").send("Please refund order 1001.")
    Conversation(agent, "grace-1", user_id="grace").send("Hello")
    listed = checkpointer.threads.list(user_id="ada").threads
    assert [(thread.thread_id, thread.status) for thread in listed] == [("ada-2", "paused"), ("ada-1", "idle")]
    assert [thread.thread_id for thread in checkpointer.threads.list(status="paused").threads] == ["ada-2"]


def test_a_list_comes_page_by_page(checkpointer: HoldfastSaver, agent: Any) -> None:
    for number in range(3):
        Conversation(agent, f"ada-{number}").send("Hello")
    first = checkpointer.threads.list(limit=2)
    second = checkpointer.threads.list(limit=2, cursor=first.cursor)
    assert [thread.thread_id for thread in [*first.threads, *second.threads]] == ["ada-2", "ada-1", "ada-0"]


def test_a_thread_gets_a_title(checkpointer: HoldfastSaver, ada: Conversation) -> None:
    assert checkpointer.threads.get(ada.thread_id).title == "My name is Ada."
    checkpointer.threads.rename(ada.thread_id, "Names")
    assert checkpointer.threads.get(ada.thread_id).title == "Names"


def test_the_last_turn_is_undone(ada: Conversation) -> None:
    ada.undo()
    assert said(ada) == ["My name is Ada."]
    ada.undo()
    with pytest.raises(NothingToUndo):
        ada.undo()


def test_a_restarted_thread_begins_anew(ada: Conversation) -> None:
    ada.restart()
    assert ada.history() == []
    assert "Ada" not in ada.send("What is my name?").text


def test_a_fork_goes_its_own_way_from_any_moment(ada: Conversation) -> None:
    fork = ada.fork("ada-2", message_id=ada.history()[1].id)
    fork.send("My name is Augusta.")
    assert said(fork) == ["My name is Ada.", "My name is Augusta."]
    assert said(ada) == ["My name is Ada.", "What is my name?"]


def test_a_copy_has_everything_and_is_independent(checkpointer: HoldfastSaver, agent: Any, ada: Conversation) -> None:
    checkpointer.threads.copy("ada-1", "ada-2")
    ada.delete()
    assert said(Conversation(agent, "ada-2")) == ["My name is Ada.", "What is my name?"]


def test_a_deleted_thread_is_gone(checkpointer: HoldfastSaver, ada: Conversation) -> None:
    ada.delete()
    assert checkpointer.threads.list().threads == []
    with pytest.raises(UnknownThread):
        checkpointer.threads.get("ada-1")


def test_another_users_thread_is_as_unknown_as_one_that_does_not_exist(
    checkpointer: HoldfastSaver, ada: Conversation
) -> None:
    threads = checkpointer.threads
    for method in (threads.get, threads.restart, threads.undo, threads.delete, threads.copy):
        with pytest.raises(UnknownThread):
            method(ada.thread_id, user_id="mallory")
    assert len(said(ada)) == 2


def test_a_pruned_thread_keeps_its_newest_state(checkpointer: HoldfastSaver, agent: Any, ada: Conversation) -> None:
    thread: Any = {"configurable": {"thread_id": "ada-1"}}
    before = ada.history()
    checkpointer.prune(["ada-1"])
    assert len(list(agent.get_state_history(thread))) == 1
    assert ada.history() == before
