"""An agent over another checkpointer, opened by its URL: pauses work, and what is missing is said in one error."""

from __future__ import annotations

import sqlite3
import sys
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from holdfast import Conversation, build_graph, once, open_checkpointer
from holdfast.errors import DriverMissing, InvalidURL, NeedsOwnDatabase
from holdfast.savers import UnusableSaver, by_url, copy_threads, listed_threads, open_saver
from holdfast.worker import Worker
from tests.support.graph_kit import Desk, ScriptedModel, Talk, calls, says
from tests.support.stand_in import URL, BlockingSaver, stand_in
from tests.support.world import World


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch)


def refunds(saver: Any, desk: Desk) -> Conversation:
    model = ScriptedModel(lines=[calls(("refund", {"order_id": 1})), says("done")])
    return Conversation(build_graph(model=model, tools=desk.tools(), checkpointer=saver), "ada-1", "ada")


@pytest.mark.usefixtures("server")
def test_an_approval_pauses_and_goes_on() -> None:
    desk = Desk()
    with open_saver(URL) as saver:
        ada = refunds(saver, desk)
        [asked] = ada.send("Refund order 1").pending
        assert desk.refunded == []
        assert ada.answer({"type": "approve"}, asked.interrupt_id).text == "done"
    assert desk.refunded == [1]


@pytest.mark.usefixtures("server")
async def test_the_same_on_an_event_loop_though_the_checkpointer_only_blocks() -> None:
    desk = Desk()
    with open_saver(URL) as saver:
        ada = refunds(saver, desk)
        [asked] = (await ada.asend("Refund order 1")).pending
        assert (await ada.aanswer({"type": "approve"}, asked.interrupt_id)).text == "done"
        assert [one async for one in saver.alist(None, limit=1)]
        await saver.adelete_thread("ada-1")
        assert listed_threads(saver) == []
    assert desk.refunded == [1]


@pytest.mark.usefixtures("server")
def test_what_is_missing_is_one_error_with_the_way_out() -> None:
    with open_saver(URL) as saver:
        ada = refunds(saver, Desk())
        for refused in (ada.undo, ada.transcript, lambda: Worker(ada._agent)):
            with pytest.raises(
                NeedsOwnDatabase,
                match=r"needs an agent with Holdfast's checkpointer; found BlockingSaver, which has no ledger.*"
                r"holdfast db copy SOURCE sqlite:///chat.db.*checkpointer=open_checkpointer",
            ):
                refused()
    with pytest.raises(
        InvalidURL, match=r"without the ledger.*holdfast db copy redis://ada:\*\*\*@.*open_saver"
    ) as raised:
        open_checkpointer(URL)
    assert "s3cr3t" not in str(raised.value)


def test_a_tool_that_runs_once_is_refused_without_a_ledger_and_runs_over_a_checkpointer_in_memory(world: World) -> None:
    tool = once(world.tool())
    with sqlite3.connect(":memory:", check_same_thread=False) as connection:
        saver = SqliteSaver(connection)
        with pytest.raises(NeedsOwnDatabase, match="The tool pay, which is declared @once, needs an agent with"):
            build_graph(model=ScriptedModel(lines=[]), tools=[tool], checkpointer=saver)
        # The checkpointer of a run may be another one than that of the graph.
        talk = Talk(None, calls(("pay", {"order_id": 1})), says("done"), tools=[tool])
        talk.agent.checkpointer = saver
        with pytest.raises(NeedsOwnDatabase):
            talk.say("pay")
    connection.close()
    talk = Talk(InMemorySaver(), calls(("pay", {"order_id": 1})), says("done"), tools=[tool])
    talk.say("pay")
    assert talk.answers[0].content == "order 1 is paid"


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langgraph.checkpoint.redis", None)
    with pytest.raises(
        DriverMissing, match=r"redis://ada:\*\*\*@.* needs packages that are not installed.*pip install"
    ):
        open_saver(URL).__enter__()


def test_a_checkpointer_that_lists_no_threads_says_that_they_have_to_be_named() -> None:
    saver = by_url._completed(BlockingSaver, lists_threads=False)()
    refunds(saver, Desk()).send("Hello")
    with pytest.raises(UnusableSaver, match="--thread ID"):
        listed_threads(saver)
    with open_checkpointer("memory://") as target:
        assert [one.problem for one in copy_threads(saver, target, ["ada-1"])] == [None]


@pytest.mark.parametrize(
    "url", ["dynamodb://", "dynamodb://chat?table=a", "dynamodb://chat?ttl=soon", "dynamodb://a/b"]
)
def test_the_url_of_a_table_is_checked(url: str) -> None:
    with pytest.raises(InvalidURL, match="A DynamoDB URL names a table"):
        open_saver(url).__enter__()
