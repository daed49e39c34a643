"""Clients of two replicas that answer the same requests in the same moment."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random
from threading import Barrier
from typing import Any, Final

from tests.chaos.journal import Place
from tests.chaos.servers.doors import Door, Question, Refused
from tests.chaos.servers.replicas import Pair
from tests.chaos.servers.truth import Truth
from tests.chaos.talks.scene import PRICE

CLIENTS: Final = 8

_PATIENCE: Final = 60.0
"""Seconds after which a turn that has not ended is a failure. No process dies."""


@dataclass
class Rounds:
    """The outcome."""

    rounds: int = 0
    answers: int = 0
    told: int = 0
    """Answers that were refused, with the words why."""
    failures: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Given:
    """What a client was told about its answer to a request."""

    order: str
    amount: int
    told: str | Refused
    """The run that was accepted, or the refusal."""


@dataclass
class Rush:
    """Clients of a pair of replicas."""

    place: Place
    pair: Pair
    door: Door
    truth: Truth
    done: Rounds = field(default_factory=Rounds)

    def play(self, rounds: int, until: float) -> Rounds:
        """Play so many rounds.

        Args:
            rounds: how many.
            until: when to stop, on the clock `time.monotonic`.
        """
        with ThreadPoolExecutor(CLIENTS) as pool:
            while self.done.rounds < rounds and time.monotonic() < until:
                self._play_one(pool, Random(f"{self.place.seed} {self.place.url} round {self.done.rounds}"))
                self.done.rounds += 1
        if self.done.rounds < rounds:
            self.done.failures.append(("-", f"out of time: {self.done.rounds} of {rounds} rounds"))
        return self.done

    def _play_one(self, pool: ThreadPoolExecutor, random: Random) -> None:
        thread = str(uuid.UUID(int=random.getrandbits(128), version=4))
        text = f"pay {thread}-1; note {thread}-3; pay {thread}-2"
        url = self.pair.url(random)
        self.door.begin(url, thread)
        self._wait_for(thread, self.door.send(url, thread, text))
        self.place.journal.write(acknowledged=text, thread=thread)
        questions, gate = self.door.questions(url, thread), Barrier(CLIENTS)
        answers = pool.map(lambda number: self._hurry(thread, number, questions, gate), range(CLIENTS))
        given = [one for client in answers for one in client]
        for one in given:
            if isinstance(one.told, str):
                self._wait_for(thread, one.told)
        self.done.answers += len(given)
        self.done.told += sum(isinstance(one.told, Refused) for one in given)
        self.done.failures += [(thread, what) for what in self._faults(thread, given)]

    def _hurry(self, thread: str, number: int, questions: list[Question], gate: Barrier) -> list[_Given]:
        """Be one of those who hurry: half of them at each replica."""
        random = Random(f"{thread} {number}")
        url = self.pair.urls[number % 2]
        mine, given = random.sample(questions, len(questions)), []
        gate.wait()
        for question in mine:
            order, amount = question.order, PRICE + 1 + number
            edit = {"type": "edit", "edited_action": {"name": "pay", "args": {"order": order, "amount": amount}}}
            self.place.journal.write(answer="edit", order=order, amount=amount, by="", id=question.id)
            try:
                told: str | Refused = self.door.answer(url, thread, question.id, edit)
            except Refused as refused:
                told = refused
            given.append(_Given(order, amount, told))
        return given

    def _wait_for(self, thread: str, run_id: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not (seen := self.door.run(self.pair.url(Random()), thread, run_id)).has_ended:
            if time.monotonic() > deadline:
                self.done.failures.append((thread, f"the run {run_id} is {seen.state} after {_PATIENCE:.0f} s"))
                return
            time.sleep(0.05)  # as a page does that polls
        if seen.state != "done":
            self.done.failures.append((thread, f"the run {run_id} is {seen.state}: {self.truth.failure(run_id)}"))

    def _faults(self, thread: str, given: list[_Given]) -> Iterator[str]:
        """Yield each fault in how the answers went."""
        effects: dict[str, list[Any]] = {f"{thread}-{number}": [] for number in (1, 2, 3)}
        for line in self.place.world.read():
            if line["order"] in effects:
                effects[line["order"]].append(line["amount"])
        won = {one.order: one.amount for one in given if isinstance(one.told, str)}
        winners = Counter(one.order for one in given if isinstance(one.told, str))
        for order in sorted({one.order for one in given}):
            if winners[order] != 1:
                yield f"order {order}: {winners[order]} clients were told that theirs was the answer"
            elif effects[order] != [won[order]]:
                yield f"order {order}: {won[order]} was approved, and it was {effects[order]}"
        if len(winners) != 2 or len(effects[f"{thread}-3"]) != 1:
            yield f"orders {sorted(winners)} were answered, and the effects are {effects}"
        for one in given:
            if isinstance(one.told, Refused) and not self.door.is_told(one.told):
                yield f"order {one.order}: a late answer was told {one.told.status}: {one.told.words}"
        yield from self._wrong_statuses(thread)

    def _wrong_statuses(self, thread: str) -> Iterator[str]:
        for url in self.pair.urls:
            told, true = self.truth.beside(thread, lambda: self.door.status(url, thread))  # noqa: B023 - it is called here
            if (told, true) != ("idle", "idle"):
                yield f"all is answered; it is {true}, and a server says {told}"
