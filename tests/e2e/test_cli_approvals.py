"""`holdfast approvals`: what waits, over all conversations, and what becomes of it."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest
from langchain_core.tools import tool

from holdfast.checkpoints import open_checkpointer
from holdfast.graph import build_graph, needs_approval
from holdfast.graph.shop import Shop
from tests.support.cli_kit import Cli
from tests.support.graph_kit import ScriptedModel, calls
from tests.support.stub_openai import KEY, refuses, says, stub_openai

ASKED = "Please refund order 1001."


@pytest.mark.sweep
def test_every_decision_is_taken_wherever_conversations_live(cli: Cli, url: str) -> None:
    at = f"--database={url}"
    requests = "Refund order 1001. Refund order 1002. Refund order 1003. Refund order 1004."
    assert cli("chat", "--thread=ada-1", at, said=requests.encode())[0] == 0
    _, out, _ = cli("approvals", "list", at, "--json")
    approve, edit, reject, respond = (item["interrupt_id"] for item in json.loads(out))
    assert cli("approvals", "approve", approve, at)[0] == 0
    assert cli("approvals", "edit", edit, '--args={"order_id": 1005}', at)[0] == 0
    assert cli("approvals", "reject", reject, at)[0] == 0
    code, out, _ = cli("approvals", "respond", respond, "--message=Done by hand.", at, "--json")
    assert (code, json.loads(out)["waiting"]) == (0, [])
    assert Shop(cli.folder / "shop.db").count("refunds") == 2
    with open_checkpointer(url) as saver:
        assert saver.interrupts.waiting() == saver.interrupts.todo() == []


@pytest.mark.sweep
def test_an_id_may_be_shortened_while_it_is_clear_which_call_is_meant(cli: Cli) -> None:
    for thread_id, text in [("a", "Refund order 1001. Refund order 1002."), ("b", "Refund order 1003.")]:
        assert cli("chat", f"--thread={thread_id}", said=text.encode())[0] == 0
    _, out, _ = cli("approvals", "list", "--json")
    ids = {item["args"]["order_id"]: item["interrupt_id"] for item in json.loads(out)}
    assert list(ids) == [1003, 1001, 1002]
    assert "3 calls match. Give more of the id, or --thread. Waiting: " in cli.refused("approvals", "approve")
    assert "2 calls match." in cli.refused("approvals", "approve", "--thread=a")
    assert "No call waits under the id 'nonsense'" in cli.refused("approvals", "approve", "nonsense")
    assert "No call waits under" in cli.refused("approvals", "approve", ids[1003], "--thread=a")

    code, out, err = cli("approvals", "show", ids[1003][:10])
    assert (code, err) == (0, "")
    assert "you    Refund order 1003." in out
    assert f"holdfast approvals approve {ids[1003][:8]}" in out

    code, _, err = cli("approvals", "reject", ids[1001][:10], "--reason=Too late")
    assert code == 0
    assert "Waiting for a decision: Refund order 1002 in full?" in err
    assert "order_id" in cli.refused("approvals", "edit", ids[1002], '--args={"order_id": "blue"}')
    code, out, _ = cli("approvals", "edit", "--thread=a", '--args={"order_id": 1004}', "--json")
    assert (code, json.loads(out)["decision"], json.loads(out)["waiting"]) == (0, "edit", [])
    assert "has answered this already with 'edit'" in cli.refused("approvals", "approve", ids[1002])
    code, out, _ = cli("approvals", "respond", "--message=Done by hand.")
    assert (code, "Done by hand." in out) == (0, True)
    assert Shop(cli.folder / "shop.db").count("refunds") == 1
    assert cli("approvals", "list")[1] == "No call waits for a decision.\n"


@pytest.mark.sweep
def test_looking_needs_no_key(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("chat", said=ASKED.encode())
    monkeypatch.setenv("HOLDFAST_MODEL", "openai:gpt-5")
    assert cli("approvals", "list")[0] == cli("approvals", "show")[0] == 0
    assert "OPENAI_API_KEY" in cli.refused("approvals", "approve")
    monkeypatch.delenv("HOLDFAST_MODEL")
    assert cli("approvals", "approve")[0] == 0


@pytest.mark.sweep
def test_a_decision_is_kept_when_the_model_fails_after_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("chat", "--thread=ada-1", said=ASKED.encode())
    with stub_openai(refuses(429), says("It is refunded.")) as endpoint:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        monkeypatch.setenv("HOLDFAST_MODEL_RETRIES", "0")
        line = cli.refused("approvals", "approve", "--model=openai:gpt-stub", code=1)
        assert "takes no more requests for now (429)" in line
        assert line.endswith(
            "The decision is saved. To continue: holdfast chat --thread ada-1 --retry --model openai:gpt-stub"
        )
        assert KEY not in line
        assert "Nothing waits now" in cli.refused("approvals", "approve", "--model=offline")
        code, out, _ = cli("chat", "--thread=ada-1", "--retry", "--model=openai:gpt-stub")
        assert (code, out) == (0, "It is refunded.\n")
    assert Shop(cli.folder / "shop.db").count("refunds") == 1


def test_a_line_from_a_pipe_closes_what_waited_and_says_so(cli: Cli) -> None:
    cli("chat", "--thread=ada-1", said=ASKED.encode())
    code, _, err = cli("chat", "--thread=ada-1", said=b"What is my name?")
    assert code == 0
    assert (
        err.splitlines()[-1]
        == "Closed and not run, because you sent a message instead of a decision: Refund order 1001 in full"
    )
    assert cli("approvals", "list")[1] == "No call waits for a decision.\n"


def test_who_decides_is_not_whose_conversation_it_is(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "grace")
    cli("chat", "--thread=ada-1", "--user=ada", said=ASKED.encode())
    cli("approvals", "approve")
    with open_checkpointer("sqlite:///holdfast.db") as saver:
        found = saver.get_tuple({"configurable": {"thread_id": "ada-1"}})
    assert found is not None
    assert found.metadata.get("user_id") == "ada"
    [decided] = [m for m in found.checkpoint["channel_values"]["messages"] if getattr(m, "name", "") == "refund_order"]
    assert decided.additional_kwargs["approval"]["by"] == "grace"


@pytest.mark.sweep
def test_a_chat_of_another_user_is_refused_in_one_line_and_nothing_is_said(cli: Cli) -> None:
    cli("chat", "--thread=ada-1", "--user=ada", said=ASKED.encode())
    for user in ("bob", ""):
        for more in ((), ("--json",), ("--retry",)):
            line = cli.refused("chat", "--thread=ada-1", f"--user={user}", *more, said=b"What did Ada ask?")
            assert line.startswith(f"There is no thread 'ada-1' of user {user!r} in this database")
    assert "Refund order 1001" in cli("approvals", "list")[1]
    assert cli("chat", "--thread=ada-1", "--user=ada", said=b"Hello")[0] == 0


@pytest.mark.sweep
def test_a_conversation_goes_on_under_its_owners_name_by_whichever_user_spoke_last(cli: Cli) -> None:
    cli("chat", "--thread=ada-1", "--user=ada", said=ASKED.encode())
    with open_checkpointer("sqlite:///holdfast.db") as saver:
        agent = build_graph(checkpointer=saver)
        said: Any = {"messages": [("user", "This is Grace.")]}
        agent.invoke(said, {"configurable": {"thread_id": "ada-1", "user_id": "grace"}})
    code, _, err = cli("chat", "--thread=ada-1", said=ASKED.encode())
    assert (code, "Waiting for a decision" in err) == (0, True)
    assert cli("approvals", "approve")[0] == 0


@pytest.mark.sweep
def test_one_question_that_cannot_be_read_does_not_hide_the_others(cli: Cli) -> None:
    for thread_id in ("a", "b"):
        cli("chat", f"--thread={thread_id}", said=ASKED.encode())
    with sqlite3.connect(cli.folder / "holdfast.db") as database:
        database.execute("UPDATE writes SET value = x'c1' WHERE thread_id = 'b' AND channel = '__interrupt__'")
    database.close()
    code, out, err = cli("approvals", "list")
    assert (code, "thread a" in out) == (0, True)
    assert "Thread 'b' is damaged" in err
    assert "Thread 'b' is damaged" in cli.refused("chat", "--thread=b", said=b"Hello", code=1)


def test_a_decision_recorded_by_a_process_that_died_is_carried_out(cli: Cli) -> None:
    for name in ("a", "b"):
        cli("chat", f"--thread={name}", "--user=ada", said=b"Please refund order 1001. Please refund order 1002.")
    with open_checkpointer("sqlite:///holdfast.db") as saver:
        for asked in saver.interrupts.waiting():
            if asked.value["args"] == {"order_id": 1001}:
                saver.interrupts.answer(asked.thread_id, asked.interrupt_id, {"type": "approve"}, by="Grace")
    _, out, _ = cli("approvals", "list")
    assert "1001" not in out
    assert cli.refused("approvals", "approve", "zzz").startswith("No call waits under")
    code, out, _ = cli("approvals", "resume", "--json")
    left = sorted((item["thread_id"], len(item["waiting"])) for item in json.loads(out))  # both in one millisecond
    assert (code, left) == (0, [("a", 1), ("b", 1)])
    assert Shop(cli.folder / "shop.db").count("refunds") == 1, "the shop refunds an order once"
    assert cli("approvals", "resume")[1] == "No decision is left to carry out.\n"


def test_a_request_of_another_agent_is_left_to_that_agent(cli: Cli) -> None:
    with open_checkpointer("sqlite:///holdfast.db") as saver:

        @needs_approval
        @tool
        def delete_account(customer: str) -> str:
            """Delete an account."""
            raise AssertionError("not here")

        lines = [calls(("delete_account", {"customer": "ada"}))]
        build_graph(model=ScriptedModel(lines=lines), tools=[delete_account], checkpointer=saver).invoke(
            {"messages": [("user", "Delete me")]}, {"configurable": {"thread_id": "own"}}
        )
        [asked] = saver.interrupts.waiting()
        assert "Thread own was begun by another agent" in cli.refused("approvals", "approve")
        assert "--agent module:name" in cli.refused("approvals", "reject")
        saver.interrupts.answer("own", asked.interrupt_id, {"type": "approve"}, by="Grace")
        code, _, err = cli("approvals", "resume")
        assert (code, "Thread own: Thread own was begun by another agent" in err) == (1, True)
        assert [found.by for found in saver.interrupts.todo()] == ["Grace"]


@pytest.mark.sweep
def test_a_call_without_a_decision_in_time_is_closed(cli: Cli) -> None:
    cli("chat", "--thread=a", said=ASKED.encode())
    assert cli("approvals", "expire")[1] == "No call has expired.\n"
    with sqlite3.connect(cli.folder / "holdfast.db") as database:
        database.execute("UPDATE holdfast_interrupts SET expires_at = asked_at")
    database.close()
    assert cli("approvals", "list")[1] == "No call waits for a decision.\n"
    code, out, _ = cli("approvals", "expire")
    assert (code, out.startswith("thread a: ")) == (0, True)
    assert Shop(cli.folder / "shop.db").count("refunds") == 0
    cli.works("a2")


def test_a_second_decision_is_told_who_was_first(cli: Cli) -> None:
    cli("chat", "--thread=a", said=ASKED.encode())
    _, out, _ = cli("approvals", "list", "--json")
    [which] = [item["interrupt_id"] for item in json.loads(out)]
    assert cli("approvals", "reject", which, "--by=Grace")[0] == 0
    line = cli.refused("approvals", "approve", which)
    assert line.startswith("Grace has answered this already with 'reject', at 20"), line
    assert line.endswith("Your answer was not taken. Nothing waits now.")


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("known", ["--run-again", "--happened=The bank says so.", "--skip"])
def test_a_person_settles_a_call_in_doubt(cli: Cli, monkeypatch: pytest.MonkeyPatch, known: str) -> None:
    def refund_and_fail(shop: Shop, *given: object) -> str:
        refund(shop, *given)
        raise ConnectionError("The line to the shop was cut.")

    refund = Shop.refund
    with monkeypatch.context() as patch:
        patch.setattr(Shop, "refund", refund_and_fail)
        cli("chat", "--thread=ada-1", said=ASKED.encode())
        code, _, err = cli("approvals", "approve")
    assert code == 0
    assert "Did refund_order(order_id=1001) take effect (it failed, and its error does not say)?" in err
    assert "settle" in err
    _, out, _ = cli("approvals", "list", "--json")
    [doubt] = json.loads(out)
    assert doubt["kind"] == "doubt"
    assert "settle" in cli("approvals", "show")[1]
    assert "It can be answered with" in cli.refused("approvals", "approve")
    assert "Needed: one of --run-again" in cli.refused("approvals", "settle")
    assert "Needed: one of --run-again" in cli.refused("approvals", "settle", "--skip", "--run-again")
    code, out, _ = cli("approvals", "settle", doubt["interrupt_id"][:8], known, "--by=Grace")
    assert code == 0
    assert {"--run-again": "Order 1001 is refunded", "--skip": "Not run"}.get(known, "The bank says so.") in out
    assert Shop(cli.folder / "shop.db").count("refunds") == 1, "the shop knew the call by its key"
    assert cli("approvals", "list")[1] == "No call waits for a decision.\n"
