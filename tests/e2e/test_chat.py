"""`holdfast chat` on a terminal, as people use it; Ctrl-C and kill -9 at bad moments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import ToolMessage

from tests.support import stub_openai as stub
from tests.support.cli_kit import Place, at, run
from tests.support.stub_openai import KEY, breaks_off, refuses, says
from tests.support.terminal import CTRL_C, CTRL_D, CTRL_U, Terminal, terminal

ASKED = "My name is Ada. Please refund order 1001."
QUESTION = r"\[l\]ater\? "
ASKS = r"Refund order 1001 in full\?"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def chat(place: Place, *arguments: str, **more: Any) -> Any:
    return terminal("chat", "--thread", "ada-1", *arguments, cwd=place.folder, **more)


def leave(talk: Terminal) -> None:
    """Leave at the prompt, and be told how to come back."""
    talk.asks()
    talk.type(CTRL_D)
    talk.expect(r"saved in thread ada-1\. To continue: holdfast chat --thread ada-1")
    assert talk.ends() == 0


@pytest.mark.parametrize("anew", [False, pytest.param(True, marks=pytest.mark.sweep)], ids=["forked", "anew"])
def test_talk_approve_in_place_and_come_back(place: Place, anew: bool) -> None:
    with chat(place, "--by", "Grace", anew=anew) as talk:
        talk.expect(r"Thread ada-1 in sqlite:///holdfast.db\n.*Model: offline, simple rules")
        talk.says(ASKED)
        talk.expect(r"agent  \(Offline stand-in.*I look up order 1001\.")
        talk.expect(r'-> find_order {"order_id": 1001}\n  <- Order 1001: Ada')
        talk.expect(ASKS)
        talk.expect(r'refund_order {"order_id": 1001}')
        talk.says("a", after=QUESTION)
        talk.expect(r"<- Order 1001 is refunded")
        talk.says("/nonsense")
        talk.expect(r"There is no command /nonsense")
        talk.says("/help")
        talk.expect(r"/retry")
        leave(talk)
    assert place.refunds == 1
    [decided] = [m for m in place.history() if isinstance(m, ToolMessage) and m.name == "refund_order"]
    assert decided.additional_kwargs["approval"]["by"] == "Grace"

    with chat(place) as talk:
        talk.expect(rf"you    {ASKED}")
        talk.expect(r"agent  Order 1001 is refunded")
        talk.says("What is my name?")
        talk.expect(r"agent  Your name is Ada\.")
        talk.says("/retry")
        talk.expect("There is nothing to retry in thread 'ada-1': the last turn has ended")
        talk.says("/decide")
        talk.expect("No call waits for a decision")
        talk.says("/quit")
        talk.expect("saved in thread ada-1")
        assert talk.ends() == 0


@pytest.mark.sweep
def test_edit_in_place_until_it_fits(place: Place) -> None:
    with chat(place) as talk:
        talk.says(ASKED)
        talk.says("?", after=QUESTION)
        talk.says("e", after=QUESTION)
        # What is there already can be edited: the last character is taken away, which leaves no JSON.
        talk.expect(r'go back\)> {"order_id": 1001}')
        talk.type("\x7f\r")
        talk.expect("cannot be used: a comma or a closing bracket is missing, after '{\"order_id\": 1001'")
        talk.expect(r'go back\)> {"order_id": 1001')
        talk.type(f"{CTRL_U}[1002]\r")
        talk.expect("cannot be used: this is not an object")
        talk.expect(r"go back\)> \[1002\]")  # what is typed before that is not for the line editor
        talk.type(f'{CTRL_U}{{"order_id": "the blue one"}}\r')
        talk.expect("This does not fit: 'order_id' is 'the blue one', and has to be a whole number. Nothing was saved")
        talk.expect(ASKS)
        talk.expect(r'go back\)> {"order_id": "the blue one"}')
        talk.type(f'{CTRL_U}{{"order_id": 1002, "reason": "Zoë’s wish"}}\r')
        talk.expect("Order 1002 is refunded")
        leave(talk)
    assert place.refunds == 1


@pytest.mark.sweep
def test_reject_respond_and_later(place: Place) -> None:
    with chat(place) as talk:
        talk.says(ASKED)
        talk.says("reject", after=QUESTION)
        talk.says("Too late.", after="optional.> ")
        talk.expect("<- .*Too late")
        talk.says("Refund order 1002")
        talk.says("s", after=QUESTION)
        talk.says("", after="in place of the tool.s> ")
        talk.says("e", after=QUESTION)
        talk.says(CTRL_U, after=r"go back\)> {")
        talk.says("s", after=QUESTION)
        talk.says("Done by hand.", after="in place of the tool.s> ")
        talk.expect("<- .*Done by hand")
        talk.says("Refund order 1003")
        talk.says("l", after=QUESTION)
        talk.expect(r"elsewhere: holdfast approvals approve \w{8} --thread ada-1")
        talk.says("/decide")
        talk.says("l", after=QUESTION)
        leave(talk)
    assert place.refunds == 0
    listed = run("approvals", "list", cwd=place.folder)
    assert "Refund order 1003 in full?" in listed.stdout


@pytest.mark.sweep
def test_a_pending_approval_outlives_kill_9_and_is_asked_first(place: Place) -> None:
    with chat(place) as talk:
        talk.says(ASKED)
        talk.expect(QUESTION)
        talk.kill()
    with chat(place) as talk:
        talk.expect(ASKS)
        talk.says("approve", after=QUESTION)
        talk.expect("is refunded")
        leave(talk)
    assert place.refunds == 1


@pytest.mark.sweep
def test_an_approval_given_elsewhere_meanwhile_is_not_given_twice(place: Place) -> None:
    with chat(place) as talk:
        talk.says(ASKED)
        talk.expect(QUESTION)
        given = run("approvals", "approve", "--json", cwd=place.folder)
        assert json.loads(given.stdout)["text"].startswith("Order 1001 is refunded")
        talk.type("a\r")
        talk.expect(
            "has answered this already with 'approve', at 20.* UTC. Your answer was not taken. Nothing waits now."
        )
        leave(talk)
    assert place.refunds == 1


@pytest.mark.sweep
def test_ctrl_c_discards_what_is_typed_and_decides_nothing(place: Place) -> None:
    with chat(place) as talk:
        talk.asks()
        talk.type("never sent")
        talk.expect("never sent")
        talk.type(CTRL_C)
        talk.expect("Nothing was sent. Ctrl-D or /quit leaves.")
        talk.says(ASKED)
        talk.asks(QUESTION)
        talk.type(CTRL_C)
        talk.expect("It waits. To decide later: /decide here")
        talk.says("/decide")
        talk.says("y", after=QUESTION)
        talk.expect("is refunded")
        leave(talk)
    assert place.said() == [ASKED]
    assert place.refunds == 1


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("after", "seen"),
    [("one two ", "agent  one two"), pytest.param("", "Still waiting", marks=pytest.mark.sweep)],
)
def test_ctrl_c_while_the_model_hangs_stops_the_answer_and_not_the_chat(place: Place, after: str, seen: str) -> None:
    with stub.stub_openai(stub.hangs(after), says("Here I am.")) as endpoint:  # noqa: SIM117 - it has to be there first
        with chat(place, changed={"holdfast.cli.chat.session._PATIENCE": 0.3}, **at(endpoint)) as talk:
            talk.says("Hello?")
            talk.expect(seen)
            endpoint.wait_for_request()
            talk.type(CTRL_C)
            talk.expect(r"Stopped\. Your message is saved\. /retry goes on")
            talk.says("/retry")
            talk.expect(r"agent  Here I am\.")
            leave(talk)
            assert "Traceback" not in talk.seen
    assert place.said() == ["Hello?"]


@pytest.mark.sweep
def test_after_a_stopped_answer_another_message_is_answered(place: Place) -> None:
    with stub.stub_openai(stub.hangs("one two "), says("Here I am.")) as endpoint:  # noqa: SIM117 - as above
        with chat(place, **at(endpoint)) as talk:
            talk.says("Hello?")
            talk.expect("agent  one two")
            talk.type(CTRL_C)
            talk.expect(r"Stopped\.")
            talk.says("Are you there?")
            talk.expect(r"agent  Here I am\.")
            leave(talk)
    assert place.said() == ["Hello?", "Are you there?"]


@pytest.mark.sweep
def test_a_model_that_fails_is_one_line_and_retry_goes_on(place: Place) -> None:
    script = [refuses(500), breaks_off("one two", rudely=True), says("Here I am.")]
    with stub.stub_openai(*script) as endpoint:  # noqa: SIM117 - the endpoint has to be there first
        with chat(place, **at(endpoint)) as talk:
            talk.expect(r"Model: openai:gpt-stub")
            talk.says("Hello?")
            talk.expect(
                r"failed \(500\): Refused with 500; the key was \*\*\*\. Your message is saved\. To try again: /retry\n"
            )
            talk.says("/retry")
            talk.expect(r"agent  one two\n.*broke the connection off")
            talk.says("/retry")
            talk.expect(r"agent  Here I am\.\n")
            leave(talk)
            assert KEY not in talk.seen
            assert "Traceback" not in talk.seen
    assert place.said() == ["Hello?"]


@pytest.mark.sweep
def test_a_paste_of_several_lines_is_one_message(place: Place) -> None:
    with chat(place) as talk:
        talk.pastes("My name is Ada.\n\n  What is my name?")
        talk.expect("agent  ")
        leave(talk)
    assert place.said() == ["My name is Ada.\n\n  What is my name?"]


@pytest.mark.sweep
def test_commands_begin_another_conversation_go_back_and_undo(place: Place) -> None:
    with chat(place, "--user", "ada") as talk:
        talk.says("Hello, I am Ada.")
        talk.expect("agent  ")
        talk.says("/new")
        talk.expect(r"Thread [0-9a-f-]{36} in sqlite")
        talk.says("What did I ask?")
        talk.expect("agent  ")
        talk.says("/threads")
        talk.expect(r"1  20.*What did I ask\?\n2  20\S+ \S+  ada-1 +Hello, I am Ada\.")
        talk.says("/threads 3")
        talk.expect("There is no conversation 3 in the list. It has 2.")
        talk.says("/threads 2")
        talk.expect(r"Thread ada-1 in sqlite")
        talk.expect(r"you    Hello, I am Ada\.")
        talk.says("/undo")
        talk.expect("The last turn was taken back")
        talk.says("/undo")
        talk.expect("no turn that can be undone")
        leave(talk)
    with terminal("chat", "--continue", "--user", "ada", cwd=place.folder) as talk:
        talk.expect("Thread ada-1 in sqlite")
        leave(talk)


@pytest.mark.sweep
def test_messages_and_answers_are_recalled_apart_from_files_that_only_the_user_can_read(place: Place) -> None:
    with chat(place) as talk:
        talk.says(ASKED)
        talk.says("reject", after=QUESTION)
        talk.says("Too late.", after="optional.> ")
        talk.expect("<- .*Too late")
        leave(talk)
    with chat(place) as talk:
        talk.asks()
        talk.type("\x1b[A")
        talk.expect("refund order 1001")
        talk.type(CTRL_C)
        talk.expect("Nothing was sent")
        leave(talk)
    files = {file.name: file for file in (place.folder / "state" / "holdfast").iterdir()}
    assert set(files) == {"messages", "answers"}
    assert {file.stat().st_mode & 0o777 for file in files.values()} == {0o600}
    assert "Too late." in files["answers"].read_text("utf-8")
    assert "Too late." not in files["messages"].read_text("utf-8")
