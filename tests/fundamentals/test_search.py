"""Messages are found by words, phrases, user and time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast import Conversation, HoldfastSaver, build_graph
from holdfast.errors import InvalidSearch
from tests.support.graph_kit import ScriptedModel, says


def say(checkpointer: HoldfastSaver, thread_id: str, user_id: str, *said: str) -> Conversation:
    model = ScriptedModel(lines=[says("Noted.") for _ in said])
    talk = Conversation(build_graph(model=model, tools=[], checkpointer=checkpointer), thread_id, user_id)
    for text in said:
        talk.send(text)
    return talk


def found(checkpointer: HoldfastSaver, text: str, **where: Any) -> list[str]:
    return [hit.snippet for hit in checkpointer.search.find(text, **where)]


def test_a_search_finds_the_messages_that_have_all_the_words(checkpointer: HoldfastSaver) -> None:
    say(checkpointer, "ada-1", "ada", "Refund the brass calculator", "Refund the cards")
    assert found(checkpointer, "CALCULATOR refund") == ["Refund the brass calculator"]


def test_a_search_knows_phrases_and_words_that_are_not_wanted(checkpointer: HoldfastSaver) -> None:
    say(checkpointer, "ada-1", "ada", "Refund order 1001", "Refund order 1001, please", "The order of 1001 refunds")
    assert found(checkpointer, 'refund "order 1001" -please') == ["Refund order 1001"]


def test_a_hit_says_where_it_is_and_which_words_were_found(checkpointer: HoldfastSaver) -> None:
    say(checkpointer, "ada-1", "ada", "Hello", "Refund order 1001")
    [hit] = checkpointer.search.find("order")
    assert (hit.thread_id, hit.seq, hit.role, hit.user_id) == ("ada-1", 3, "human", "ada")
    assert [hit.snippet[start:end] for start, end in hit.marks] == ["order"]


def test_another_users_messages_are_not_found(checkpointer: HoldfastSaver) -> None:
    say(checkpointer, "ada-1", "ada", "My secret is a brass calculator")
    say(checkpointer, "grace-1", "grace", "I like brass")
    assert len(found(checkpointer, "brass")) == 2  # and both are in the index now
    assert found(checkpointer, "brass", user_id="grace") == ["I like brass"]


def test_a_search_is_about_a_time(checkpointer: HoldfastSaver) -> None:
    say(checkpointer, "ada-1", "ada", "Hello")
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    assert found(checkpointer, "hello", since=hour_ago) == ["Hello"]
    assert found(checkpointer, "hello", until=hour_ago) == []


def test_an_undone_message_is_found_and_a_deleted_one_is_not(checkpointer: HoldfastSaver) -> None:
    ada = say(checkpointer, "ada-1", "ada", "Refund the brass calculator")
    ada.undo()
    assert found(checkpointer, "brass") == ["Refund the brass calculator"]
    ada.delete()
    assert found(checkpointer, "brass") == []


def test_a_search_without_a_word_is_an_error(checkpointer: HoldfastSaver) -> None:
    with pytest.raises(InvalidSearch):
        checkpointer.search.find("-please")
