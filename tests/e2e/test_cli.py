"""The command line on a terminal and in pipes, as people and scripts use it; Ctrl-C and kill -9 at bad moments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage

from holdfast.checkpoints import open_checkpointer
from holdfast.graph import Conversation, build_graph
from holdfast.graph.shop import Shop, shop_tools
from tests.support import stub_openai as stub
from tests.support.cli_kit import Cli, run
from tests.support.forked import HOUSE, environment
from tests.support.stub_openai import KEY, Stub, breaks_off, refuses, says
from tests.support.terminal import CTRL_C, CTRL_D, CTRL_U, Terminal, terminal

ASKED = "My name is Ada. Please refund order 1001."
QUESTION = r"\[l\]ater\? "
ASKS = r"Refund order 1001 in full\?"


class Place:
    """The folder in which the commands are run, seen from outside of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder / 'holdfast.db'}"

    @property
    def refunds(self) -> int:
        return Shop(self.folder / "shop.db").count("refunds")

    def history(self, thread_id: str = "ada-1") -> list[Any]:
        with self._talk(thread_id) as talk:
            return list(talk.history())

    def said(self, thread_id: str = "ada-1") -> list[str]:
        return [message.text for message in self.history(thread_id) if isinstance(message, HumanMessage)]

    def send(self, text: str, thread_id: str = "ada-1") -> str:
        with self._talk(thread_id) as talk:
            return "".join(pending.interrupt_id for pending in talk.send(text).pending)

    @contextmanager
    def _talk(self, thread_id: str) -> Iterator[Conversation]:
        with open_checkpointer(self.url) as saver:
            tools = shop_tools(self.folder / "shop.db")
            yield Conversation(build_graph(tools=tools, checkpointer=saver), thread_id)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def chat(place: Place, *arguments: str, **more: Any) -> Any:
    return terminal("chat", "--thread", "ada-1", *arguments, cwd=place.folder, **more)


def leave(talk: Terminal) -> None:
    """Leave at the prompt, and be told how to come back."""
    talk.expect("you    ")
    talk.type(CTRL_D)
    talk.expect(r"saved in thread ada-1\. To continue: holdfast chat --thread ada-1")
    assert talk.ends() == 0


# --- on a terminal


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
        talk.expect("Not JSON")
        talk.expect(r'go back\)> {"order_id": 1001')
        talk.type(f"{CTRL_U}[1002]\r")
        talk.expect("Not a JSON object")
        talk.expect(r"go back\)> \[1002\]")  # what is typed before that is not for the line editor
        talk.type(f'{CTRL_U}{{"order_id": "the blue one"}}\r')
        talk.expect("does not fit the waiting call of refund_order: .*order_id")
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
def test_ctrl_c_loses_nothing_at_the_prompt_and_at_the_question(place: Place) -> None:
    with chat(place) as talk:
        talk.says("Hello, I am Ada.")
        talk.expect("agent  .*Hello Ada|agent  .*Hello, Ada")
        talk.expect("you    ")
        talk.type("never sent")
        talk.expect("never sent")
        talk.interrupt("saved in thread ada-1")
        assert talk.ends() == 130
    with chat(place) as talk:
        talk.says(ASKED)
        talk.expect(QUESTION)
        talk.interrupt("saved in thread ada-1")
        assert talk.ends() == 130
        assert "Traceback" not in talk.seen
    assert place.said() == ["Hello, I am Ada.", ASKED]
    with chat(place) as talk:
        talk.says("a", after=QUESTION)
        talk.expect("is refunded")
        leave(talk)


def at(endpoint: Stub, **more: str) -> dict[str, str]:
    return {
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": endpoint.url,
        "HOLDFAST_MODEL": "openai:gpt-stub",
        "HOLDFAST_MODEL_RETRIES": "0",
        **more,
    }


@pytest.mark.sweep
@pytest.mark.parametrize(("after", "seen"), [("", "Still waiting"), ("one two ", "agent  one two ")])
def test_ctrl_c_while_the_model_hangs_leaves_at_once_and_the_message_is_kept(
    place: Place, after: str, seen: str
) -> None:
    with stub.stub_openai(stub.hangs(after), says("Here I am.")) as endpoint:
        with chat(place, changed={"holdfast.cli.chat.session._PATIENCE": 0.3}, **at(endpoint)) as talk:
            talk.says("Hello?")
            talk.expect(seen)
            endpoint.wait_for_request()
            talk.type(CTRL_C)
            talk.expect(r"Your message is saved\. The conversation is saved in thread ada-1")
            assert talk.ends() == 130
            assert "Traceback" not in talk.seen
        assert place.said() == ["Hello?"]
        with chat(place, **at(endpoint)) as talk:
            talk.says("", after=r"The last turn did not finish\. Finish it now\? \[Y/n\] ")
            talk.expect(r"agent  Here I am\.")
            leave(talk)
    assert place.said() == ["Hello?"]


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
            talk.expect(r"agent  one two ?\n.*broke the connection off")
            talk.says("/retry")
            talk.expect(r"agent  Here I am\.\n")
            leave(talk)
            assert KEY not in talk.seen
            assert "Traceback" not in talk.seen
    assert place.said() == ["Hello?"]


