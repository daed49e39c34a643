"""Random walks: savers of one database change the same threads, one step after the other.

A step is drawn before it is taken, and says nothing of the database. So several worlds can take the same walk, and must
be the same after each step, whichever ways their saves go. The ids of checkpoints differ: in a picture of a world they
are numbers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import Interrupt, Send

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.core.conflicts import id_before
from holdfast.checkpoints.errors import HoldfastError
from tests.support.dialects import dialect_of
from tests.support.index_kit import COUNTED
from tests.support.kit import checkpoint, rows, thread
from tests.support.stock_kit import stock_saver
from tests.support.walk_words import TEXTS, any_message, change_messages, other_channels, plain

THREADS: Final = ("one", "two")
SAVERS: Final = 2

_RUNS: Final = ("run-1", "run-2", "run-3")

_STEPS: Final = {
    "load": 12,
    "put": 40,
    "write": 30,
    "sub_put": 12,
    "sub_write": 8,
    "branch": 4,
    "prompt": 3,
    "rename": 1,
    "undo": 2,
    "restart": 2,
    "prune": 2,
    "delete_runs": 1,
    "delete": 1,
    "copy": 1,
    "index": 1,
    "stock_put": 1,
    "stock_write": 1,
    "stock_delete": 1,
}


_TRACELESS: Final = {"write", "sub_put", "sub_write"}


class Step(NamedTuple):
    """A step of a walk."""

    name: str
    saver: int
    thread: str
    seed: str
    """Of all else that is chosen."""


def walk(seed: int, length: int) -> Iterator[Step]:
    """Return the steps of a walk."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    for number in range(length):
        [name] = chance.choices([*_STEPS], [*_STEPS.values()])
        yield Step(name, chance.randrange(SAVERS), chance.choice(THREADS), f"{seed}.{number}")


@dataclass
class _Run:
    """What a saver's run of a thread has."""

    config: RunnableConfig
    messages: list[AnyMessage]
    subgraph: RunnableConfig | None = None
    of_subgraph: list[AnyMessage] = field(default_factory=list)


