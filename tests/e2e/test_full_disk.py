"""A full disk, by way of Python, the command line and the server: a clear error, and what was acknowledged stays.

A limit on the size of files stands for the full disk: SQLite's writes fail in the same place, and no rights are needed.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx
import pytest

from holdfast.checkpoints import open_checkpointer
from holdfast.graph import Conversation, build_graph
from tests.support import forked
from tests.support.kit import change
from tests.support.serving import clean_environment, last_words, served

LIMIT = 2_000_000  # bytes
LIMITED = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({LIMIT}, {LIMIT}))
"""
LONG = "x" * 40_000

TALK = """
from holdfast.checkpoints import open_checkpointer
from holdfast.checkpoints.errors import HoldfastError
from holdfast.graph import Conversation, build_graph

with open_checkpointer("sqlite:///holdfast.db") as saver:
    ada = Conversation(build_graph(checkpointer=saver), "ada-1")
    for number in range(100):
        try:
            ada.send(f"{number} " + "x" * 40_000)
        except HoldfastError as error:
            print(type(error).__name__, error)
            break
        print(number)
"""


def on_a_full_disk(folder: Path, program: str, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    return forked.run("-c", LIMITED + program, *arguments, cwd=folder, env=clean_environment(), said=said.encode())


def goes_on(folder: Path, thread_id: str, kept: list[str]) -> None:
    """With room on the disk again the thread has what was acknowledged, and goes on."""
    with open_checkpointer(f"sqlite:///{folder}/holdfast.db") as saver:
        # The lease could not be given back without room on the disk; this is what 15 seconds do.
        change(saver, "DELETE FROM holdfast_leases")
        ada = Conversation(build_graph(checkpointer=saver), thread_id)
        said = [entry.text.split()[0] for entry in saver.transcript(thread_id) if getattr(entry, "role", "") == "human"]
        assert said[: len(kept)] == kept
        ada.send("Hello")
        assert ada.history()[-1].type == "ai"


@pytest.mark.sweep
def test_from_python(tmp_path: Path) -> None:
    done = on_a_full_disk(tmp_path, TALK)
    assert (done.returncode, done.stderr) == (0, "")
    *acknowledged, error = done.stdout.splitlines()
    assert acknowledged, "the limit is below an empty database"
    assert "DatabaseUnavailable The SQLite database" in error
    assert "Nothing of this step was saved. Look for space on its disk" in error
    goes_on(tmp_path, "ada-1", acknowledged)


@pytest.mark.sweep
def test_on_the_command_line(tmp_path: Path) -> None:
    lines = "".join(f"{number} {LONG}\n" for number in range(100))
    command = "import sys; from holdfast.cli import main; sys.exit(main())"
    done = on_a_full_disk(tmp_path, command, "chat", "--thread", "ada-1", said=lines)
    assert done.returncode == 1
    assert "Look for space on its disk" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    goes_on(tmp_path, "ada-1", ["0"])


@pytest.mark.sweep
def test_on_the_server(tmp_path: Path) -> None:
    words = ["-c", f"{LIMITED}\nfrom holdfast.cli import main\nmain()", "serve"]
    with served(tmp_path, words, HOLDFAST_MAX_MESSAGE="1000000") as server:
        thread_id = server.client.threads.create()["thread_id"]
        acknowledged: list[str] = []
        status = 200
        while status == 200:
            text = f"{len(acknowledged)} {LONG * 4}"
            try:
                last_words(server.say(thread_id, text))
                acknowledged.append(str(len(acknowledged)))
            except httpx.HTTPStatusError as full:
                status = full.response.status_code
        assert status == 503
    goes_on(tmp_path, thread_id, acknowledged)
