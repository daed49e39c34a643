"""Many processes at once, some of which are killed while they work."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pkgutil import resolve_name
from signal import SIGKILL
from typing import Any, Final

from tests.support.forked import context

HANGS: Final = 60.0
"""Seconds after which a process that does not end is a failure."""


@dataclass(frozen=True)
class Job:
    """The task of a process."""

    program: Callable[..., Any]
    """Gets the arguments, and last a function to call when it is about to begin."""
    args: tuple[Any, ...]
    kill_after: float | None = None
    """Seconds after it said that it begins, or after its start; `None`: never."""
    from_start: bool = False
    longest: float = HANGS
    """Seconds after which it is a failure that it has not ended."""


@dataclass(frozen=True)
class End:
    """How a process ended."""

    killed: bool
    result: Any = None
    error: str | None = None
    """The error it raised, or why it is a failure."""
    code: int | None = None


@dataclass
class _Member:
    job: Job
    done: Callable[[End], None]
    process: BaseProcess
    said: Connection
    started: float = field(default_factory=time.monotonic)
    due: float | None = None
    result: Any = None
    error: str | None = None


class Crowd:
    """Processes, each started, watched and ended from one thread.

    Args:
        changed: replacements that each process makes, by names such as `holdfast.graph.tools.execute.run_policy`.
    """

    def __init__(self, changed: Mapping[str, Any] | None = None) -> None:
        self._members: dict[int, _Member] = {}
        self._changed = dict(changed or {})

    def __len__(self) -> int:
        return len(self._members)

    def start(self, job: Job, done: Callable[[End], None]) -> int:
        """Start a process.

        Args:
            job: what it does.
            done: is told how it ended.

        Returns:
            Its process id.
        """
        said, says = context().Pipe(duplex=False)
        process = context().Process(target=_main, args=(says, self._changed, job.program, job.args), daemon=True)
        process.start()
        says.close()
        member = _Member(job, done, process, said)
        if job.from_start and job.kill_after is not None:
            member.due = member.started + job.kill_after
        assert process.pid is not None
        self._members[process.pid] = member
        return process.pid

    def watch(self, longest: float = 0.2) -> None:
        """Wait until something happens, for so many seconds at the most, and do what is due then."""
        now = time.monotonic()
        dues = [member.due - now for member in self._members.values() if member.due is not None]
        things: dict[Any, _Member] = {}
        for member in self._members.values():
            things[member.process.sentinel] = member
            if not member.said.closed:
                things[member.said] = member
        for thing in wait(list(things), max(0.0, min([longest, *dues]))):
            if thing is things[thing].said:
                _listen(things[thing])
        now = time.monotonic()
        for pid, member in list(self._members.items()):
            if member.due is not None and member.due <= now:
                member.process.kill()  # by its pid, which it keeps until it is joined below
                member.due = None
            elif now - member.started > member.job.longest and member.error is None:
                member.error = f"it did not end within {member.job.longest:.0f} s"
                member.process.kill()
            if wait([member.process.sentinel], 0):
                del self._members[pid]
                member.done(_end(member))

    def finish(self) -> None:
        """Wait for all."""
        while self._members:
            self.watch()


def _listen(member: _Member) -> None:
    try:
        kind, what = member.said.recv()
    except EOFError:
        member.said.close()
        return
    if kind == "ready":
        if member.job.kill_after is not None and not member.job.from_start:
            member.due = time.monotonic() + member.job.kill_after
    elif kind == "done":
        member.result = what
    else:
        member.error = what


def _end(member: _Member) -> End:
    while not member.said.closed:
        _listen(member)
    member.process.join()
    code = member.process.exitcode
    member.process.close()
    killed = code == -SIGKILL
    if not killed and code and member.error is None:
        member.error = f"it ended with {code}"
    return End(killed, member.result, member.error, code)


def run(program: Callable[..., Any], *args: Any) -> Any:
    """Run a program in a process of its own.

    Raises:
        RuntimeError: it failed.
    """
    ends: list[End] = []
    crowd = Crowd()
    crowd.start(Job(program, args), ends.append)
    crowd.finish()
    if ends[0].error or ends[0].killed:
        raise RuntimeError(ends[0].error or "It was killed.")
    return ends[0].result


def each(items: Iterator[Callable[[Crowd], bool]], crowd: Crowd, width: int) -> None:
    """Keep a crowd at a width, for as long as there is a player to start."""
    more = True
    while more or len(crowd):
        while more and len(crowd) < width:
            start = next(items, None)
            more = start is not None and start(crowd)
        crowd.watch()


def _main(says: Connection, changed: dict[str, Any], program: Callable[..., Any], args: tuple[Any, ...]) -> None:
    logging.disable()  # of connections that are lost, when they are; what counts is in the journal
    for name, value in changed.items():
        module, _, attribute = name.rpartition(".")
        found = resolve_name(module)
        assert hasattr(found, attribute), name
        setattr(found, attribute, value)
    try:
        says.send(("done", program(*args, lambda: says.send(("ready", None)))))
    except BaseException:  # noqa: BLE001 - the parent reports it
        says.send(("failed", traceback.format_exc()))
    says.close()
