"""A client that talks in one thread after the other, whatever becomes of the server that it has asked."""

from __future__ import annotations

import time
import traceback
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random
from threading import Event
from typing import Any, Final, TypeVar

from tests.chaos.journal import Place
from tests.chaos.servers.doors import Door, Part, Question, Refused, Seen, Unreachable
from tests.chaos.servers.replicas import Pair
from tests.chaos.servers.scene import STUMBLES
from tests.chaos.servers.truth import SETTLES, Truth
from tests.chaos.talks.scene import Said, Script, decision_about, script_of, verdict_about

Result = TypeVar("Result")

PATIENCE: Final = 240.0
"""Seconds after which a client gives up on a turn; the verdict is less patient."""

_LOOKS: Final = 0.1
"""Seconds between two looks for what no server announces."""


@dataclass
class Tally:
    """What the clients of a place have seen."""

    failures: list[tuple[str, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    """Seconds from the acceptance of a turn until its client was told its end, at the most."""
    talking: dict[int, str] = field(default_factory=dict)
    """The thread that each client talks in now."""


@dataclass
class Client:
    """One of the clients of a place."""

    number: int
    place: Place
    pair: Pair
    door: Door
    truth: Truth
    tally: Tally

    def work(self, stop: Event) -> None:
        """Talk until it is enough; the last talk comes to its end."""
        random = Random(f"{self.place.seed} {self.place.url} client {self.number}")
        while not stop.is_set():
            thread = str(uuid.UUID(int=random.getrandbits(128), version=4))
            self.tally.talking[self.number] = thread
            try:
                Talk(self, script_of(self.place.seed, thread)).play()
            except Exception:  # noqa: BLE001 - it is a finding, and the others go on
                self.tally.failures.append((thread, traceback.format_exc()))


@dataclass
class Talk:
    """Plays the script of one thread, as a person with a browser."""

    client: Client
    script: Script
    _asked: Counter[str] = field(default_factory=Counter)
    _read: set[str] = field(default_factory=set)
    _keys: int = 0

    def __post_init__(self) -> None:
        self.thread = self.script.thread
        self._door, self._tally = self.client.door, self.client.tally
        self._journal = self.client.place.journal
        self._random = Random(f"{self.script.thread} client")

    def play(self) -> None:
        """Say what the script says, and answer what is asked."""
        self._journal.write(seen=[], thread=self.thread)
        self._ask(lambda url: self._door.begin(url, self.thread))
        for position, said in enumerate(self.script.messages):
            if position and not said.barges_in:
                self._answer_all()
            self._say(said, is_last=position == len(self.script.messages) - 1)
        self._answer_all(leave=self.script.stays_open)
        self._expect("paused" if self._questions() else "idle")

    # --- messages

    def _say(self, said: Said, *, is_last: bool) -> None:
        text = f"{STUMBLES}; {said.text}" if self._random.random() < 0.1 else said.text
        if self._random.random() < 0.3:
            self._stream(text, self._key(always=True))
        elif not is_last and self._random.random() < 0.15:
            self._cancel(self._sent(text, self._key()))
        else:
            run_id = self._sent(text, self._key())
            self._journal.write(acknowledged=text, thread=self.thread)
            if run_id is not None:
                self._follow(run_id)

    def _sent(self, text: str, key: str | None) -> str | None:
        """Send a message, and return the run; see `_until_sent`."""
        return self._until_sent(text, key, lambda url: self._door.send(url, self.thread, text, key))

    def _until_sent(self, text: str, key: str | None, send: Callable[[str], Result]) -> Result | None:
        """Send a message until it is accepted. Return `None` if a person had to look whether it was."""
        if key is not None:
            return self._ask(send)
        while True:
            try:
                return send(self._url())
            except Unreachable:
                self._wait_until_quiet()
                if text in self._texts():
                    return None

    def _cancel(self, run_id: str | None) -> None:
        time.sleep(self._random.uniform(0, 0.5))  # a person thinks again
        if run_id is None:
            return
        self._ask(lambda url: self._door.cancel(url, self.thread, run_id))
        self._follow(run_id, cancelled=True)

    def _stream(self, text: str, key: str | None) -> None:
        """Read a turn in pieces, from one replica and the other. All that is read has to be all that there is."""
        some = self._random.randint(1, 4)
        part = self._until_sent(text, key, lambda url: self._door.send_and_leave(url, self.thread, text, some, key))
        self._journal.write(acknowledged=text, thread=self.thread)
        if part is None:
            return
        began, pieces = time.monotonic(), 1
        while not part.has_ended and time.monotonic() < began + PATIENCE:
            read, most = part, self._random.choice([2, 3, None])
            part = self._ask(lambda url: self._door.read(url, self.thread, read, most))  # noqa: B023 - it is called here
            pieces += 1
            time.sleep(0.05)  # the way back
        self._follow(part.run_id)
        self._tally.counts["streams taken up"] += pieces - 1
        whole = self._ask(lambda url: self._door.read(url, self.thread, Part(part.run_id)))
        if whole.has_ended and list(whole.ids) != list(part.ids):
            self._fail(f"a stream in pieces had the events {part.ids}, and the whole one {whole.ids}")

    # --- turns

    def _follow(self, run_id: str, *, cancelled: bool = False) -> None:
        """Wait until a turn has ended, and go on with one that failed."""
        began = time.monotonic()
        while not (seen := self._seen(run_id)).has_ended:
            if time.monotonic() > began + PATIENCE:
                raise AssertionError(f"the run {run_id} is {seen.state} after {PATIENCE:.0f} s")
            time.sleep(_LOOKS)  # as a page does that polls
        self._tally.slowest = max(self._tally.slowest, time.monotonic() - began)
        self._tally.counts[seen.state] += 1
        if seen.state == "cancelled" and not cancelled:
            self._fail(f"the run {run_id} was cancelled, and no client did that")
        elif seen.state == "failed":
            self._go_on_after(run_id)

    def _go_on_after(self, run_id: str) -> None:
        why, words = self.client.truth.failure(run_id)
        if why not in ("RuntimeError", "ProcessDied"):
            self._fail(f"the run {run_id} failed with {why}: {words}")
        self._journal.write(told=why, thread=self.thread)
        if why == "RuntimeError" and self._random.random() < 0.5:
            self._expect("failed")
        key = self._key(always=True)
        try:
            run = self._ask(lambda url: self._door.retry(url, self.thread, key))
        except Refused as refused:
            if refused.status != 409:
                raise
        else:
            self._follow(run)

    def _seen(self, run_id: str) -> Seen:
        return self._ask(lambda url: self._door.run(url, self.thread, run_id))

    def _wait_until_quiet(self) -> None:
        began = time.monotonic()
        while self.client.truth.status(self.thread) == "running":
            if time.monotonic() > began + PATIENCE:
                raise AssertionError(f"it still runs after {PATIENCE:.0f} s")
            time.sleep(_LOOKS)  # as a person does

    # --- requests

    def _answer_all(self, *, leave: bool = False) -> None:
        """Answer what waits; one after the other, or two at once."""
        while len(questions := self._questions()) > leave:
            for question in questions[: self._random.choice([1, len(questions) - leave])]:
                self._answer(question)

    def _answer(self, question: Question) -> None:
        """Answer a request, with a click or a double click."""
        answer, key = self._decided(question), self._key()
        clicks = 2 if self._random.random() < 0.4 else 1
        first = self._url()
        urls = [first, self._url(beside=first)][:clicks]
        with ThreadPoolExecutor(clicks) as hands:
            given = list(hands.map(lambda url: self._given(url, question, answer, key), urls))
        taken = {run for run in given if isinstance(run, str)}
        refused = [one for one in given if isinstance(one, Refused)]
        if len(taken) > 1:
            self._fail(f"{len(taken)} answers to the request {question.id} were taken: {taken}")
        if key is not None and taken and refused:
            self._fail(f"the same answer under the same key was refused: {refused}")
        for one in refused:
            self._journal.write(told=str(one.status), thread=self.thread)
            if not self._door.is_told(one):
                self._fail(f"a late answer was told {one.status}: {one.words}")
        if taken:
            self._follow(taken.pop())
        else:
            self._wait_until_quiet()  # the server died: it may be on record

    def _given(self, url: str, question: Question, answer: Any, key: str | None) -> str | Refused | Unreachable:
        try:
            return self._door.answer(url, self.thread, question.id, answer, key)
        except (Refused, Unreachable) as error:
            return error

    def _decided(self, question: Question) -> dict[str, Any]:
        """Decide as a person, and note it before the answer is given."""
        order, seed = question.order, self.client.place.seed
        if question.is_doubt:
            if question.id not in self._read:
                self._read.add(question.id)
                self._asked[order] += 1
                self._journal.write(asked=order, why=question.value["why"])
            happened = any(line["order"] == order for line in self.client.place.world.read())
            answer = verdict_about(seed, order, self._asked[order], happened)
        else:
            answer = decision_about(seed, order)
        amount = answer.get("edited_action", {}).get("args", {}).get("amount", question.value["args"].get("amount"))
        self._journal.write(answer=answer["type"], order=order, amount=amount, by="", id=question.id)
        return answer

    # --- asking

    def _questions(self) -> list[Question]:
        return self._ask(lambda url: self._door.questions(url, self.thread))

    def _texts(self) -> list[str]:
        return self._ask(lambda url: self._door.said(url, self.thread))

    def _expect(self, status: str) -> None:
        """Compare the status that both replicas tell with the one that the thread is to have."""
        found = ""
        deadline = time.monotonic() + SETTLES
        while time.monotonic() < deadline:
            first = self._url()
            urls = {first, self._url(beside=first)}
            try:
                told = {self._door.status(url, self.thread) for url in urls}
            except Unreachable:
                continue
            if told == {status}:
                self._tally.counts["statuses"] += len(urls)
                return
            found = f"{sorted(told)}"
            time.sleep(_LOOKS)  # it may be about to be noted
        if found:
            self._fail(f"it is {status}, and the servers say {found}")

    def _ask(self, ask: Callable[[str], Result]) -> Result:
        """Ask a replica, and the other one if it dies. What is asked may be asked twice."""
        began = time.monotonic()
        while True:
            try:
                return ask(self._url())
            except Unreachable:
                self._tally.counts["asked again"] += 1
                if time.monotonic() > began + PATIENCE:
                    raise
                time.sleep(0.05)  # as a browser that is reloaded

    def _url(self, *, beside: str | None = None) -> str:
        return self.client.pair.url(self._random, beside=beside)

    def _key(self, *, always: bool = False) -> str | None:
        self._keys += 1
        wanted = self._door.has_keys and (always or self._random.random() < 0.6)
        return f"{self.thread}-{self._keys}" if wanted else None

    def _fail(self, what: str) -> None:
        self._tally.failures.append((self.thread, what))
