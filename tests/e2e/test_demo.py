"""The demo, run as a person runs it: it does what it says, and what it recommends works."""

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from holdfast import demo
from holdfast.graph.shop import Shop
from tests.support import forked

HOUSE = Path(demo.__file__).parent.parent

PATIENCE = 150.0
"""Seconds for the four interpreters of a demo that forks none, on a machine that has other work."""


# The demo, which forks its processes where it would start interpreters: a second sooner each time.
FORKING = """
import multiprocessing, os, sys
from multiprocessing.connection import Connection
from pathlib import Path
from holdfast import demo
from tests.support import forked

class Forked:
    def __init__(self, command, *, env, **_):
        (stdin, into), (out, stdout) = os.pipe(), os.pipe()
        streams = [Connection(stream) for stream in (stdin, stdout, os.dup(2))]
        words = (command[1:], Path.cwd(), env, streams)
        self.process = multiprocessing.get_context("fork").Process(target=forked.main, args=words)
        self.process.start()
        for stream in streams:
            stream.close()
        self.stdin, self.stdout = os.fdopen(into, "w"), os.fdopen(out)
        self.pid, self.kill = self.process.pid, self.process.kill

    def __class_getitem__(cls, _):
        return cls

    def send_signal(self, number):
        os.kill(self.pid, number)

    def wait(self, patience=None):
        self.process.join(patience)
        return self.process.exitcode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stdin.close()
        self.stdout.close()
        self.wait()

multiprocessing.current_process()._config["daemon"] = False  # or it may have no processes of its own
demo.subprocess.Popen = Forked
del sys.modules["holdfast.demo"]  # its processes run it as their program
sys.exit(demo.main())
"""


def run(*arguments: str, cwd: Path = HOUSE, anew: bool = False) -> subprocess.CompletedProcess[str]:
    program = ["-m", "holdfast.demo"] if anew else ["-c", FORKING]
    env = {**forked.environment(), "PYTHONPATH": str(HOUSE)}
    return forked.run(*program, *arguments, cwd=cwd, env=env, patience=PATIENCE if anew else forked.PATIENCE)


@pytest.mark.timeout(2 * PATIENCE)
@pytest.mark.parametrize("anew", [False, pytest.param(True, marks=pytest.mark.sweep)], ids=["forked", "anew"])
def test_the_demo_does_what_it_says_and_what_it_recommends_works(tmp_path: Path, anew: bool) -> None:
    # Relative names are those of the folder in which the person stands.
    folder = tmp_path / "a folder of Ada's"
    done = run("--keep", folder.name, "--database", "sqlite:///chat.db", cwd=tmp_path, anew=anew)
    assert (done.returncode, done.stderr) == (0, "")

    story = re.sub(r"\s+", " ", done.stdout)
    for line in [
        "Ada Hello, my name is Ada. Please refund order 1001.",
        "pause Refund order 1001 in full? A person has to decide.",
        "is dead. Refunds in the shop: 0",
        'waits Refund order 1001 in full: refund_order {"order_id": 1001}',
        "Grace approves it",
        "check Refunds in the shop: 1",
        "agent Your name is Ada.",
    ]:
        assert line in story

    pids = [int(pid) for pid in re.findall(r"\(process (\d+)\)", done.stdout)]
    assert len(set(pids)) == 3
    assert f"Process {pids[0]} is dead" in story
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    shop = Shop(folder / "shop.db")
    assert (shop.count("refunds"), shop.count("outbox")) == (1, 0)
    assert {path.name for path in [*tmp_path.iterdir(), *folder.iterdir()]} >= {"chat.db", "shop.db"}

    chat, waiting, approve, look = recommended(done.stdout)
    look_at = pasted if anew else typed
    first, second = look_at(chat, "What did I ask first?\nPlease refund order 1002.\n").split("\n", 1)
    assert first == f'The first thing you wrote was: "{demo.ASKED}"'
    assert "I ask for the refund of order 1002." in second
    assert "Refund order 1002 in full?" in typed(waiting)
    assert "Order 1002 is refunded" in typed(approve)
    assert typed(waiting) == "No call waits for a decision.\n"
    assert re.match(r"Order 1001: Ada, .*, refunded at 20", look_at(look))
    assert shop.count("refunds") == 2


def recommended(story: str) -> list[str]:
    """The commands that the story ends with."""
    _, after = story.split("What to try next, from ")
    assert after.splitlines()[0] == shlex.quote(str(HOUSE))
    return re.findall(r"(?m)^     (.*)$", after)


def pasted(command: str, said: str = "") -> str:
    """Run a command as the demo recommends it, and return what it prints."""
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=HOUSE, text=True, input=said, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def typed(command: str, said: str = "") -> str:
    """The same without a shell, which was seen to take its quotes as `shlex` does, and sooner."""
    program, *words = shlex.split(command)
    script = [] if Path(program).name.startswith("python") else [program]
    done = forked.run(*script, *words, cwd=HOUSE, env=os.environ, said=said.encode())
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_password_is_not_recommended(tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for act in ("ask_and_kill", "approve_elsewhere", "come_back"):
        monkeypatch.setattr(demo, act, lambda *_: None)
    demo.play(demo.Place("postgresql://ada:secret@db.example/chat", str(tmp_path / "shop.db"), "ada"))
    story = capsys.readouterr().out
    assert "(write the password in place of ***)" in story
    assert "postgresql://ada:***@db.example/chat" in story
    assert "secret" not in story


def test_a_folder_of_an_earlier_demo_is_refused(tmp_path: Path) -> None:
    Shop(tmp_path / "shop.db").count("orders")
    refused = run("--keep", str(tmp_path))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "holds an earlier demo" in refused.stderr


def test_memory_is_refused_as_a_place_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        demo.main(["--database", "memory://"])
    assert "memory:// is deleted when its process ends" in capsys.readouterr().err


def test_a_database_that_does_not_answer_is_one_clear_error_without_the_password(tmp_path: Path) -> None:
    failed = run("--keep", str(tmp_path), "--database", "postgresql://ada:secret@127.0.0.1:1/none")
    assert failed.returncode == 1
    assert "The demo failed: Cannot open the PostgreSQL database" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert "secret" not in failed.stderr + failed.stdout


@pytest.mark.sweep
def test_it_fails_if_the_shop_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo.Shop, "count", lambda *_: 2)
    assert demo.main(["--keep", str(tmp_path)]) == 1
    assert "The demo failed: 2 refunds happened before one was approved." in capsys.readouterr().err


@pytest.mark.sweep
def test_it_fails_if_the_process_was_not_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo.subprocess.Popen, "send_signal", lambda child, _: child.stdin.close())
    assert demo.main(["--keep", str(tmp_path)]) == 1
    assert "The demo failed: the process ended with code 0, not by signal 9." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("act", "told", "failed"),
    [
        (demo.approve_elsewhere, [], "0 approvals were waiting, not 1"),
        (demo.approve_elsewhere, [("waits", "Refund order 1001 in full")], "0 refunds happened, not 1"),
        (demo.come_back, [("agent", "Who are you?")], "no longer knew the customer's name"),
    ],
)
def test_it_fails_if_an_act_tells_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Any, told: list[tuple[str, str]], failed: str
) -> None:
    monkeypatch.setattr(demo, "run_to_end", lambda *_: told)
    shop = Shop(tmp_path / "shop.db")
    with pytest.raises(demo.DemoFailedError, match=failed):
        act(demo.Place("memory://", str(shop.path), "ada"), shop)
