"""Functions that the tests run in other processes: real ones, that can be killed.

They are forked from the server of `tests.support.forked`, in a few milliseconds.
"""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Collection
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.graph import MessagesState
from langgraph.types import Command, interrupt

from holdfast import open_store
from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.errors import AlreadyAnswered, ThreadConflict
from tests.support.forked import PATIENCE, context
from tests.support.kit import checkpoint, echo_graph, one_node, put, texts, thread


class Child:
    """A program in a process of its own."""

    def __init__(self, program: Callable[..., Any], *args: Any) -> None:
        self._answer, answer = context().Pipe(duplex=False)
        self._process = context().Process(target=_main, args=(answer, program, *args), daemon=True)
        self._process.start()
        answer.close()

    def result(self) -> Any:
        """Return the program's result, or the signal that killed it as a negative number."""
        self._process.join(PATIENCE)
        code = self._process.exitcode
        if code is None:
            self._process.kill()
            self._process.join()
        try:
            done, answer = self._answer.recv()
        except EOFError:
            done, answer = code is not None, code
        self._answer.close()
        self._process.close()
        assert done, f"the child failed: {answer or 'it did not end'}"
        return answer


def barrier(parties: int) -> Barrier:
    """A barrier for children."""
    return context().Barrier(parties, timeout=PATIENCE)


def run(program: Callable[..., Any], *args: Any) -> Any:
    """Run a program in a process of its own, and wait for it."""
    return Child(program, *args).result()


def _main(answer: Connection, program: Callable[..., Any], *args: Any) -> None:
    try:
        answer.send((True, program(*args)))
    except BaseException:  # noqa: BLE001 - the parent decides
        answer.send((False, traceback.format_exc()))
    answer.close()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DieBeforeCommit:
    """To be called before each statement: dies before commit number `commit`, counted from 0.

    Args:
        commit: which.
        reads: statements that only read. Of a transaction without others the commit does not count.
    """

    def __init__(self, commit: int, reads: Collection[str] = ()) -> None:
        self._left = commit
        self._reads = {"begin", "commit", *reads} if reads else ()
        self._counts = not reads

    def __call__(self, name: str) -> None:
        self._counts |= name not in self._reads
        if name == "commit" and self._counts:
            if not self._left:
                die()
            self._left -= 1
            self._counts = not self._reads


# --- programs


def put_after(
    saver: HoldfastSaver, config: RunnableConfig, found: CheckpointTuple | None, *new: BaseMessage, **values: Any
) -> None:
    """Save a checkpoint that follows the one that was found with `config`, and has more messages."""
    said = found.checkpoint["channel_values"]["messages"] if found else []
    version = saver.get_next_version(max(found.checkpoint["channel_versions"].values()) if found else None, None)
    saved = checkpoint([*said, *new], **values)
    saved["channel_versions"] = dict.fromkeys(saved["channel_values"], version)
    put(saver, found.config if found else config, saved)


def send_until_it_is_taken(saver: HoldfastSaver, word: str, gate: Callable[[], object], times: int = 2) -> list[str]:
    """Say something in thread `ada-1` some times, and each time again after a conflict.

    Args:
        gate: is called once the head is loaded for the first time.

    Returns:
        The ids of the messages that were acknowledged, and how often it was refused, as its last element.
    """
    acknowledged: list[str] = []
    attempts = 0
    while len(acknowledged) < times:
        config = thread(checkpoint_ns="")
        found = saver.get_tuple(config)
        if not attempts:
            gate()
        attempts += 1
        id_ = f"{word}.{attempts}"
        try:
            put_after(saver, config, found, HumanMessage(word, id=id_))
        except ThreadConflict:
            continue
        acknowledged.append(id_)
    return [*acknowledged, str(attempts - times)]


def send_all(url: str, word: str, gate: Barrier) -> list[str]:
    with open_checkpointer(url) as saver:
        return send_until_it_is_taken(saver, word, gate.wait)


def talk(url: str, text: str, thread_id: str = "ada-1") -> list[str]:
    """Say something, and return all that was said in the thread."""
    with open_checkpointer(url) as saver:
        echo_graph(saver).invoke({"messages": [("user", text)]}, thread(thread_id))
        return texts(saver, thread_id)


def die_in_save(url: str, kind: Literal["put", "put_writes"], last: int) -> list[str]:
    """Save on the head of thread `ada-1`, and die before statement number `last` of it, counted from 0.

    Returns:
        The names of the statements, if there were not that many.
    """
    with open_checkpointer(url) as saver:
        found = saver.get_tuple(thread())
        config = found.config if found else thread(checkpoint_ns="", checkpoint_id="none")
        said = found.checkpoint["channel_values"]["messages"][:1] if found else []
        seen: list[str] = []

        def count(name: str) -> None:
            if len(seen) == last:
                die()
            seen.append(name)

        new = [HumanMessage("saved", id="saved-1"), AIMessage("too", id="saved-2")]
        saver._backend.on_statement = count
        if kind == "put":
            put_after(saver, thread(), found, *new, note="n" * 500)
        else:
            saver.put_writes(config, [("messages", [*said, *new]), ("other", "kept")], "task-1")
        saver._backend.on_statement = None
        return seen


