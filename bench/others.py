"""What is lost with the checkpointers of other databases, beside Holdfast's own: bytes, messages, effects."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier, Thread
from typing import Any, Final

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool, tool

from bench.sizes import FULL, Sizes
from bench.talking import MESSAGE_CHARACTERS, Texts, graph_of
from holdfast import Conversation, build_graph, needs_approval
from holdfast.savers import open_saver

WRITERS: Final = 2
EACH: Final = 20
"""The messages that each writer sends to the thread that they share."""

_THINKS: Final = 0.01  # seconds; a model takes longer


def others(name: str, url: str, size: Callable[[Any], int], sizes: Sizes = FULL) -> dict[str, Any]:
    """Measure one checkpointer on an empty database.

    Args:
        name: the database and the class of the checkpointer.
        url: the database, a URL of `open_saver`.
        size: returns the bytes that the database has, for the open checkpointer.
        sizes: how much is measured.
    """
    with open_saver(url) as saver:
        before, say = size(saver), Texts()
        talk = Conversation(graph_of(saver, say), "long")
        for _ in range(sizes.others_turns):
            talk.send(say())
        stored = size(saver) - before
    return {
        "name": name,
        "text": 2 * MESSAGE_CHARACTERS * sizes.others_turns,
        "turns": sizes.others_turns,
        "bytes": stored,
        **_lost_of_two_writers(url),
        "killed": sizes.others_kills,
        "ran_twice": sum(_runs_twice(url) for _ in range(sizes.others_kills)),
    }


def _lost_of_two_writers(url: str) -> dict[str, int]:
    """Send messages to one thread from two writers at once. Count those that were answered and are not there."""
    answered: list[str] = []
    barrier = Barrier(WRITERS)

    def write(writer: int) -> None:
        with open_saver(url) as saver:
            talk = Conversation(graph_of(saver, _think), "shared")
            barrier.wait()
            for number in range(EACH):
                talk.send(f"{writer} {number}")
                answered.append(f"{writer} {number}")

    writers = [Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    with open_saver(url) as saver:
        there = {message.text for message in Conversation(graph_of(saver, _think), "shared").history()}
    return {"answered": len(answered), "lost": len(set(answered) - there)}


def _think() -> str:
    time.sleep(_THINKS)  # as a model does: two writers are at work at the same time
    return "yes"


def _runs_twice(url: str) -> bool:
    """Kill the process of an approved call, after its effect. Go on, and return whether the call ran again."""
    thread_id = str(uuid.uuid4())
    with TemporaryDirectory() as folder:
        effects = Path(folder) / "effects"
        with open_saver(url) as saver:
            _payer(saver, thread_id, effects).send("Pay for order 1001.")
        process = multiprocessing.get_context("spawn").Process(target=_approve, args=(url, thread_id, effects, True))
        process.start()
        process.join()
        if process.exitcode != -signal.SIGKILL or _count(effects) != 1:
            raise AssertionError(f"{url}: the call was not killed after its effect: {process.exitcode}")
        _approve(url, thread_id, effects)
        return _count(effects) > 1


def _approve(url: str, thread_id: str, effects: Path, dies: bool = False) -> None:
    """Approve the call that waits, or go on with it if its answer is on record."""
    with open_saver(url) as saver:
        talk = _payer(saver, thread_id, effects, dies=dies)
        waiting = talk.pending()
        if waiting:
            talk.approve(waiting[0].interrupt_id)
        else:
            talk.retry()


def _payer(saver: Any, thread_id: str, effects: Path, *, dies: bool = False) -> Conversation:
    return Conversation(build_graph(model=Payer(), tools=[_paying(effects, dies)], checkpointer=saver), thread_id)


def _paying(effects: Path, dies: bool) -> BaseTool:
    @needs_approval
    @tool
    def pay(order_id: int) -> str:
        """Pay for an order."""
        with effects.open("a") as file:
            file.write(f"{order_id}\n")
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return "It is paid."

    return pay


def _count(effects: Path) -> int:
    return len(effects.read_text().splitlines()) if effects.exists() else 0


class Payer(BaseChatModel):
    """A model that pays, and then says so."""

    @property
    def _llm_type(self) -> str:
        return "payer"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        call = {"name": "pay", "args": {"order_id": 1001}, "id": "call_0"}
        paid = isinstance(messages[-1], ToolMessage)
        answer = AIMessage("It is paid.") if paid else AIMessage("", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=answer)])


def stored_bytes(kind: str) -> Callable[[Any], int]:
    """Return what counts the bytes of a database, by the kind of its URL: in the memory of a server that has it all."""
    return _SIZES[kind]


def _mysql(saver: Any) -> int:
    with saver._cursor() as cursor:  # noqa: SLF001 - has no public name
        cursor.execute("ANALYZE TABLE checkpoints, checkpoint_blobs, checkpoint_writes")
        cursor.fetchall()
        tables = "information_schema.tables WHERE table_schema = database()"
        cursor.execute(f"SELECT sum(data_length + index_length) AS bytes FROM {tables}")
        return int(cursor.fetchone()["bytes"])


def _dynamodb(saver: Any) -> int:
    """Count the items of the table, by the names and the values of their fields, and the objects in the bucket."""
    import boto3  # type: ignore[import-untyped]  # only this database needs it

    pages = saver.client.get_paginator("scan").paginate(TableName="chat")
    fields = (pair for page in pages for item in page["Items"] for pair in item.items())
    in_table = sum(len(name) + len(next(iter(value.values()))) for name, value in fields)
    s3: Any = boto3.client("s3", region_name="eu-central-1", endpoint_url=saver.client.meta.endpoint_url)
    listed = s3.get_paginator("list_objects_v2").paginate(Bucket="chat")
    return in_table + sum(found["Size"] for page in listed for found in page.get("Contents", ()))


_SIZES: Final[dict[str, Callable[[Any], int]]] = {
    "redis": lambda saver: int(saver._redis.info("memory")["used_memory_dataset"]),  # noqa: SLF001 - the same
    "valkey": lambda saver: int(saver.client.info("memory")["used_memory_dataset"]),
    "mysql": _mysql,
    "dynamodb": _dynamodb,
}