# --- in pipes


def test_piped_lines_are_turns_and_only_the_conversation_is_on_standard_output(place: Place) -> None:
    said = "My name is Zoë.\n\n  \nWhat is my name?\r\nPlease refund order 1001."
    done = run("chat", "--thread", "zoë", "--user", "zoe", cwd=place.folder, said=said)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[1] == "Your name is Zoë."
    assert '  -> refund_order {"order_id": 1001}' in lines
    assert "Thread zoë in sqlite:///holdfast.db" in done.stderr
    [command] = [line.split("To approve: ")[1] for line in done.stderr.splitlines() if "To approve" in line]
    approved = run(*command.split()[1:-1], "zoë", "--by", "Grace", cwd=place.folder)
    assert (approved.returncode, approved.stderr) == (0, "")
    assert approved.stdout.splitlines()[-1].startswith("Order 1001 is refunded")
    # Grace decided, and the conversation is still Zoë's.
    with open_checkpointer(place.url) as saver:
        found = saver.get_tuple({"configurable": {"thread_id": "zoë"}})
    assert found is not None
    assert found.metadata.get("user_id") == "zoe"


def test_json_for_scripts_is_an_object_a_line(place: Place) -> None:
    done = run("chat", "--thread", "ada-1", "--json", cwd=place.folder, said=ASKED)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    called = [(event["name"], event["args"]) for event in events if event["event"] == "tool_called"]
    assert called == [("find_order", {"order_id": 1001}), ("refund_order", {"order_id": 1001})]
    [waits] = [event for event in events if event["event"] == "waits"]
    assert events[0]["thread_id"] == waits["thread_id"] == "ada-1"
    assert events[-1] == {"event": "end", "text": "I ask for the refund of order 1001.", "waiting": 1}
    assert done.stderr == ""


@pytest.mark.sweep
def test_a_model_that_fails_in_a_pipe_costs_no_message(place: Place) -> None:
    with stub.stub_openai(says("One."), refuses(401), says("Here I am.")) as endpoint:
        failed = run("chat", "--thread", "ada-1", cwd=place.folder, said="one\ntwo\nthree\n", **at(endpoint))
        assert failed.returncode == 1
        assert failed.stdout == "One.\n"
        *_, last = failed.stderr.splitlines()
        assert "does not accept the API key (401)" in last
        assert last.endswith("--retry This was line 2; the lines after it were not sent.")
        assert KEY not in failed.stderr
        assert "Traceback" not in failed.stderr
        assert place.said() == ["one", "two"]
        again = run("chat", "--thread", "ada-1", "--retry", cwd=place.folder, **at(endpoint))
        assert (again.returncode, again.stdout) == (0, "Here I am.\n")


@pytest.mark.sweep
def test_a_pipe_that_is_closed_early_ends_quietly(place: Place) -> None:
    place.send(ASKED)
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "holdfast", "approvals", "list"],
            cwd=place.folder,
            env=environment(),
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=50,
            check=False,
        )
    assert "Traceback" not in done.stderr
    assert done.returncode == 1


def test_help_answers_before_anything_slow_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom holdfast.cli import main\n"
        "assert main(['--help']) == main(['chat', '--help']) == 0\n"
        "assert main(['chat', '--thread']) == main(['nonsense']) == 2\n"
        "print([name for name in ('langgraph', 'langchain_core', 'pydantic_settings', 'rich') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert len(done.stderr.splitlines()) == 2


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    from holdfast.cli import main

    decisions = ("list", "show", "approve", "edit", "reject", "respond")
    for words in [[], ["chat"], ["demo"], ["serve"], ["approvals"], *(["approvals", word] for word in decisions)]:
        assert main([*words, "--help"]) == 0
        said = capsys.readouterr().out
        assert f"Example: holdfast {' '.join(words)}".rstrip() in said
        assert (main([*words, "-h"]), capsys.readouterr().out) == (0, said)


def test_the_common_options_have_a_letter(cli: Cli) -> None:
    assert cli("chat", "-t", "ada-1", "-u", "ada", "-m", "offline", "-d", "sqlite:///chat.db", said=b"Hello")[0] == 0
    assert "ada-1" in cli("threads", "list", "-u", "ada", "-d", "sqlite:///chat.db")[1]


def test_the_command_is_installed() -> None:
    from importlib.metadata import entry_points

    import holdfast.cli

    [found] = entry_points(group="console_scripts", name="holdfast")
    assert found.load() is holdfast.cli.main
    assert (HOUSE / "holdfast" / "__main__.py").exists()
