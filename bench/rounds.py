"""Ours and the stock saver in turn, round by round, so that both meet the same noise of the machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import psutil
import psycopg

Step = Callable[[], object]


class Spent(NamedTuple):
    """What a step took, in seconds."""

    wall: float
    cpu: float
    """CPU time of this process."""
    all_cpu: float
    """CPU time of this process, of all processes of the PostgreSQL server, and of the other processes that count."""


class Meter:
    """A clock for wall time and CPU time.

    Args:
        server: the URL of the PostgreSQL server whose processes count; none by default.
        others: the ids of other processes that count.
    """

    def __init__(self, server: str = "", others: Sequence[int] = ()) -> None:
        self._postmaster: psutil.Process | None = None
        self._others = [psutil.Process(number) for number in others]
        if server:
            with psycopg.connect(server) as connection:
                self._postmaster = psutil.Process(connection.info.backend_pid).parent()

    @contextmanager
    def timing(self, spent: list[Spent]) -> Iterator[None]:
        """Add to `spent` what the block takes."""
        server, cpu, begin = self._others_cpu(), time.process_time(), time.perf_counter()
        yield
        wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
        spent.append(Spent(wall, cpu, cpu + self._others_cpu() - server))

    def _others_cpu(self) -> float:
        """Return the CPU time until now of all other processes that count; those of the server may have ended."""
        total = 0.0
        for other in self._others:
            times = other.cpu_times()
            total += times.user + times.system
        if self._postmaster is None:
            return total
        own = self._postmaster.cpu_times()
        total += own.user + own.system + own.children_user + own.children_system
        for child in self._postmaster.children():
            try:
                times = child.cpu_times()
            except psutil.NoSuchProcess:  # ended just now, and is in the sum of the next time
                continue
            total += times.user + times.system
        return float(total)


def compare(ours: Step, stock: Step, *, rounds: int, turns: int, meter: Meter) -> dict[str, Any]:
    """Run both in turn, and return `summary` of what they took.

    Each runs once before, which is not counted.

    Args:
        ours: a step with our checkpointer.
        stock: the same step with the stock saver.
        rounds: how often each runs.
        turns: the turns of a step.
        meter: measures the steps.
    """
    ours()
    stock()
    spent: tuple[list[Spent], list[Spent]] = [], []
    steps = list(zip((ours, stock), spent, strict=True))
    for number in range(rounds):
        for step, taken in steps if number % 2 else reversed(steps):
            with meter.timing(taken):
                step()
    return summary(*spent, turns=turns)


def summary(ours: Sequence[Spent], stock: Sequence[Spent], *, turns: int) -> dict[str, Any]:
    """Return the ratios ours ÷ stock, and the milliseconds of a turn with each.

    `time` and `cpu` are the median of the rounds' ratios. `all_cpu` is the ratio of the sums: the system counts the
    CPU time of other processes in steps of 10 ms, which is too coarse for one round.
    """
    return {
        "rounds": len(ours),
        "turns": turns,
        "time": _median_ratio(ours, stock, 0),
        "cpu": _median_ratio(ours, stock, 1),
        "all_cpu": sum(one.all_cpu for one in ours) / sum(one.all_cpu for one in stock),
        "ours_ms": _a_turn(ours, turns),
        "stock_ms": _a_turn(stock, turns),
    }


def _median_ratio(ours: Sequence[Spent], stock: Sequence[Spent], field: int) -> float:
    return statistics.median(one[field] / other[field] for one, other in zip(ours, stock, strict=True))


def _a_turn(spent: Sequence[Spent], turns: int) -> dict[str, float]:
    return {
        "wall": statistics.median(one.wall for one in spent) * 1000 / turns,
        "cpu": statistics.median(one.cpu for one in spent) * 1000 / turns,
        "all_cpu": statistics.fmean(one.all_cpu for one in spent) * 1000 / turns,
    }
