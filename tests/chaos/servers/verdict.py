"""The verdict about threads that were served: that about every thread, and whether its turns have ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from langchain_core.messages import AnyMessage

from holdfast.checkpoints import Run
from tests.chaos.journal import Place
from tests.chaos.talks.verdict import Case, Entry, Verdict, judge

SOON: Final = 60.0
"""Seconds within which another replica ends the turn of a process that has died, or tells why not."""


class ServedCase(Case):
    """One thread that was served. Its messages are known by their texts: clients choose no ids."""

    @property
    def runs(self) -> Sequence[Run]:
        """The turns that were accepted, newest first."""
        return self.saver.runs.list(self.thread)

    def name(self, message: AnyMessage) -> str:
        return str(message.text) if message.type == "human" else super().name(message)

    def counts(self) -> Counter[str]:
        again = sum(max(0, run.attempts - 1) for run in self.runs)
        return super().counts() + Counter(runs=len(self.runs), runs_again=again)

    def broken(self) -> Iterator[str]:
        yield from super().broken()
        yield from self._turns()

    def _turns(self) -> Iterator[str]:
        runs = self.runs
        for run in runs:
            if run.ended_at is None:
                yield f"the run {run.run_id} was accepted, and is {run.state} at the end"
                continue
            # Others of the thread come first, and a process may die again.
            waited_for = [
                other
                for other in runs
                if other.accepted_at <= run.ended_at and run.accepted_at <= (other.ended_at or run.ended_at)
            ]
            deaths = sum(max(0, other.attempts - 1) for other in waited_for)
            took = (run.ended_at - run.accepted_at).total_seconds()
            if took > SOON * max(1, deaths):
                yield f"the run {run.run_id} ended {took:.0f} s after it was accepted, and {deaths} processes died"

    def _approval(self, order: str, entry: Entry | None) -> Iterator[str]:
        yield from super()._approval(order, entry)
        paid = [line for line in self.evidence.done[order] if line["tool"] == "pay"]
        given = {line["id"] for line in self.evidence.given(order, "approve", "edit", "run_again")}
        if paid and entry is not None and entry.interrupt_id not in given:
            yield f"order {order} was paid under the request {entry.interrupt_id}, which no client has answered"


def judge_served(place: Place, ready: Callable[[], None] = lambda: None) -> Verdict:
    """Look at every thread that the journal knows."""
    return judge(place, ready, case=ServedCase)
