"""The record of the server's runs: each is a row of the database before its client is told of it.

This process has the row from the start and renews its claim. If the process dies, the claim expires, and another one
goes on with the run (see `worker`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal, TypeVar
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from holdfast.checkpoints import Claimed, HoldfastSaver, NewRun, Run
from holdfast.checkpoints.errors import HoldfastError, UnknownRun
from holdfast.checkpoints.langgraph_internals import RUN_MARK
from holdfast.server.langgraph import runtime
from holdfast.server.langgraph.answers import answers_due, bound_answers, brings_answers, record_answers
from holdfast.server.langgraph.runtime import ACTIVE, Entry, refused

T = TypeVar("T")

AT_ONCE: Final = 100

ROLLBACK: Final = "UserRollback"
"""The runtime's name of the error that stops a run and leaves nothing of it."""

# A worker for turns of `Conversation` has an agent's own name, and must not find these.
_PREFIX: Final = "langgraph:"

_log = logging.getLogger(__name__)


class RunRecord:
    """The runs of this server that are rows of the database.

    Args:
        saver: the checkpointer.
    """

    def __init__(self, saver: HoldfastSaver) -> None:
        self.saver = saver
        self.elsewhere: dict[UUID, Entry] = {}
        """The open runs that other processes carry out; see `elsewhere`."""
        self.leased: set[UUID] = set()
        """The threads in the registry whose lease another process holds."""
        self._held: dict[str, Claimed] = {}
        # Those whose end this server records, or has recorded. A row that was read before says that they are open.
        self._ended: set[str] = set()
        self._loop = asyncio.get_running_loop()
        self._claims = saver.runs.claims(self._stop)

    # --- accepting

    async def accept(self, run: Entry) -> None:
        """Write the row of a run, and record the answers that it brings, both or neither.

        Raises:
            HTTPException: an answer was refused (409 or 422) or is null (422), or the database is out of reach (503).
        """
        command = run["kwargs"].get("command") or {}
        if "resume" in command and not any(value is not None for value in command.values()):
            raise refused(422, "The answer is null, which LangGraph takes for no answer. Needed: {'resume': answer}.")
        resume = command.get("resume") if brings_answers() and not _at_checkpoint(run) else None
        try:
            answers = {} if resume is None else await self._call(self._bound, run, resume)
            if answers:
                run["kwargs"]["command"] = {**command, "resume": answers}
            await self._call(self._write, run, answers)
        except HoldfastError as error:
            _log.warning("Run %s is not accepted: %s", run["run_id"], error)
            raise refused(503, f"The run was not accepted, because it could not be stored: {error}") from error

    def _bound(self, run: Entry, resume: Any) -> dict[str, Any]:
        graph, kwargs = runtime.graphs().get(graph_of(run)), run["kwargs"]
        stops = [*(getattr(graph, f"interrupt_{when}_nodes", None) for when in ("before", "after"))]
        stops += [kwargs.get(f"interrupt_{when}") for when in ("before", "after")]
        return bound_answers(self.saver, str(run["thread_id"]), resume, has_breakpoints=any(stops))

    def _write(self, run: Entry, answers: Mapping[str, Any]) -> None:
        new, owner = _new_run(run, answers), self._claims.owner
        if answers:
            also = self.saver.runs.acceptance(new, answers=next(iter(answers)), owner=owner)
            record_answers(self.saver, new.thread_id, answers, new.run_id, also)
            self._held[new.run_id] = self.saver.runs.accepted_for(owner, new)
        else:
            self._held[new.run_id] = self.saver.runs.accept_for(owner, new)
        self._claims.hold(new.run_id)  # its claim lasts for some seconds without

    async def begin_thread(self, thread_id: str, metadata: Mapping[str, Any], user_id: str | None) -> None:
        """Put a thread on record, or replace its metadata.

        Raises:
            HTTPException: the database is out of reach (503).
        """
        try:
            await self.saver.threads.abegin(thread_id, metadata, owner=user_id)
        except HoldfastError as error:
            raise refused(503, f"The thread could not be stored: {error}") from error

    def accepted_at(self, run_id: Any) -> datetime | None:
        """Return when a run of this server was accepted, by the database's clock; `None` if it has no row."""
        held = self._held.get(str(run_id))
        return None if held is None else held.run.accepted_at

    def marked(self, config: RunnableConfig) -> RunnableConfig:
        """Return the config of a run with what its loads need to find that it was deleted with its thread."""
        configurable = config.get("configurable", {})
        claimed = self._held.get(str(configurable.get("run_id")))
        return config if claimed is None else {**config, "configurable": {**configurable, RUN_MARK: claimed.mark}}

    def has(self, run_id: str) -> bool:
        """Return whether a run is, or was, this server's to carry out."""
        return run_id in self._held or run_id in self._ended

    # --- ending

    async def end(
        self, run_id: Any, state: Literal["done", "failed", "cancelled"], error: BaseException | None = None
    ) -> None:
        """Record how a run of this server ended. Never raises: if it cannot be recorded, the claim expires."""
        claimed = self._held.pop(str(run_id), None)
        if claimed is None:
            return
        why = {} if error is None else {"error_type": type(error).__name__, "error": told(error)}
        self._ended.add(claimed.run.run_id)
        ended = None
        try:
            if state == "cancelled" and claimed.run.error_type == ROLLBACK:  # the process that was to do it has died
                await self._roll_back(claimed.run.run_id)
            else:
                ended = await self._call(partial(self._claims.finish, claimed, state, **why))
        except HoldfastError as problem:
            _log.warning("Run %s: how it ended could not be recorded: %s", run_id, problem)
        finally:
            self._claims.forget(claimed.run.run_id)
            if ended is None:  # it is another process's by now, or will be
                self._ended.discard(claimed.run.run_id)

    async def cancel(self, run_id: UUID, *, has_begun: bool, rolls_back: bool = False) -> None:
        """Record that a run is to stop. One of this server that has not begun has ended.

        Args:
            run_id: the run.
            has_begun: whether it has begun.
            rolls_back: whether the server that has it is to leave nothing of it.
        """
        if str(run_id) in self._held and not has_begun:
            await self.end(run_id, "cancelled")
            return
        with suppress(UnknownRun):
            run = await self.saver.runs.acancel(str(run_id), error_type=ROLLBACK if rolls_back else None)
            if rolls_back and not run.is_open:  # no server had it
                await self._roll_back(run.run_id)

    async def _roll_back(self, run_id: str) -> None:
        await self.saver.adelete_for_runs([run_id])
        await self.saver.runs.adelete(run_id)

    async def delete(self, run_id: Any) -> None:
        """Delete the row of a run."""
        claimed = self._held.pop(str(run_id), None)
        if claimed is not None:
            self._claims.forget(str(run_id))
        await self.saver.runs.adelete(str(run_id))

    # --- going on

    async def claim(self) -> Sequence[Claimed]:
        """Claim runs of this server's graphs that no living process has."""
        claimed: list[Claimed] = []
        for graph in runtime.graphs():
            claimed += await self._call(self._claims.claim, agent_of(graph), AT_ONCE)
        self._held.update((one.run.run_id, one) for one in claimed)
        return claimed

    async def release(self, claimed: Claimed) -> None:
        """Give a run back, so that another process goes on with it at once."""
        self._held.pop(claimed.run.run_id, None)
        self._claims.forget(claimed.run.run_id)
        try:
            await self._call(self._claims.release, claimed)
        except HoldfastError as error:
            _log.warning("Run %s could not be given back: %s", claimed.run.run_id, error)

    async def close(self) -> None:
        """Give back all that has not ended."""
        for claimed in [*self._held.values()]:
            await self.release(claimed)
        await self._call(self._claims.close)

    # --- inside

    async def _call(self, function: Callable[..., T], *args: Any) -> T:
        return await self.saver.run_in_executor(function, *args)

    def _stop(self, run_id: str) -> None:
        """Stop a run that was asked to stop elsewhere, or that another process has by now. For any thread."""
        self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._stop_here(run_id)))

    async def _stop_here(self, run_id: str) -> None:
        entry = runtime.find_run(UUID(run_id))
        if entry is None:  # it was deleted with its thread; it may still wait for the lease, and is marked then
            self._claims.forget(run_id)
        elif entry["status"] in ACTIVE:
            rows = await self.saver.runs.asome([run_id])
            is_gone = not rows or rows[0].error_type == ROLLBACK  # without a row, another server has deleted it
            if await runtime.stop_run(entry, "rollback" if is_gone else "interrupt"):
                await self.end(run_id, "cancelled")


