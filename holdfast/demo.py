"""The demo: ask for a refund, pause for an approval, kill the process, approve in another, and continue.

`python -m holdfast.demo` needs no key and no server. Each act runs in a process of its own, so only the database can
carry the conversation from one to the next. The demo checks its claims, and fails with one line if one is not true.
"""

import argparse
import json
import os
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command

from holdfast.checkpoints import open_checkpointer, urls
from holdfast.checkpoints.errors import HoldfastError, InvalidURL
from holdfast.graph import build_graph
from holdfast.graph.agent import PROMPT, Agent
from holdfast.graph.shop import Shop, shop_tools
from holdfast.settings import absolute

HOUSE = Path(__file__).resolve().parent.parent
ASKED = "Hello, my name is Ada. Please refund order 1001."
WENT_ON = "Thank you. What is my name?"

# Seconds after which an act counts as hung. Each takes about two.
PATIENCE = 60


class DemoFailedError(Exception):
    """A claim of the demo was not true."""


class DemoRefusedError(ValueError):
    """The demo cannot use the folder or the database that it was given."""


@dataclass(frozen=True)
class Place:
    """The places of the demo's data."""

    database: str
    shop: str
    thread_id: str


# --- the acts: each runs in a process of its own, and writes its events to the parent, one JSON line each ---


def tell(who: str, text: str) -> None:
    """Write an event to the parent: who says or does what."""
    print(json.dumps([who, text]), flush=True)


@contextmanager
def agent_at(place: Place) -> Iterator[tuple[Agent, RunnableConfig]]:
    """Open the database, and yield the agent and the config of the thread."""
    with open_checkpointer(place.database) as checkpointer:
        yield (
            build_graph(tools=shop_tools(place.shop), prompt=PROMPT, checkpointer=checkpointer),
            {"configurable": {"thread_id": place.thread_id}},
        )


def act_ask(place: Place) -> None:
    """Play the customer who asks for a refund. The agent pauses, and the process then waits to be killed."""
    with agent_at(place) as (agent, thread):
        _say(agent, thread, ASKED)
        for pause in agent.get_state(thread).interrupts:
            tell("paused", pause.value["description"])
        # The parent holds the other end of this pipe, so this also ends if the parent dies.
        sys.stdin.read()


def act_approve(place: Place) -> None:
    """Play the person who finds the waiting call from another process, and approves it."""
    with agent_at(place) as (agent, thread):
        state = agent.get_state(thread)
        for pause in state.interrupts:
            request = pause.value
            tell("waits", f"{request['description']}: {request['name']} {json.dumps(request['args'])}")
            tell("", f"asked {str(state.created_at)[:19]} UTC in thread {place.thread_id}")
            tell("Grace", "approves it")
            _run(agent, thread, Command(resume={pause.id: {"type": "approve", "by": "Grace"}}))


def act_go_on(place: Place) -> None:
    """Play the customer who comes back."""
    with agent_at(place) as (agent, thread):
        tell("thread", f"{len(agent.get_state(thread).values['messages'])} messages, read from the database")
        _say(agent, thread, WENT_ON)


def _say(agent: Agent, thread: RunnableConfig, text: str) -> None:
    tell("Ada", text)
    _run(agent, thread, {"messages": [{"role": "user", "content": text}]})


def _run(agent: Agent, thread: RunnableConfig, input: Any) -> None:
    # "sync": every step is in the database before the next begins.
    for update in agent.stream(input, thread, stream_mode="updates", durability="sync"):
        for change in update.values():
            for message in change.get("messages", []) if isinstance(change, dict) else []:
                _tell_message(message)


def _tell_message(message: BaseMessage) -> None:
    tell("shop" if isinstance(message, ToolMessage) else "agent", message.text)


ACTS = {"ask": act_ask, "approve": act_approve, "go-on": act_go_on}


