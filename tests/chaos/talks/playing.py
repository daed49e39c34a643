"""The work of a process: it goes on with a thread from any state, until nothing is left to do or it is killed."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from langgraph.errors import UnknownInterruptError

from holdfast.checkpoints import HoldfastSaver, open_checkpointer, times
from holdfast.checkpoints.errors import DatabaseUnavailable, EffectTaken, NotAnswered, ThreadBusy, ThreadConflict
from holdfast.graph import NothingWaits
from tests.chaos.journal import Place
from tests.chaos.talks.marks import Marks, watch
from tests.chaos.talks.scene import Said, Script, agent_on, decision_about, is_langchains, script_of, verdict_about
from tests.chaos.talks.ways import WAY_OF_OTHERS, Way

TOLD: Final = (NothingWaits, NotAnswered, UnknownInterruptError, ThreadBusy, ThreadConflict, EffectTaken)
"""The errors that tell a player: it was not done, or another did it. The player looks again then."""

# An owner of an effect and of a lease is taken for gone sooner than people would wait.
EFFECT_TTL: Final = 0.6
LEASE_TTL: Final = 1.0

_MOST_STEPS: Final = 60
"""In so many steps every thread comes to rest; one that does not goes round in circles."""


@contextmanager
def opened(place: Place, marks: Marks | None = None) -> Iterator[HoldfastSaver]:
    """The checkpointer, with short lives for what a dead process holds."""
    times.EFFECT_TTL, times.EFFECT_RENEWAL = EFFECT_TTL, EFFECT_TTL / 3  # type: ignore[misc]
    with open_checkpointer(place.url) as saver:
        saver.lease = partial(saver.lease, ttl=LEASE_TTL)  # type: ignore[method-assign]
        if marks is not None:
            watch(saver, marks.committing)
        yield saver


@dataclass
class Player:
    """Plays the script of one thread."""

    place: Place
    script: Script
    way: Way
    patience: float = 0.0
    """Seconds for which it goes on when the database is out of reach."""
    _asked: Counter[str] = field(default_factory=Counter)
    _read: set[str] = field(default_factory=set)

    def play(self) -> None:
        """Go on until the thread is at rest.

        Raises:
            AssertionError: it does not come to rest.
        """
        away_since: float | None = None
        steps = 0
        while steps < _MOST_STEPS:
            try:
                if not self._step():
                    return
                away_since = None
            except DatabaseUnavailable as error:
                self._told(error)
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since > self.patience:
                    raise
                time.sleep(0.05)  # as a program does that tries again; nothing tells when the server is back
                continue
            except TOLD as error:
                self._told(error)
            steps += 1
        raise AssertionError(f"{self.script.thread} does not come to rest: {self.way.state()}")

    def _told(self, error: Exception) -> None:
        self.place.journal.write(told=type(error).__name__, thread=self.script.thread)

    def _step(self) -> bool:
        """Do what is to be done next; whether there was anything."""
        self.way.go_on()
        state = self.way.state()
        said = [message.id for message in state.values.get("messages", [])]
        self.place.journal.write(seen=said, thread=self.script.thread)
        next_ = next((message for message in self.script.messages if message.id not in said), None)
        questions = self.way.questions(state)
        self._note(questions)
        if next_ is not None and (not questions or next_.barges_in):
            self._send(next_)
            return True
        if not questions or (next_ is None and self._leaves(questions)):
            return False
        # Some answer one after the other, others all that they see at once.
        every = len(questions) > 1 and hash_of(self.script.thread) % 3 == 0
        self._answer(questions if every else questions[:1])
        return True

    def _note(self, questions: list[Any]) -> None:
        """Note that a person has read what is in doubt, before any decision."""
        for question in questions:
            if question.value["type"] == "effect_in_doubt" and question.id not in self._read:
                self._read.add(question.id)
                order = question.value["args"]["order"]
                self._asked[order] += 1
                self.place.journal.write(asked=order, why=question.value["why"])

    def _leaves(self, questions: list[Any]) -> bool:
        return self.script.stays_open and len(questions) == 1

    def _send(self, message: Said) -> None:
        self.way.send(message)
        self.place.journal.write(acknowledged=message.id, thread=self.script.thread)

    def _answer(self, questions: list[Any]) -> None:
        answers = {question.id: self._decided(question.value) for question in questions}
        by = f"person-{os.getpid()}"
        for question in questions:
            # Before it is given: who dies then may have given it.
            answer = answers[question.id]
            edited = answer.get("edited_action", {}).get("args", {})
            amount = edited.get("amount", question.value["args"].get("amount"))
            order = question.value["args"]["order"]
            self.place.journal.write(answer=answer["type"], order=order, amount=amount, by=by, id=question.id)
        self.way.answer(answers, by)
        self.place.journal.write(carried_out=list(answers), thread=self.script.thread)

    def _decided(self, question: dict[str, Any]) -> dict[str, Any]:
        order = question["args"]["order"]
        if question["type"] == "tool_approval":
            return decision_about(self.place.seed, order)
        happened = any(line["order"] == order for line in self.place.world.read())
        return verdict_about(self.place.seed, order, self._asked[order], happened)


def hash_of(text: str) -> int:
    """A number that is the same in each process."""
    return sum(text.encode())


def play(place: Place, thread: str, way: str, mark: tuple[str | None, int], ready: Callable[[], None]) -> list[str]:
    """Play a thread to its end.

    Args:
        place: where.
        thread: which.
        way: one of `WAYS`.
        mark: at which mark to die, if at any, and how often to pass it before.
        ready: is called when the database is open.

    Returns:
        The marked points that were reached.
    """
    marks = Marks(*mark)
    with opened(place, marks) as saver:
        ready()
        agent = agent_on(saver, place, marks.reached, langchain=is_langchains(thread))
        # An agent of others is had through a `Conversation` as well, and without one.
        had = WAY_OF_OTHERS[way] if is_langchains(thread) and hash_of(thread) % 2 else way
        Player(place, script_of(place.seed, thread), Way(had, agent, thread)).play()
    return marks.seen
