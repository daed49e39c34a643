"""The programs in the README and the guides work: each is run as it stands, in an empty folder."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.checkpoints import open_checkpointer
from holdfast.graph import Conversation, build_graph
from tests.support import forked
from tests.support.cli_kit import Cli, run
from tests.support.forked import HOUSE, environment
from tests.support.reader import commands_of

# In the order in which a reader meets them: a later program finds what an earlier one has stored.
PAGES = (
    "README.md",
    "docs/guides/conversations.md",
    "docs/guides/approvals.md",
    "docs/guides/record.md",
    "docs/guides/serving.md",
    "docs/guides/encryption.md",
)


def programs(*pages: str) -> list[str]:
    return [
        program
        for page in pages
        for program in re.findall(r"```python\n(.*?)```", (HOUSE / page).read_text("utf-8"), re.DOTALL)
    ]


@pytest.mark.parametrize("anew", [False, pytest.param(True, marks=pytest.mark.sweep)], ids=["forked", "anew"])
def test_the_programs_of_the_readme_and_the_guides_run_as_they_stand(tmp_path: Path, anew: bool) -> None:
    printed = []
    first = programs(*PAGES)
    for number, program in enumerate([*first, *first[:2]]):  # and again, as people do
        script = tmp_path / f"program_{number}.py"
        script.write_text(program, "utf-8")
        # The first imports LangGraph before anything of ours, which makes a difference to an interpreter that is new.
        done = forked.run(str(script), cwd=tmp_path, env=environment(), anew=anew and not number)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout.splitlines())

    one_line, agent, wrapper, shared, decided, kept, inbox, own, pay, *others = printed
    middleware, node, record, audit, digest, served, sealed, vault, *again = others
    assert (one_line, again[0]) == (["4"], ["8"])
    assert agent == [
        "I ask for the refund of order 1001.",
        "Refund order 1001 in full refund_order {'order_id': 1001}",
        "Order 1001 is refunded: 49.00 EUR go back to Ada.",
        "Your name is Ada.",
    ]
    assert again[1][-1] == agent[-1]
    assert kept == ["Your name is Ada.", "Order 1002 is refunded: 12.50 EUR go back to Ada."]
    assert (shared, decided) == (["['case-7']"], ["['Refund order 1002 in full']"])
    assert wrapper == own == inbox == pay == middleware == node == served == sealed == vault == []
    assert record == [
        "ada-1 idle 8 A refund",
        "5 tool Order 1001 is refunded: 49.00 EUR go back to Ada. Grace",
        "6 ai Order 1001 is refunded: 49.00 EUR go back to Ada. ",
        "7 human What is my name? ",
        "8 ai Your name is Ada. ",
        "8 6",
        "ada-1 4 I ask for the refund of order 1001.",
    ]
    assert (audit, digest) == (["True True []"], ["True"])


def test_the_programs_of_the_page_about_histories_run_as_they_stand_and_again(tmp_path: Path) -> None:
    printed = []
    for program in 2 * programs("docs/guides/histories.md"):
        (tmp_path / "program.py").write_text(program, "utf-8")
        done = forked.run(str(tmp_path / "program.py"), cwd=tmp_path, env=environment())
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout.splitlines())
    added, history, again, more = printed
    assert added == ["I am Ada. 2 2021"]
    assert history == ["I have read 1 messages.", "{'role': 'user', 'content': 'And this?'}"]
    assert (again, more[0]) == (["I am Ada. 3 2021"], "I have read 4 messages.")


@pytest.mark.sweep
def test_the_programs_of_the_page_about_the_router_run_as_they_stand(tmp_path: Path) -> None:
    app, client = programs("docs/guides/router.md")
    (tmp_path / "app.py").write_text(app, "utf-8")
    (tmp_path / "program.py").write_text(client, "utf-8")
    done = forked.run(str(tmp_path / "program.py"), cwd=tmp_path, env=environment())
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "Refund order 1002 in full",
        "Order 1002 is refunded: 12.50 EUR go back to Ada.",
        "ada has answered t",
    ]


def test_the_program_of_the_page_about_memory_runs_as_it_stands(tmp_path: Path) -> None:
    [program] = programs("docs/guides/memory.md")
    (tmp_path / "program.py").write_text(program, "utf-8")
    done = forked.run(str(tmp_path / "program.py"), cwd=tmp_path, env=environment())
    answer, items = done.stdout.splitlines()
    assert (answer, "'text': 'tea'" in items) == ("You drink tea.", True), done.stderr


@pytest.mark.sweep
def test_the_programs_and_commands_of_the_page_about_redaction_work_as_they_stand(cli: Cli, tmp_path: Path) -> None:
    printed = []
    for program in programs("docs/guides/redaction.md"):
        (tmp_path / "program.py").write_text(program, "utf-8")
        done = forked.run(str(tmp_path / "program.py"), cwd=tmp_path, env=environment())
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout.splitlines())
    assert printed == [
        [
            "{'card': 2, 'pattern': 2}",
            "My name is Ada, my card is [redacted: card], and my [redacted].",
            "My name is Ada, my card is [redacted: card], and my [redacted].",
            "Your name is Ada.",
        ],
        ["I am Bob, and my card is [redacted: card]."],
    ]
    for command in commands_of("guides/redaction.md", before_sections=True):
        code, _, err = cli(*shlex.split(command)[1:], "--database=sqlite:///redaction.db")
        assert code == 0, err


@pytest.mark.sweep
def test_the_program_and_the_commands_of_the_page_about_erasure_work_as_they_stand(cli: Cli, tmp_path: Path) -> None:
    [program] = programs("docs/guides/erasure.md")
    (tmp_path / "program.py").write_text(program, "utf-8")
    done = forked.run(str(tmp_path / "program.py"), cwd=tmp_path, env=environment())
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["['ada-1'] 2 1 True", "{} {} []", "True"]
    for command in commands_of("guides/erasure.md", before_sections=True):
        code, _, err = cli(*shlex.split(command)[1:], "--database=sqlite:///erasure.db")
        assert code == 0, err


def test_the_program_of_the_page_about_databases_runs_as_it_stands(tmp_path: Path) -> None:
    [program] = programs("docs/guides/databases.md")
    (tmp_path / "program.py").write_text(program, "utf-8")
    done = forked.run(str(tmp_path / "program.py"), cwd=tmp_path, env=environment())
    assert (done.returncode, done.stdout) == (0, "Refund order 1001 in full\n"), done.stderr


@pytest.mark.sweep
def test_the_program_and_the_commands_of_the_page_about_access_work_as_they_stand(cli: Cli, tmp_path: Path) -> None:
    for program, printed in zip(programs("docs/guides/access.md"), ("401\nada True\n", ""), strict=True):
        (tmp_path / "program.py").write_text(program, "utf-8")
        done = forked.run(str(tmp_path / "program.py"), cwd=tmp_path, env=environment())
        assert (done.returncode, done.stdout) == (0, printed), done.stderr
    for command in commands_of("guides/access.md")[:4]:
        code, _, err = cli(*shlex.split(command)[1:])
        assert code == 0, err


@pytest.mark.sweep
def test_the_program_of_the_page_about_agents_runs_as_it_stands(tmp_path: Path) -> None:
    [program] = programs("docs/agents.md")
    (tmp_path / "program.py").write_text(program, "utf-8")
    done = forked.run(str(tmp_path / "program.py"), cwd=tmp_path, env=environment())
    assert (done.returncode, done.stdout) == (0, "Hello, Ada.\n"), done.stderr


@pytest.mark.sweep
def test_the_commands_of_the_page_about_deployment_work_as_they_stand(tmp_path: Path) -> None:
    (tmp_path / "my_package.py").write_text("from holdfast import build_graph\n\nagent = build_graph()\n")
    with open_checkpointer(f"sqlite:///{tmp_path / 'chat.db'}") as saver:
        Conversation(build_graph(checkpointer=saver), "ada-1").send("Please refund order 1002.")
    page = (HOUSE / "docs" / "guides" / "deployment.md").read_text("utf-8")
    commands = re.findall(r"(?m)^[#$] .*\bholdfast ((?:db|tokens) [^&\n]*)", page)
    assert len(commands) == 7
    for command in commands:
        settings = {"HOLDFAST_DATABASE": "sqlite:///chat.db", "HOLDFAST_TOKENS": "tokens.jsonl"}
        done = run(*shlex.split(command), cwd=tmp_path, **settings)
        assert done.returncode == 0, done.stderr
    assert not (tmp_path / "holdfast.db").exists()


def test_the_commands_of_make_that_are_named_are_there() -> None:
    makefile = (HOUSE / "Makefile").read_text("utf-8")
    pages = [HOUSE / "README.md", *HOUSE.glob("docs/guides/*.md")]
    for command in {name for page in pages for name in re.findall(r"`make (\w+)\b", page.read_text("utf-8"))}:
        assert re.search(rf"^{command}:", makefile, re.MULTILINE), command


@pytest.mark.sweep
def test_the_commands_for_the_record_work_as_they_stand(cli: Cli) -> None:
    with open_checkpointer("sqlite:///holdfast.db") as saver:
        Conversation(build_graph(checkpointer=saver), "ada-1", "ada").send("I am Ada. Please refund order 1002.")
    printed = []
    for command in commands_of("guides/record.md", before_sections=True):
        _, *words = shlex.split(command)
        code, out, err = cli(*words)
        assert (code, err if code else "") == (0, ""), command
        printed.append(out)
    listed, renamed, shared, shown, found, _, verified, copied, _, brought = printed
    assert "paused (1)  ada-1  ada   4         I am Ada." in listed
    assert renamed == "The title of ada-1 is 'A refund'.\n"
    assert shared.startswith("ada-1 is shared with")
    assert "Calls refund_order" in shown
    assert "I ask for the [refund] of [order 1002]." in found
    assert "The conversation still says the same." in verified
    assert copied.startswith("1 conversation copied to sqlite:///elsewhere.db")
    assert brought.endswith("1 was there already.\n")


@pytest.mark.sweep
@pytest.mark.parametrize("anew", [False, pytest.param(True, marks=pytest.mark.sweep)], ids=["forked", "anew"])
def test_the_shell_commands_of_the_guide_work(tmp_path: Path, anew: bool) -> None:
    commands = commands_of("guides/command-line.md", before_sections=True)
    assert len(commands) == 6
    (tmp_path / "bin").mkdir()
    holdfast = tmp_path / "bin" / "holdfast"
    holdfast.write_text(f'#!/bin/sh\nexec {sys.executable} -m holdfast "$@"\n')
    holdfast.chmod(0o755)
    path = f"{holdfast.parent}{os.pathsep}{os.environ['PATH']}"
    printed = []
    for number, command in enumerate(commands):
        *echo, (program, *words) = [shlex.split(part) for part in command.split(" | ")]
        said = "".join(f"{text}\n" for _, text in echo)
        assert (program, [first for first, _ in echo]) == ("holdfast", ["echo"] * len(echo))
        if number == 1 and anew:  # a shell takes the quotes of one as `shlex` does, and for the others is only slower
            done = subprocess.run(
                ["/bin/sh", "-c", command],
                cwd=tmp_path,
                env=environment(PATH=path),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=50,
                check=False,
            )
        else:
            done = forked.run("-m", "holdfast", *words, cwd=tmp_path, env=environment(), said=said.encode())
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    nothing, asked, waiting, approved, resumed, last = printed
    assert nothing == ""
    assert "I ask for the refund of order 1002." in asked
    assert "Refund order 1002 in full?" in waiting
    assert "Order 1002 is refunded" in approved
    assert resumed == "No decision is left to carry out.\n"
    assert json.loads(last.splitlines()[-1])["text"] == "Your name is Ada."
