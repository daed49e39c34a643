"""The tutorial works as it stands: a reader's files, commands and conversations, in an empty folder."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.forked import HOUSE, PATIENCE, environment
from tests.support.reader import run_command

# What is in a block `sh` is about the reader's machine. `test_wheel` installs the package.
BLOCK = re.compile(r'```(?:\w+ title="(?P<file>[\w.]+)"|console)\n(?P<text>.*?)```', re.DOTALL)
PROMPT = "you> "


def steps() -> Iterator[tuple[str | None, str]]:
    """Yield the files and the terminals of the tutorial, in their order."""
    for block in BLOCK.finditer((HOUSE / "docs" / "tutorial.md").read_text("utf-8")):
        yield block["file"], block["text"]


@pytest.mark.sweep
def test_each_step_of_the_tutorial_does_what_it_shows(tmp_path: Path) -> None:
    for file, text in steps():
        if file:
            (tmp_path / file).write_text(text, "utf-8")
            continue
        for terminal in re.split(r"(?m)^\$ ", text)[1:]:
            command, _, shown = terminal.partition("\n")
            if PROMPT.strip() in shown:
                talk(command, shown.splitlines(), tmp_path)
            else:
                printed = run_command(command, tmp_path)
                assert not shown or printed == shown, command
    assert (tmp_path / "refunds.txt").read_text() == "1001\n"


def talk(command: str, shown: list[str], folder: Path) -> None:
    """Have the conversation that the tutorial shows, and end it as there: with an empty line, or by killing it."""
    program, *words = shlex.split(command)
    assert program == "python"
    process = subprocess.Popen(
        [sys.executable, "-u", *words],
        cwd=folder,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in shown:
            if line == f"{PROMPT}Killed":
                process.kill()
            elif line.startswith(PROMPT.strip()):
                process.stdin.write(line.removeprefix(PROMPT.strip()).strip() + "\n")
                process.stdin.flush()
            else:
                assert process.stdout.readline().replace(PROMPT, "") == f"{line}\n"
        code = process.wait(PATIENCE)
    assert code == (-9 if shown[-1].endswith("Killed") else 0)
