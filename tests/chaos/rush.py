"""Processes that answer the same questions and send to the same threads, all in the same moment."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.synchronize import Barrier
from random import Random
from typing import Any, Final

from langgraph.errors import UnknownInterruptError

from holdfast.checkpoints.errors import NotAnswered, ThreadConflict
from holdfast.graph import NothingWaits
from tests.chaos.crowd import Crowd, End, Job, run
from tests.chaos.journal import Place
from tests.chaos.talks.playing import opened
from tests.chaos.talks.scene import PRICE, Said, agent_on, is_langchains
from tests.chaos.talks.verdict import Evidence, Verdict, judge
from tests.chaos.talks.ways import WAY_OF_OTHERS, Way
from tests.support.forked import context

PROCESSES: Final = 8

_WAYS: Final = ("conversation", "loop", "conversation", "bare")
"""In which way a round is played, in turn."""

_WAYS_OF_OTHERS: Final = ("inbox", "conversation", "bare loop", "loop", "bare")
"""The same for the rounds with the agent of `create_agent`."""

_MOST_TRIES: Final = 100


@dataclass
class Rush:
    """The outcome."""

    rounds: Counter[str] = field(default_factory=Counter)
    """Those that were played, by backend."""
    answers: int = 0
    told: Counter[str] = field(default_factory=Counter)
    """The errors of the processes whose answer was not taken."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    seconds: float = 0.0


def rush(
    places: Sequence[Place],
    rounds: int,
    until: float,
    *,
    processes: int = PROCESSES,
    changed: Mapping[str, Any] | None = None,
) -> Rush:
    """Play so many rounds, and look at what is left.

    Args:
        places: where; the rounds go from one to the next. Each has processes of its own: they wait most of the time.
        rounds: how many.
        until: when to stop, on the clock `time.monotonic`.
        processes: how many at once.
        changed: see `Crowd`.
    """
    began, done = time.monotonic(), Rush()
    longest = max(until - began, 0) + 60
    crowd = Crowd(changed)
    for first, place in enumerate(places):
        gate = context().Barrier(processes, timeout=longest)
        for number in range(processes):

            def over(end: End, gate: Barrier = gate, who: str = f"process {number} on {place.backend}") -> None:
                if end.error or end.killed:
                    done.failures.append((who, end.error or "killed"))
                    gate.abort()

            mine = range(first, rounds, len(places))
            crowd.start(Job(hurry, (place, number, mine, gate, until), longest=longest), over)
    crowd.finish()
    for place in places:
        verdict = run(judge, place)
        verdict.broken += _contested(place, processes, done)
        done.verdicts.append(verdict)
    if sum(done.rounds.values()) < rounds:
        done.failures.append(("-", f"out of time: {sum(done.rounds.values())} of {rounds} rounds"))
    done.seconds = time.monotonic() - began
    return done


def hurry(
    place: Place, number: int, rounds: Sequence[int], gate: Barrier, until: float, ready: Callable[[], None]
) -> None:
    """Be one of those who hurry.

    Args:
        place: where.
        number: which process this is. The first one says what the others decide about.
        rounds: which.
        gate: holds all until the last is there.
        until: when to stop.
        ready: is called when the database is open.
    """
    with opened(place) as saver:
        agents = {langchain: agent_on(saver, place, langchain=langchain) for langchain in (False, True)}
        ready()
        for round_ in rounds:
            player = _Player(place, agents[is_langchains(f"r{round_}")], round_, number)
            if number == 0:
                player.begin(stop=time.monotonic() > until)
            gate.wait()
            if not player.look():
                return
            gate.wait()
            player.rush(gate)
            gate.wait()


