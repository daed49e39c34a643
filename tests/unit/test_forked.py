"""A forked test process is like a started one in all that a program can see of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import forked
from tests.support.forked import environment
from tests.support.terminal import CTRL_C, Terminal

FACTS = """
import json, locale, os, resource, signal, sys, threading, warnings

def facts(stream):
    raw = stream.buffer.raw
    return [
        stream.name, stream.mode, stream.encoding, stream.errors, stream.line_buffering, stream.write_through,
        stream.isatty(), stream.fileno(), type(stream.buffer).__name__, raw.mode, raw.name,
    ]

print(json.dumps({
    "streams": [facts(it) for it in (sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__)],
    "signals": {it.name: str(signal.getsignal(it)) for it in signal.Signals},
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "leads": [os.getsid(0) == os.getpid(), sys.stdin.isatty() and os.tcgetpgrp(0) == os.getpgrp()],
    "limits": resource.getrlimit(resource.RLIMIT_NOFILE),
    "environment": dict(os.environ),
    "folder": os.getcwd(),
    "words": sys.argv,
    "path": sys.path[0],
    "name": __name__,
    "threads": [it.name for it in threading.enumerate()],
    "locale": [locale.setlocale(locale.LC_ALL), locale.getpreferredencoding(), sys.getfilesystemencodeerrors()],
    "limit": sys.getrecursionlimit(),
    "warnings": [str(it) for it in warnings.filters if it[2].__module__ == "builtins"],
    "umask": os.umask(0o22),
    "readline": "readline" in sys.modules,
}))
"""

ENDS = [
    ("import sys; print('out'); sys.exit(7)", ("out\n", "", 7)),
    ("import sys; sys.exit('said')", ("", "said", 1)),
    ("1 / 0", ("", "ZeroDivisionError: division by zero", 1)),
    ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", ("", "", -9)),
    ("import threading, time; threading.Thread(target=lambda: print('late')).start()", ("late\n", "", 0)),
    ("import sys; print(len(sys.stdin.read()))", ("500000\n", "", 0)),
    ("import os; os.write(1, b'x' * 500_000)", ("x" * 500_000, "", 0)),
]


@pytest.fixture(params=[pytest.param(True, marks=pytest.mark.sweep), False], ids=["anew", "forked"])
def anew(request: pytest.FixtureRequest) -> bool:
    found: bool = request.param
    return found


def on_a_terminal(folder: Path, *, anew: bool) -> dict[str, Any]:
    talk = Terminal(["-c", FACTS, "word"], folder, environment(NEW="1"), anew=anew)
    try:
        assert talk.ends() == 0
    finally:
        talk.close()
    found: dict[str, Any] = json.loads(talk.seen)
    return found


def in_pipes(folder: Path, *, anew: bool) -> dict[str, Any]:
    done = forked.run("-c", FACTS, "word", cwd=folder, env=environment(NEW="1"), anew=anew)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.sweep
@pytest.mark.parametrize("ask", [on_a_terminal, in_pipes])
def test_a_program_sees_what_it_would_see_in_a_new_interpreter(tmp_path: Path, ask: Any) -> None:
    assert ask(tmp_path, anew=False) == ask(tmp_path, anew=True)


@pytest.mark.sweep
@pytest.mark.parametrize(("program", "end"), ENDS)
def test_it_ends_as_a_new_interpreter_would(
    tmp_path: Path, program: str, end: tuple[str, str, int], anew: bool
) -> None:
    done = forked.run("-c", program, cwd=tmp_path, env=environment(), said=b"word\n" * 100_000, anew=anew)
    assert (done.stdout, done.stderr.strip().rpartition("\n")[2], done.returncode) == end


@pytest.mark.sweep
def test_ctrl_c_reaches_it(tmp_path: Path, anew: bool) -> None:
    program = """
import signal
try:
    print('here')
    signal.pause()
except KeyboardInterrupt:
    raise SystemExit(130)
"""
    talk = Terminal(["-c", program], tmp_path, environment(), anew=anew)
    talk.expect("here")
    talk.type(CTRL_C)
    assert talk.ends() == 130
    talk.close()


def test_a_forked_process_has_its_imports_and_its_own_random_numbers(tmp_path: Path) -> None:
    program = "import sys, random; print(*[name in sys.modules for name in sys.argv[1:]], random.random())"
    words = ["-c", program, *forked._PRELOADED]
    first, second = (forked.run(*words, cwd=tmp_path, env=environment()).stdout.split() for _ in range(2))
    assert first[:-1] == second[:-1] == ["True"] * len(forked._PRELOADED)
    assert first[-1] != second[-1]