# The runtime has one registry for each process.
_open: list[RunRecord] = []


def current() -> RunRecord | None:
    """Return the record of this server; `None` if its checkpointer has none."""
    return _open[-1] if _open else None


@asynccontextmanager
async def recording(saver: BaseCheckpointSaver[Any]) -> AsyncIterator[None]:
    """Record the runs of this server while it runs, if its checkpointer is Holdfast's."""
    if not isinstance(saver, HoldfastSaver):
        yield
        return
    record = RunRecord(saver)
    _open.append(record)
    try:
        yield
    finally:
        _open.remove(record)
        await record.close()


def agent_of(graph: str) -> str:
    """Return the name under which the runs of a graph are on record."""
    return _PREFIX + graph


def graph_of(run: Entry) -> str:
    """Return the name of a run's graph."""
    return str(run["kwargs"]["config"]["configurable"]["graph_id"])


def graph_of_row(run: Run) -> str | None:
    """Return the graph of this server that a run on record is of; `None` if it is of another agent."""
    graph = run.agent.removeprefix(_PREFIX)
    return graph if run.agent.startswith(_PREFIX) and graph in runtime.graphs() else None


def told(error: BaseException) -> str:
    """Return the words of an error for clients. Another error may hold what is not for them."""
    words = getattr(error, "words_for_clients", None)
    return words if isinstance(words, str) else "The run failed. The log of the server has the error."