def die_in_work(url: str, work: Callable[[HoldfastSaver], object], last: int) -> list[str]:
    """Do something, and die before statement number `last` of it, counted from 0; the same one again does not count.

    Returns:
        The names of the statements, if there were not that many.
    """
    with open_checkpointer(url) as saver:
        seen: list[str] = []

        def count(name: str) -> None:
            if seen[-1:] == [name]:
                return
            if len(seen) == last:
                die()
            seen.append(name)

        saver._backend.on_statement = count
        work(saver)
        saver._backend.on_statement = None
        return seen


def die_in_turn(url: str, word: str, commit: int) -> list[str]:
    """Have a turn on thread `ada-1`, and die before commit number `commit` of it, counted from 0.

    Returns:
        All that was said, if there were not that many.
    """
    with open_checkpointer(url) as saver:
        saver._backend.on_statement = DieBeforeCommit(commit)
        # A turn may be whole and its process die on a write that comes behind; then the repeated one finds its answer.
        graph = echo_graph(saver, reply=lambda _: f"You said: {word}")
        graph.invoke({"messages": [HumanMessage(word, id=word)]}, thread(), durability="sync")
        saver._backend.on_statement = None
        return texts(saver)


def approval_graph(saver: HoldfastSaver) -> Any:
    """A graph that asks a person before it answers."""

    def ask(state: MessagesState) -> dict[str, Any]:
        answer = interrupt({"question": f"Answer {state['messages'][-1].text!r}?"})
        return {"messages": [AIMessage(f"The person said {answer}.")]}

    return one_node(saver, ask)


def pause_and_die(url: str) -> None:
    with open_checkpointer(url) as saver:
        approval_graph(saver).invoke({"messages": [("user", "May I?")]}, thread(), durability="sync")
        die()


def resume_or_die(url: str, answer: str, commit: int) -> list[str]:
    """Answer the pause of thread `ada-1`, or go on where the last attempt was killed, and die before that commit."""
    with open_checkpointer(url) as saver:
        graph = approval_graph(saver)
        resume = {pending.id: answer for pending in graph.get_state(thread()).interrupts}
        saver._backend.on_statement = DieBeforeCommit(commit)
        graph.invoke(Command(resume=resume) if resume else None, thread(), durability="sync")
        saver._backend.on_statement = None
        return texts(saver)


def boot_and_talk(url: str, number: int, gate: Barrier) -> list[str]:
    """Open a database at the same moment as others, and talk in a thread of its own and in one of all."""
    saver = open_checkpointer(url)
    gate.wait()
    with saver:
        send_until_it_is_taken(saver, f"word-{number}", lambda: None, times=1)
        for turn in range(2):
            echo_graph(saver).invoke({"messages": [("user", f"{turn}")]}, thread(f"t{number}"))
        return texts(saver, f"t{number}")


def die_with_lease(url: str, ttl: float) -> None:
    """Take the lease of thread `ada-1`, and die with it."""
    with open_checkpointer(url) as saver, saver.lease("ada-1", ttl=ttl):
        die()


def answer_at_once(url: str, interrupt_id: str, name: str, gate: Barrier) -> tuple[bool, str | None]:
    """Answer a question of thread `ada-1` at the same moment as others. Gives whether it was taken, and whose was."""
    with open_checkpointer(url) as saver:
        gate.wait()
        try:
            return True, saver.interrupts.answer("ada-1", interrupt_id, {"type": "approve"}, by=name).by
        except AlreadyAnswered as refused:
            return False, refused.by


def refunds(saver: HoldfastSaver, effects: str) -> Any:
    """An agent that asks a person for a refund, which is a line in a file."""
    from holdfast.graph import build_graph, needs_approval
    from tests.support.graph_kit import ScriptedModel, calls, says

    @needs_approval
    @tool
    def refund(order_id: int) -> str:
        """Refund an order."""
        with Path(effects).open("a") as file:
            file.write("run\n")
        return "refunded"

    # A turn that has begun has had its first line.
    lines = [calls(("refund", {"order_id": 1})), says("done")]
    model = ScriptedModel(lines=lines[1:] if Path(effects).exists() else lines)
    return build_graph(model=model, tools=[refund], checkpointer=saver)


def approve_or_die(url: str, thread_id: str, effects: str, bare: bool, commit: int) -> str:
    """Approve what waits, in a conversation or by LangGraph alone, and die before that commit."""
    from holdfast.graph import Conversation

    with open_checkpointer(url) as saver:
        agent = refunds(saver, effects)
        [asked] = saver.interrupts.waiting(thread_id=thread_id)
        reads = ("find_checkpoints", "find_writes", "load_rows", "thread", "todo", "interrupt", "first_tickets")
        saver._backend.on_statement = DieBeforeCommit(commit, reads)
        if bare:
            resume = {asked.interrupt_id: {"type": "approve", "by": "Grace"}}
            result = agent.invoke(Command(resume=resume), thread(thread_id), durability="sync")
            saver._backend.on_statement = None
            return str(result["messages"][-1].text)
        text = Conversation(agent, thread_id).approve(asked.interrupt_id, by="Grace").text
        saver._backend.on_statement = None
        return text


def remember(url: str, name: str, together: Barrier) -> int:
    """Open a store at the same time as others, and put 20 items into a namespace. Return how many are there."""
    together.wait()
    with open_store(url) as store:
        for number in range(20):
            store.put((name,), str(number), {"number": number})
        return len(store.search((name,), limit=100))