@dataclass
class _Player:
    place: Place
    agent: Any
    round: int
    number: int

    def __post_init__(self) -> None:
        self._thread = f"r{self.round}"
        ways = _WAYS_OF_OTHERS if is_langchains(self._thread) else _WAYS
        self._kind = ways[self.round // 4 % len(ways)]
        self._way = Way(self._kind, self.agent, self._thread)
        self._random = Random(f"{self.place.seed} {self.round} {self.number}")

    def begin(self, *, stop: bool) -> None:
        """Let the thread ask two questions; none, if it is to stop."""
        if not stop:
            self._send(Said(f"{self._thread}:m0", f"pay {self._thread}-1; note {self._thread}-3; pay {self._thread}-2"))

    def look(self) -> bool:
        """See the questions; whether there are any."""
        self._questions = list(self._way.state().interrupts)
        return bool(self._questions)

    def rush(self, gate: Barrier) -> None:
        """Answer all of it, and say something, while the others do the same.

        Without a lease, the message of one closes calls of another agent that another process is about to carry out. In
        most of these rounds all wait for the last answer before they say something.
        """
        self._random.shuffle(self._questions)
        steps: list[Callable[[], None]] = [lambda asked=asked: self._answer(asked) for asked in self._questions]  # type: ignore[misc]
        mine = Said(f"{self._thread}:p{self.number}", f"look {self._thread}-{10 + self.number}")
        # What is said closes what waits. Mostly it comes last, so that the answers count.
        if _is_mixed(self.round):
            steps.insert(self._random.randint(0, len(steps)), lambda: self._send(mine))
        else:
            has_no_lease = is_langchains(self._thread) and self._kind in WAY_OF_OTHERS.values()
            last: list[Callable[[], Any]] = [gate.wait] if has_no_lease else []
            steps += [*last, lambda: self._send(mine)]
        for step in steps:
            step()

    def _answer(self, question: Any) -> None:
        order = question.value["args"]["order"]
        amount = PRICE + 1 + self.number
        by = f"p{self.number}"
        self.place.journal.write(answer="edit", order=order, amount=amount, by=by, id=question.id)
        edit = {"type": "edit", "edited_action": {"name": "pay", "args": {"order": order, "amount": amount}}}
        try:
            self._way.answer({question.id: edit}, by)
        except (NothingWaits, UnknownInterruptError, ThreadConflict, NotAnswered) as error:
            self.place.journal.write(lost=order, by=by, error=type(error).__name__, said=str(error), way=self._kind)
            if isinstance(error, ThreadConflict):
                self._finish()
        else:
            self.place.journal.write(won=order, by=by, amount=amount, way=self._kind)

    def _send(self, said: Said) -> None:
        for tries in range(_MOST_TRIES):
            began = time.monotonic()
            try:
                self._way.send(said)
            except ThreadConflict as error:
                self.place.journal.write(told=type(error).__name__, thread=self._thread)
                pause = self._random.uniform(0, (time.monotonic() - began) * min(tries, 2 * PROCESSES))
                time.sleep(pause)  # as long as some tries take: without a lease all would refuse each other for long
            else:
                self.place.journal.write(acknowledged=said.id, thread=self._thread)
                return
        raise AssertionError(f"{said.id} was refused {_MOST_TRIES} times")

    def _finish(self) -> None:
        """The run was refused in the middle; it says: load the thread again, and repeat the run."""
        for _ in range(_MOST_TRIES):
            try:
                self._way.go_on()
            except ThreadConflict:
                continue
            return


def _is_mixed(round_: int) -> bool:
    """Return whether messages come between the answers of a round: a fifth of them, and a third of `create_agent`'s."""
    return round_ // 4 % 3 == 2 if is_langchains(f"r{round_}") else round_ % 5 == 4


def _contested(place: Place, processes: int, done: Rush) -> Iterator[tuple[str, str]]:
    """Yield each fault in how the answers to the same requests went."""
    won: dict[str, list[dict[str, Any]]] = defaultdict(list)
    lost: Counter[str] = Counter()
    for line in place.journal.read():
        if "won" in line:
            won[line["won"]].append(line)
        elif "lost" in line:
            lost[line["lost"]] += 1
            done.told[line["error"]] += 1
    evidence = Evidence(place)
    threads = {order.rpartition("-")[0] for order in (*won, *lost)}
    done.rounds[place.backend] += len(threads)
    for order in sorted({*won, *lost}):
        thread = order.rpartition("-")[0]
        done.answers += len(won[order]) + lost[order]
        times, amounts = len(evidence.done[order]), [line["amount"] for line in evidence.done[order]]
        closed = _is_mixed(int(thread[1:]))  # another process may have gone on without an answer
        if len(won[order]) + lost[order] != processes:
            yield thread, f"order {order}: {processes} answered, {len(won[order])} + {lost[order]} know what came of it"
        if len(won[order]) > 1:
            yield thread, f"order {order}: {len(won[order])} were told that theirs was the answer"
        if times != 1 and not (closed and not times and not won[order]):
            yield thread, f"order {order}: it was answered, and took effect {times} times"
        if won[order] and amounts != [won[order][0]["amount"]]:
            yield thread, f"order {order}: {won[order][0]['by']} said {won[order][0]['amount']}, and it was {amounts}"