def _new_run(run: Entry, answers: Iterable[str]) -> NewRun:
    kwargs, run_id = run["kwargs"], str(run["run_id"])
    user_id = kwargs["config"]["configurable"].get("user_id") or None
    return NewRun(
        thread_id=str(run["thread_id"]),
        agent=agent_of(graph_of(run)),
        kind="answer" if answers else "message" if kwargs.get("input") is not None else "retry",
        input={"run": runtime.plain(run)},
        user_id=None if user_id is None else str(user_id),
        request=run_id,
        run_id=run_id,
    )


def _at_checkpoint(run: Entry) -> bool:
    """Return whether a run was sent to an older checkpoint. It may answer there what was answered otherwise since."""
    return bool(run["kwargs"]["config"]["configurable"].get("checkpoint_id"))


# --- going on with a run whose process died


def run_to_go_on(saver: HoldfastSaver, claimed: Claimed) -> Entry:
    """Return the entry of a run that another process has accepted, as this server can begin it. It blocks."""
    run, stored = claimed.run, claimed.input["run"]
    entry: Entry = {
        **stored,
        **{name: UUID(stored[name]) for name in ("run_id", "thread_id", "assistant_id")},
        **{name: datetime.fromisoformat(stored[name]) for name in ("created_at", "updated_at")},
        "status": "pending",
    }
    kwargs = entry["kwargs"]
    has_begun = saver.runs.has_begun(run)
    if has_begun:
        kwargs.update(input=None, command=None)
        kwargs["config"]["configurable"].pop("checkpoint_id", None)  # it goes on from its own newest checkpoint
    if has_begun or _resumes(kwargs):
        kwargs["command"] = _command(kwargs.get("command"), answers_due(saver, run.thread_id))
    return entry


def _resumes(kwargs: Mapping[str, Any]) -> bool:
    """Return whether a run carries out answers on record. At an older checkpoint it may bring others."""
    is_elsewhere = kwargs["config"]["configurable"].get("checkpoint_id")
    return not is_elsewhere and (kwargs.get("command") or {}).get("resume") is not None


def _command(given: Mapping[str, Any] | None, answers: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a command with the answers that are left to carry out. Without one there may be nothing to command."""
    command = {key: value for key, value in (given or {}).items() if key != "resume" and value is not None}
    if answers:
        command["resume"] = dict(answers)
    return command or None
