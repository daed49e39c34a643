"""`python -m bench.calls`: count the calls, modules and SQL statements of a load, two saves and an approval.

Counts the functions of Holdfast's own files, or of LangGraph's own savers, and the statements that reach the database
driver. Unlike times, these figures do not depend on the machine. `--json FILE` also writes them to a file, with the
names of the modules.
"""

from __future__ import annotations

import argparse
import dis
import json
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.base import copy_checkpoint, create_checkpoint

from bench.peers import Peer, peer_at, peers
from bench.places import postgres_server
from bench.talking import Texts, graph_of
from holdfast.graph import Conversation, build_graph, needs_approval

TURNS = 5
"""Turns of two messages before anything is counted."""

ROUNDS = 3
"""Each operation is counted this often, and the round with the fewest calls is reported: another round may include
the renewal of a lease."""

_HOUSE = Path(__file__).resolve().parent.parent
_NOT_OURS = {"bench", "tests", ".venv"}
_SQLITE = {"execute", "executemany", "executescript", "commit", "rollback"}
_POSTGRES = {"execute", "executemany"}


@dataclass
class Count:
    """The path of one operation through the code."""

    name: str
    database: str
    operation: str
    calls: int
    """Calls of functions and methods. Comprehensions, lambdas, generated code such as a dataclass's `__init__`,
    and the resumption of a generator are not counted."""
    modules: list[str]
    statements: int
    """Calls of the database driver that send SQL. `commit()` is one; a `BEGIN` that the driver adds is not."""
    steady: bool = True
    """Whether every round had the same counts."""


class Counter:
    """A counter of calls on this thread and on those that it starts; from Python 3.12 on, on all threads."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._module_of = cache(module_of_ours if peer.ours else module_of_stock)
        # Appending is atomic; adding to a number is not, and several threads count.
        self._calls: list[str] = []
        self._statements: list[str] = []

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what is called in the block."""
        self._calls, self._statements = [], []
        _profile_with(self._note)
        try:
            yield
        finally:
            _profile_with(None)

    def count(self, operation: str) -> Count:
        """Sum up what the last block called."""
        modules = sorted({*self._calls})
        return Count(
            self._peer.name, self._peer.database, operation, len(self._calls), modules, len(self._statements)
        )  # fmt: skip

    def _note(self, frame: FrameType, event: str, called: Any) -> None:
        code = frame.f_code
        if event == "call":
            if not code.co_name.startswith("<") and frame.f_lasti <= _start_of(code):
                if (module := self._module_of(code.co_filename)) is not None:
                    self._calls.append(module)
                if code.co_name in _POSTGRES and code.co_filename.endswith("/psycopg/cursor.py"):
                    self._statements.append(code.co_name)
        elif event == "c_call" and called.__name__ in _SQLITE and _is_sqlite(called.__self__):
            self._statements.append(called.__name__)


def _profile_with(function: Any) -> None:
    if sys.version_info >= (3, 12):
        threading.setprofile_all_threads(function)
    else:
        threading.setprofile(function)
    sys.setprofile(function)


@cache
def _start_of(code: CodeType) -> int:
    """Find the instruction at which a call begins. A generator that resumes after a `yield` is further on."""
    return next((step.offset for step in dis.get_instructions(code) if step.opname == "RESUME"), 0)


def _is_sqlite(owner: object) -> bool:
    return any(base.__module__ == "sqlite3" for base in type(owner).__mro__)


def module_of_ours(file: str) -> str | None:
    """Name a file of Holdfast's packages by its path in the repository; `None` for any other file."""
    if file.startswith("<"):  # made at run time, such as the `__init__` of a dataclass
        return None
    path = Path(file).resolve()
    if not path.is_relative_to(_HOUSE):
        return None
    inside = path.relative_to(_HOUSE)
    return None if inside.parts[0] in _NOT_OURS else inside.as_posix()


def module_of_stock(file: str) -> str | None:
    """Name a file of LangGraph's own savers by its path among them; `None` for any other file."""
    _, found, inside = file.partition("/langgraph/checkpoint/")
    return inside if found else None


def counts(peer: Peer) -> list[Count]:
    """Count a load and two saves of a warm thread, and with Holdfast an approval too."""
    with peer.opened() as (saver, _):
        found = saver_counts(peer, saver)
    if peer.ours:
        with peer.opened() as (saver, _):
            found.append(approval_count(peer, saver))
    return found


