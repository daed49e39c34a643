"""The command line in pipes, as scripts use it, and its help."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.checkpoints import open_checkpointer
from tests.support import stub_openai as stub
from tests.support.cli_kit import Cli, Place, at, run
from tests.support.forked import HOUSE, environment
from tests.support.stub_openai import KEY, refuses, says

ASKED = "My name is Ada. Please refund order 1001."


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


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
