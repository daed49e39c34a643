"""Agents run over the checkpointers of other databases, on real servers, and their conversations are copied."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from holdfast import Conversation, build_graph, open_checkpointer
from holdfast.errors import DatabaseUnavailable
from holdfast.savers import UnusableSaver, copy_threads, listed_threads, open_saver
from tests.support import other_savers
from tests.support.graph_kit import Desk, ScriptedModel, calls, says

pytestmark = [
    pytest.mark.sweep,
    # They are told by the packages of others.
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture(scope="module", params=other_savers.KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    if why := other_savers.missing(request.param):
        pytest.skip(why)
    with other_savers.served(request.param) as url:
        yield url


@pytest.fixture
def thread_id() -> str:
    return str(uuid.uuid4())


def talk(saver: Any, desk: Desk, thread_id: str, *lines: AIMessage) -> Conversation:
    agent = build_graph(model=ScriptedModel(lines=list(lines)), tools=desk.tools(), checkpointer=saver)
    return Conversation(agent, thread_id, "ada")


REFUND = calls(("look", {"order_id": 1}), ("refund", {"order_id": 1}))


def test_an_approval_pauses_and_is_given_over_another_connection(server: str, thread_id: str) -> None:
    desk = Desk()
    with open_saver(server) as saver:
        [asked] = talk(saver, desk, thread_id, REFUND).send("Refund order 1").pending
    assert desk.refunded == []
    with open_saver(server) as saver:
        ada = talk(saver, desk, thread_id, says("done"), says("welcome"))
        assert [one.interrupt_id for one in ada.pending()] == [asked.interrupt_id]
        assert ada.answer({"type": "approve"}, asked.interrupt_id, by="Grace").text == "done"
        assert ada.send("Thanks").text == "welcome"
        kinds = [type(message) for message in ada.history()]
    assert kinds == [HumanMessage, AIMessage, ToolMessage, ToolMessage, AIMessage, HumanMessage, AIMessage]
    assert (desk.looked_up, desk.refunded) == ([1], [1])


async def test_the_same_on_an_event_loop(server: str, thread_id: str) -> None:
    desk = Desk()
    with open_saver(server) as saver:
        ada = talk(saver, desk, thread_id, REFUND, says("done"))
        [asked] = (await ada.asend("Refund order 1")).pending
        assert (await ada.aanswer({"type": "approve"}, asked.interrupt_id)).text == "done"
        states = [state async for state in ada._agent.aget_state_history({"configurable": {"thread_id": thread_id}})]
    assert len(states) > 3
    assert desk.refunded == [1]


def test_a_conversation_may_be_longer_than_one_item_of_the_database(server: str, thread_id: str) -> None:
    text = "".join(map(str, range(100_000)))  # 0.5 MB
    with open_saver(server) as saver:
        talk(saver, Desk(), thread_id, says(text)).send(text)
    with open_saver(server) as saver:
        assert [message.text for message in talk(saver, Desk(), thread_id).history()] == [text, text]


def test_a_waiting_thread_is_copied_and_goes_on_in_holdfasts_database(
    server: str, thread_id: str, sqlite_url: str
) -> None:
    desk = Desk()
    with open_saver(server) as saver, open_checkpointer(sqlite_url) as target:
        [asked] = talk(saver, desk, thread_id, REFUND).send("Refund order 1").pending
        assert [(one.thread_id, one.problem) for one in copy_threads(saver, target, [thread_id])] == [(thread_id, None)]
        [waiting] = target.interrupts.waiting()
        assert waiting.interrupt_id == asked.interrupt_id
        ada = talk(target, desk, thread_id, says("done"))
        assert ada.answer({"type": "approve"}, asked.interrupt_id).text == "done"
    assert desk.refunded == [1]


def test_threads_are_listed_or_the_error_says_that_they_have_to_be_named(server: str, thread_id: str) -> None:
    with open_saver(server) as saver:
        talk(saver, Desk(), thread_id, says("hello")).send("Hello")
        if server.startswith(("valkey://", "dynamodb://")):
            with pytest.raises(UnusableSaver, match="finds only threads that are named, and lists none"):
                listed_threads(saver)
        else:
            assert thread_id in listed_threads(saver)


def test_a_connection_that_the_server_has_ended_is_made_anew(server: str, thread_id: str) -> None:
    if not server.startswith("mysql://"):
        pytest.skip("the other clients do this themselves")
    with open_saver(server) as saver, open_saver(server) as other:
        [id_] = _rows(saver, "SELECT CONNECTION_ID() AS id")
        _rows(other, f"KILL {id_['id']}")
        with pytest.raises(Exception, match=r"Lost connection|gone away|Connection was killed"):
            talk(saver, Desk(), thread_id, says("hello")).send("Hello")
        assert talk(saver, Desk(), thread_id, says("hello")).send("Hello").text == "hello"


def _rows(saver: Any, statement: str) -> list[Any]:
    with saver._cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def test_a_password_that_is_refused_is_not_shown(server: str) -> None:
    if not server.startswith("mysql://"):
        pytest.skip("the other servers take any user")
    with pytest.raises(DatabaseUnavailable, match=r"mysql://ada:\*\*\*@.* cannot be opened: .*Access denied") as raised:
        open_saver(server.replace("geheim", "s3cr3t")).__enter__()
    assert "s3cr3t" not in str(raised.value)