def saver_counts(peer: Peer, saver: Any) -> list[Count]:
    """Count a load of the head, a save of a checkpoint with one more message, and a save of what a node wrote.

    They are called one after the other on this thread, because in a run of a graph the two saves overtake each other.
    """
    say = Texts()
    graph = graph_of(saver, say)
    counter = Counter(peer)
    rounds: dict[str, list[Count]] = {"get_tuple": [], "put": [], "put_writes": []}
    for _ in range(ROUNDS):
        config: Any = {"configurable": {"thread_id": str(uuid.uuid4())}}
        for _ in range(TURNS):
            graph.invoke({"messages": [{"role": "user", "content": say(), "id": str(uuid.uuid4())}]}, config)
        with counter.counting():
            head = saver.get_tuple(config)
        rounds["get_tuple"].append(counter.count("get_tuple"))
        saved, metadata = _next(saver, head, _answer(say()))
        with counter.counting():
            after = saver.put(head.config, saved, metadata, {"messages": saved["channel_versions"]["messages"]})
        rounds["put"].append(counter.count("put"))
        written = [("messages", [_answer(say())])]
        with counter.counting():
            saver.put_writes(after, written, "task")
        rounds["put_writes"].append(counter.count("put_writes"))
        if len(saver.get_tuple(config).checkpoint["channel_values"]["messages"]) != 2 * TURNS + 1:
            raise AssertionError("The saved message is not in the thread.")
    return [_fewest(found) for found in rounds.values()]


def _answer(text: str) -> AIMessage:
    return AIMessage(text, id=str(uuid.uuid4()))


def _next(saver: Any, head: Any, message: AIMessage) -> tuple[Any, Any]:
    """Make the checkpoint that LangGraph makes when a node adds a message to a head, and its metadata."""
    before = copy_checkpoint(head.checkpoint)
    step = head.metadata["step"] + 1
    version = saver.get_next_version(before["channel_versions"]["messages"], None)
    values = {**before["channel_values"], "messages": [*before["channel_values"]["messages"], message]}
    versions = {**before["channel_versions"], "messages": version}
    made = {**create_checkpoint(before, None, step), "channel_values": values, "channel_versions": versions}
    return made, {"source": "loop", "step": step, "parents": {}}


def approval_count(peer: Peer, saver: Any) -> Count:
    """Count an approval from the answer to the reply: the tool runs, and the model reads its result."""

    @needs_approval
    @tool
    def send_mail(to: str, subject: str, body: str) -> str:
        """Send a mail to a customer."""
        return f"The mail to {to} is sent."

    agent = build_graph(tools=[send_mail], checkpointer=saver)
    counter, rounds = Counter(peer), []
    for number in range(ROUNDS + 1):
        conversation = Conversation(agent, f"approval-{number}")
        conversation.send("Send a mail to ada@example.org saying hello")
        with counter.counting():
            reply = conversation.approve(by="Grace")
        if reply.pending or "The mail to ada@example.org is sent." not in map(_text, conversation.history()):
            raise AssertionError(f"The approval did not go through: {reply}")
        rounds.append(counter.count("approval"))
    return _fewest(rounds[1:])  # the first round warms up


def _text(message: Any) -> str:
    return str(message.text)


def _fewest(rounds: Sequence[Count]) -> Count:
    fewest = min(rounds, key=lambda count: count.calls)
    fewest.steady = all(count == fewest for count in rounds)
    return fewest


def table(found: Sequence[Count]) -> str:
    """Lay the counts out as Markdown; `≥` where the rounds differ."""
    lines = ["| operation | saver | calls | modules | statements |", "|---|---|---:|---:|---:|"]
    for count in found:
        least = "" if count.steady else "≥ "
        figures = f"{least}{count.calls:,} | {len(count.modules)} | {count.statements}"
        lines.append(f"| {count.operation} | {count.database}, {count.name} | {figures} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.calls", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts, with the modules, to this file")
    parser.add_argument("--url", help="count only Holdfast, on this empty database")
    options = parser.parse_args()
    found = list(_counted(options.url))
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps([asdict(count) for count in found], indent=1) + "\n")


def _counted(url: str | None) -> Iterator[Count]:
    if url:
        yield from counts(peer_at(url))
        return
    with tempfile.TemporaryDirectory() as folder, postgres_server() as server:
        for peer in [peer_at("memory://"), *peers(Path(folder), server)]:
            if not peer.delta:
                yield from counts(peer)


if __name__ == "__main__":
    main()