def run_act(act: str) -> int:
    """Run one act in this process, at the place that the parent writes to the first line of standard input."""
    try:
        ACTS[act](Place(**json.loads(sys.stdin.readline())))
    except HoldfastError as error:
        tell("failed", str(error))
        return 1
    return 0


# --- the parent: starts the acts, kills one, counts in the shop ---


def line(who: str, text: str) -> None:
    """Print one line of the story, aligned and wrapped."""
    first, rest = f"   {who:<9}", " " * 12
    print(textwrap.fill(text, width=100, initial_indent=first, subsequent_indent=rest), flush=True)


@contextmanager
def process(place: Place, act: str, title: str) -> Iterator[subprocess.Popen[str]]:
    """Start an act in a process of its own, which is killed when the block ends."""
    command = [sys.executable, "-m", "holdfast.demo", "--act", act]
    paths = [str(HOUSE), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    child = subprocess.Popen(command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    # Reading the child's lines has no timeout, so a timer kills a child that hangs.
    watchdog = threading.Timer(PATIENCE, child.kill)
    watchdog.start()
    print(f"\n{title} (process {child.pid})", flush=True)
    with child:
        try:
            # Through the pipe: every user of the machine can read a command line, and the URL may hold a password.
            assert child.stdin is not None  # noqa: S101 - Popen was given a pipe
            child.stdin.write(json.dumps(vars(place)) + "\n")
            child.stdin.flush()
            yield child
        finally:
            watchdog.cancel()
            child.kill()


def events_of(child: subprocess.Popen[str]) -> Iterator[tuple[str, str]]:
    """Yield the events of an act as they come.

    Raises:
        DemoFailedError: the act failed.
    """
    assert child.stdout is not None  # noqa: S101 - Popen was given a pipe
    for text in child.stdout:
        who, what = json.loads(text)
        if who == "failed":
            raise DemoFailedError(what.rstrip("."))
        yield who, what


def expect(claim: bool, failed: str) -> None:
    """Raise `DemoFailedError` if a claim is not true."""
    if not claim:
        raise DemoFailedError(failed)


def ask_and_kill(place: Place, shop: Shop) -> None:
    with process(place, "ask", "1  A customer asks for a refund") as child:
        paused = False
        for who, what in events_of(child):
            if who == "paused":
                line("pause", f"{what}? A person has to decide.")
                paused = True
                break
            line(who, what)
        expect(paused, "the agent did not pause for an approval")
        child.send_signal(signal.SIGKILL)
        code = child.wait(PATIENCE)
    expect(code == -signal.SIGKILL, f"the process ended with code {code}, not by signal 9")
    refunds = shop.count("refunds")
    expect(refunds == 0, f"{refunds} refunds happened before one was approved")
    line("kill -9", f"Process {child.pid} is dead. Refunds in the shop: {refunds}")


def check_refund(shop: Shop, text: str) -> None:
    """Check that exactly one refund happened, and print the number after a text."""
    refunds = shop.count("refunds")
    expect(refunds == 1, f"{refunds} refunds happened, not 1")
    line("check", f"{text} {refunds}")


def approve_elsewhere(place: Place, shop: Shop) -> None:
    events = run_to_end(place, "approve", "2  Another process finds what waits, and a person approves it")
    waiting = [what for who, what in events if who == "waits"]
    expect(len(waiting) == 1, f"{len(waiting)} approvals were waiting, not 1")
    check_refund(shop, "Refunds in the shop:")


def come_back(place: Place, shop: Shop) -> None:
    events = run_to_end(place, "go-on", "3  The customer comes back, in a third process")
    answers = [what for who, what in events if who == "agent"]
    expect("Ada" in " ".join(answers), f"the agent no longer knew the customer's name: {answers}")
    check_refund(shop, "The name is known, and refunds in the shop are still")


def run_to_end(place: Place, act: str, title: str) -> list[tuple[str, str]]:
    """Run an act to its end, print its events and return them."""
    events = []
    with process(place, act, title) as child:
        for who, what in events_of(child):
            line(who, what)
            events.append((who, what))
        code = child.wait(PATIENCE)
    expect(code == 0, f"the process of '{act}' ended with code {code}")
    return events


NEXT = """
What to try next, from {house}

   Continue the same thread{hidden}. Ask for a refund of order 1002, and decide later:

     {holdfast} chat --thread {thread} {options}

   List the calls that wait, from any other terminal, and approve one:

     {holdfast} approvals list {at}
     {holdfast} approvals approve {options}

   Look into the shop:

     {python} -c {look}
"""


def play(place: Place) -> None:
    """Play the three acts.

    Raises:
        DemoFailedError: a claim of an act was not true.
    """
    database = str(urls.parse(place.database))  # without its password
    print("Holdfast: a conversation, and an approval, that outlive their process")
    print(f"\n   conversations   {database}\n   shop            {place.shop}\n   thread          {place.thread_id}")
    shop = Shop(place.shop)
    for act in (ask_and_kill, approve_elsewhere, come_back):
        act(place, shop)
    python, holdfast = Path(sys.executable), Path(sys.executable).with_name("holdfast")
    look = f"from holdfast.graph.shop import Shop; print(Shop({place.shop!r}).orders_of('Ada'))"
    command = [_from_house(holdfast)] if holdfast.exists() else [_from_house(python), "-m", "holdfast"]
    # The demo runs offline even if the environment has a key, and so do these commands.
    options = ["--database", database, "--shop", place.shop, "--model", "offline"]
    print(
        NEXT.format(
            house=shlex.quote(str(HOUSE)),
            hidden=" (write the password in place of ***)" if "***" in database else "",
            holdfast=shlex.join(command),
            thread=shlex.quote(place.thread_id),
            at=shlex.join(options[:2]),
            options=shlex.join(options),
            python=shlex.quote(_from_house(python)),
            look=shlex.quote(look),
        ),
        end="",
    )


def _from_house(program: Path) -> str:
    return str(program.relative_to(HOUSE) if program.is_relative_to(HOUSE) else program)


def run_demo_at(keep: Path | None, database: str | None) -> None:
    """Play the demo.

    Args:
        keep: the folder for its data; a new temporary folder by default.
        database: the URL of the database for its conversation; a SQLite file in that folder by default.

    Raises:
        DemoRefusedError: the folder or the database cannot be used.
        DemoFailedError: a claim of the demo was not true.
    """
    try:
        folder = (keep or Path(tempfile.mkdtemp(prefix="holdfast-demo-"))).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        shop = folder / "shop.db"
        if shop.exists():
            raise DemoRefusedError(
                f"{folder} holds an earlier demo, whose order is refunded already. Name another folder."
            )
        if database and isinstance(urls.parse(database), urls.MemoryURL):
            raise DemoRefusedError(
                "memory:// is deleted when its process ends, and the demo needs a database that outlives them. "
                "Name a SQLite file or PostgreSQL."
            )
        url = absolute(database or f"sqlite:///{quote(str(folder / 'chat.db'))}")
    except (OSError, InvalidURL) as error:
        raise DemoRefusedError(str(error)) from error
    try:
        # Each demo has a thread of its own, so that several can share a database.
        play(Place(url, str(shop), f"ada-{secrets.token_hex(2)}"))
    except DemoFailedError as error:
        raise DemoFailedError(f"The demo failed: {error}. Its data is in {folder}") from error


def main(arguments: list[str] | None = None) -> int:
    """Run the demo, or one of its acts, and return the exit code: 1 if the demo failed, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(prog="python -m holdfast.demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="folder for the data; a new temporary folder by default"
    )
    parser.add_argument("--database", metavar="URL", help="database for the conversation; a SQLite file by default")
    parser.add_argument("--act", choices=list(ACTS), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.act:
        return run_act(options.act)

    try:
        run_demo_at(options.keep, options.database)
    except DemoRefusedError as error:
        parser.error(str(error))
    except DemoFailedError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