class World:
    """A database, and savers that know it as processes of their own do."""

    def __init__(self, url: str, *, locked: bool = False, exact: bool = False) -> None:
        """
        Args:
            url: the database.
            locked: whether each save locks its thread and reads all that it needs.
            exact: whether a saver learns what another one has claimed without a trace. Else a message without an id may
                be taken for a row that has got an id since, as if it had been saved before.
        """
        self._url = url
        self._locked, self._exact = locked, exact
        self._unseen: dict[str, set[int]] = {}
        """By thread: the savers that have not learned what others may have claimed."""
        self._stack = ExitStack()
        self._runs: dict[tuple[int, str], _Run] = {}
        self._saved: dict[tuple[str, str, str], Any] = {}
        """What was saved as the values of a checkpoint."""
        self._numbers: dict[Any, str] = {}
        """Of the ids of checkpoints, in the order in which they are seen."""

    def __enter__(self) -> Self:
        self.savers = [self._stack.enter_context(open_checkpointer(self._url)) for _ in range(SAVERS)]
        self.reader = self._stack.enter_context(open_checkpointer(self._url))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def take(self, step: Step) -> str:
        """Take a step, and return what became of it."""
        chance = random.Random(step.seed)  # noqa: S311 - no secret
        saver = self.savers[step.saver]
        if self._locked:
            saver._database.states.forget_all()
        unseen = self._unseen.setdefault(step.thread, set())
        if self._exact and step.saver in unseen:
            saver._database.states.forget(step.thread)
        unseen.discard(step.saver)
        if step.name in _TRACELESS:
            unseen.update({*range(SAVERS)} - {step.saver})
        action: Callable[[Step, HoldfastSaver, random.Random], object] = getattr(self, f"_{step.name}")
        try:
            return f"{step.name}: {action(step, saver, chance)}"
        except HoldfastError as error:
            unseen.update({*range(SAVERS)} - {step.saver})  # what is refused is kept as a branch
            return f"{step.name}: {type(error).__name__}"
        finally:
            known = self._numbers
            for id_ in sorted(
                {id_ for (id_,) in rows(self.reader, "SELECT checkpoint_id FROM checkpoints")} - {*known}
            ):
                known[id_] = f"#{len(known):03}"

    # --- steps

    def _run(self, step: Step, saver: HoldfastSaver) -> _Run:
        return self._runs.get((step.saver, step.thread)) or self._loaded(step, saver)

    def _loaded(self, step: Step, saver: HoldfastSaver) -> _Run:
        config = thread(step.thread, checkpoint_ns="")
        found = saver.get_tuple(config)
        run = _Run(config, []) if found is None else _Run(found.config, _messages(found))
        self._runs[step.saver, step.thread] = run
        return run

    def _load(self, step: Step, saver: HoldfastSaver, _: random.Random) -> Any:
        return len(self._loaded(step, saver).messages)

    def _put(self, step: Step, saver: HoldfastSaver, chance: random.Random) -> Any:
        run = self._run(step, saver)
        try:
            run.config = self._save(step, saver, run.config, run.messages, chance)
        except HoldfastError:
            del self._runs[step.saver, step.thread]  # a run that is refused ends
            raise
        return len(run.messages)

    def _sub_put(self, step: Step, saver: HoldfastSaver, chance: random.Random) -> Any:
        run = self._run(step, saver)
        config = run.subgraph or thread(step.thread, checkpoint_ns=chance.choice(["sub:1", "memory"]))
        try:
            run.subgraph = self._save(step, saver, config, run.of_subgraph, chance)
        except HoldfastError:
            run.subgraph, run.of_subgraph = None, []
            raise
        return len(run.of_subgraph)

    def _save(
        self,
        step: Step,
        saver: HoldfastSaver,
        config: RunnableConfig,
        messages: list[AnyMessage],
        chance: random.Random,
    ) -> RunnableConfig:
        change_messages(messages, chance)
        values: dict[str, Any] = {"messages": list(messages), **other_channels(messages, chance)}
        if chance.random() < 0.5:
            values = dict(reversed(values.items()))
        saved = checkpoint([])
        saved["channel_values"] = values
        saved["channel_versions"] = dict.fromkeys(values, saved["channel_versions"]["messages"])
        metadata: dict[str, Any] = {"source": "loop", "step": chance.randrange(9), "run_id": chance.choice(_RUNS)}
        if chance.random() < 0.3:
            metadata["user_id"] = chance.choice(["ada", "bob"])
        if chance.random() < 0.2:
            metadata["topic"] = chance.choice(["maths", "tea"])
        said = plain(values)
        found = saver.put(config, saved, metadata, saved["channel_versions"])  # type: ignore[arg-type]
        place = found["configurable"]
        self._saved[step.thread, place["checkpoint_ns"], str(place["checkpoint_id"])] = said
        return found

    def _write(self, step: Step, saver: HoldfastSaver, chance: random.Random) -> Any:
        run = self._run(step, saver)
        if "checkpoint_id" not in run.config["configurable"]:
            return None
        return self._write_onto(run.config, saver, run.messages, chance)

    def _sub_write(self, step: Step, saver: HoldfastSaver, chance: random.Random) -> Any:
        run = self._run(step, saver)
        return run.subgraph and self._write_onto(run.subgraph, saver, run.of_subgraph, chance)

    def _write_onto(
        self, config: RunnableConfig, saver: HoldfastSaver, messages: list[AnyMessage], chance: random.Random
    ) -> Any:
        written: list[tuple[str, Any]] = []
        for _ in range(chance.randrange(1, 4)):
            # A task may write a message that the run then has, and the graph gives it an id in between.
            message = any_message(chance)
            messages.extend([message] if chance.random() < 0.3 else [])
            value = chance.choice([message, [message, any_message(chance)], "no message"])
            written.append((chance.choice(["messages", "messages", "other"]), value))
        if chance.random() < 0.1:
            pause = Interrupt(value={"of": chance.choice(TEXTS)}, id=chance.choice("pqr"))
            written = [("__interrupt__", (pause,))]
        elif chance.random() < 0.1:
            written.append(("__pregel_tasks", Send("node", {"messages": [any_message(chance)]})))
        task = f"task-{chance.randrange(4)}"
        run_id = {"run_id": chance.choice(_RUNS)} if chance.random() < 0.5 else {}
        saver.put_writes({**config, "metadata": run_id}, written, task)
        return len(written)

    def _branch(self, step: Step, saver: HoldfastSaver, chance: random.Random) -> Any:
        """Save from an older checkpoint, sometimes with a clock that is behind."""
        found = self._ids(step.thread)
        if not found:
            return None
        older = chance.choice(found)
        messages: list[AnyMessage] = [any_message(chance) for _ in range(3)]
        saved = checkpoint(messages)
        if chance.random() < 0.5:
            saved["id"] = id_before(max(found)) or ""
        metadata: Any = {"source": "loop", "step": 3}
        said = plain(saved["channel_values"])
        saver.put(
            thread(step.thread, checkpoint_ns="", checkpoint_id=older), saved, metadata, saved["channel_versions"]
        )
        self._saved[step.thread, "", saved["id"]] = said
        return found.index(older)

    def _prompt(self, step: Step, saver: HoldfastSaver, chance: random.Random) -> Any:
        saver._database.prompts[step.thread] = chance.choice(["Be kind.", "Be brief."])

    def _rename(self, step: Step, saver: HoldfastSaver, chance: random.Random) -> Any:
        return saver.threads.rename(step.thread, chance.choice([None, "A title"])).title

    def _undo(self, step: Step, saver: HoldfastSaver, _: random.Random) -> Any:
        return saver.threads.undo(step.thread).messages

    def _restart(self, step: Step, saver: HoldfastSaver, _: random.Random) -> Any:
        return saver.threads.restart(step.thread).messages

    def _prune(self, step: Step, saver: HoldfastSaver, _: random.Random) -> Any:
        saver.prune([step.thread])

    def _delete_runs(self, step: Step, saver: HoldfastSaver, chance: random.Random) -> Any:
        saver.delete_for_runs([chance.choice(_RUNS)])

    def _delete(self, step: Step, saver: HoldfastSaver, _: random.Random) -> Any:
        saver.delete_thread(step.thread)

    def _copy(self, step: Step, saver: HoldfastSaver, chance: random.Random) -> Any:
        [other] = [name for name in THREADS if name != step.thread]
        if chance.random() < 0.5:
            saver.delete_thread(other)
        saver.copy_thread(step.thread, other)

    def _index(self, step: Step, saver: HoldfastSaver, _: random.Random) -> Any:
        saver.threads.index(step.thread)

    def _stock_put(self, step: Step, _: HoldfastSaver, chance: random.Random) -> Any:
        newer = checkpoint([chance.choice(TEXTS)])
        metadata: Any = {"source": "loop", "step": 9}
        with stock_saver(self._url) as stock:
            stock.put(thread(step.thread, checkpoint_ns=""), newer, metadata, newer["channel_versions"])

    def _stock_write(self, step: Step, _: HoldfastSaver, chance: random.Random) -> Any:
        found = self._ids(step.thread)
        if found:
            config = thread(step.thread, checkpoint_ns="", checkpoint_id=max(found))
            with stock_saver(self._url) as stock:
                stock.put_writes(config, [("other", chance.choice(TEXTS))], "task-stock")

    def _stock_delete(self, step: Step, _: HoldfastSaver, chance: random.Random) -> Any:
        with stock_saver(self._url) as stock:
            stock.delete_thread(step.thread)

    def _ids(self, thread_id: str) -> list[str]:
        """Return the ids of the root checkpoints of a thread, in the order in which they were made."""
        of_thread = "SELECT checkpoint_id FROM checkpoints WHERE checkpoint_ns = '' AND thread_id = :thread_id"
        found = [str(id_) for (id_,) in rows(self.reader, of_thread, thread_id=thread_id)]
        return sorted(found, key=self._numbers.__getitem__)

    # --- what is there

    def picture(self, *, loaded: bool) -> dict[str, Any]:
        """Return all that is stored, without times; on demand also as it loads."""
        reader = self.reader
        found = {name: rows(reader, f"SELECT {columns}") for name, columns in _COLUMNS.items()}
        writes = "writes" if dialect_of(reader) == "sqlite" else "checkpoint_writes"
        of_writes = f"SELECT thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel FROM {writes}"
        found["writes"] = rows(reader, of_writes)
        picture: dict[str, Any] = {
            name: sorted((tuple(self._numbers.get(value, value) for value in row) for row in table), key=repr)
            for name, table in found.items()
        }
        if loaded:
            picture["loaded"] = sorted(map(self._described, reader.list(None)))
        return picture

    def _described(self, item: Any) -> Any:
        """Describe a checkpoint, and check that it loads as it was saved."""
        place = item.config["configurable"]
        key = place["thread_id"], place["checkpoint_ns"], place["checkpoint_id"]
        loaded = plain(item.checkpoint["channel_values"])
        assert loaded == self._saved.get(key, loaded), key
        parent = (item.parent_config or thread())["configurable"].get("checkpoint_id", "")
        writes = sorted(repr((task, channel, plain(value))) for task, channel, value in item.pending_writes or [])
        return key[0], key[1], self._numbers[key[2]], self._numbers.get(parent, parent), repr(loaded), writes

    def check(self) -> None:
        """Check the counts of the threads against their rows."""
        said = dict(rows(self.reader, COUNTED))
        size = dict.fromkeys(THREADS, 0)
        for thread_id, content, body in rows(self.reader, "SELECT thread_id, content, body FROM holdfast_messages"):
            size[thread_id] += len((content or "").encode()) + len(body)
        counted = "SELECT thread_id, messages, bytes FROM holdfast_threads WHERE head IS NOT NULL"
        for thread_id, messages, bytes_ in rows(self.reader, counted):
            assert (messages, bytes_) == (said.get(thread_id, 0), size[thread_id]), thread_id


_COLUMNS: Final = {
    "rows": "thread_id, seq, message_id, role, content, ns, channel, checkpoint_id, run_id, step, user_id"
    " FROM holdfast_messages",
    "threads": "thread_id, next_seq, live_from, user_id, title, metadata, head, unfinished, messages, bytes, prompt,"
    " deleted_at IS NULL FROM holdfast_threads",
    "requests": "thread_id, interrupt_id, checkpoint_ns, checkpoint_id, task_id, closed_why FROM holdfast_interrupts",
    "events": "thread_id, no, after_seq, kind FROM holdfast_events",
    "run writes": "run_id, thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel FROM holdfast_run_writes",
    "checkpoints": "thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id FROM checkpoints",
}


def _messages(found: Any) -> list[AnyMessage]:
    values = found.checkpoint["channel_values"].get("messages", [])
    return [value for value in values if not isinstance(value, str)]
