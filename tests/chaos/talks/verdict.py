"""A check by a process that took no part: does the database agree with the world and the journal?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.effects import effect_key
from tests.chaos.journal import Place
from tests.chaos.talks.playing import opened
from tests.chaos.talks.scene import agent_on, is_langchains
from tests.support.kit import rows

Broken = tuple[str, str]
"""A thread, and what was found there."""


@dataclass
class Verdict:
    """The counts, and the broken promises."""

    broken: list[Broken] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Entry:
    """A row of the ledger."""

    state: str
    attempt: int
    decision: str | None
    interrupt_id: str | None


@dataclass
class Evidence:
    """The world and the journal, by thread and by order. An order is one call of one message."""

    place: Place
    done: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    """The effects of an order in the world."""
    returned: Counter[str] = field(default_factory=Counter)
    answers: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    """People's answers about an order: approvals and doubts."""
    asked: Counter[str] = field(default_factory=Counter)
    """How often a person was asked whether an order took effect."""
    acknowledged: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The messages of a thread that must be there: `send` returned, or a person has read them."""
    told: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        for line in self.place.world.read():
            self.done[line["order"]].append(line)
        for line in self.place.journal.read():
            match line:
                case {"returned": order}:
                    self.returned[order] += 1
                case {"answer": _, "order": order}:
                    self.answers[order].append(line)
                case {"asked": order}:
                    self.asked[order] += 1
                case {"acknowledged": message, "thread": thread}:
                    self.acknowledged[thread].add(message)
                case {"seen": messages, "thread": thread}:
                    self.acknowledged[thread].update(messages)
                case {"told": kind}:
                    self.told[kind] += 1

    def given(self, order: str, *kinds: str) -> list[dict[str, Any]]:
        """The answers of these kinds."""
        return [line for line in self.answers[order] if line["answer"] in kinds]


def judge(place: Place, ready: Callable[[], None] = lambda: None, *, case: type[Case] | None = None) -> Verdict:
    """Look at every thread that the journal knows.

    Args:
        place: where.
        ready: is called when the database is open.
        case: how a thread is looked at, by default as a `Case`.
    """
    evidence, verdict = Evidence(place), Verdict()
    with opened(place) as saver:
        ready()
        agents = {langchain: agent_on(saver, place, langchain=langchain) for langchain in (False, True)}
        for thread in sorted(evidence.acknowledged):
            found = (case or Case)(thread, evidence, agents[is_langchains(thread)], saver)
            verdict.broken += [(thread, what) for what in found.broken()]
            verdict.counts.update(found.counts())
        known = set(evidence.acknowledged)
        for order in evidence.done:
            if (thread := order.rpartition("-")[0]) not in known:
                verdict.broken.append((thread, f"order {order} was carried out in a thread that no process has seen"))
    verdict.counts["told"] = sum(evidence.told.values())
    return verdict


@dataclass
class Case:
    """One thread, as it is found at the end."""

    thread: str
    evidence: Evidence
    agent: Any
    saver: HoldfastSaver

    @cached_property
    def state(self) -> Any:
        return self.agent.get_state({"configurable": {"thread_id": self.thread}})

    @cached_property
    def messages(self) -> list[AnyMessage]:
        return list(self.state.values.get("messages", []))

    @cached_property
    def questions(self) -> list[dict[str, Any]]:
        return [pause.value for pause in self.state.interrupts]

    @cached_property
    def ledger(self) -> dict[str, Entry]:
        found = rows(
            self.saver,
            "SELECT effect_key, state, attempt, decision, interrupt_id FROM holdfast_effects WHERE thread_id = :thread",
            thread=self.thread,
        )
        return {key: Entry(*entry) for key, *entry in found}

    @cached_property
    def calls(self) -> dict[str, tuple[str, str, ToolMessage | None]]:
        """By order: the tool, the key in the ledger, and the answer, if there is one."""
        found = {}
        for place, message in enumerate(self.messages):
            for call in message.tool_calls if isinstance(message, AIMessage) else []:
                behind = self.messages[place + 1 : place + 1 + len(message.tool_calls)]
                answer = next((m for m in behind if isinstance(m, ToolMessage) and m.tool_call_id == call["id"]), None)
                key = effect_key(message.id or "", call["id"] or "")
                found[call["args"]["order"]] = (call["name"], key, answer)
        return found

    def name(self, message: AnyMessage) -> str:
        """Return the name of a message in the journal."""
        return str(message.id)

    def counts(self) -> Counter[str]:
        mine = [order for order in self.evidence.done if order.rpartition("-")[0] == self.thread]
        return Counter(
            threads=1,
            asking=bool(self.questions),
            messages=len(self.evidence.acknowledged[self.thread]),
            effects=sum(len(self.evidence.done[order]) for order in mine),
            paid=sum(line["tool"] == "pay" for order in mine for line in self.evidence.done[order]),
            again=sum(entry.attempt - 1 for entry in self.ledger.values()),
            doubts=sum(bool(self.evidence.asked[order]) for order in self.calls),
        )

    def broken(self) -> Iterator[str]:
        yield from self._messages()
        yield from self._rest()
        entries = {order: self.ledger.get(key) for order, (_, key, _) in self.calls.items()}
        done = [order for order in self.evidence.done if order.rpartition("-")[0] == self.thread]
        for order in dict.fromkeys([*self.calls, *done]):
            yield from self._effect(order, entries.get(order))
            yield from self._approval(order, entries.get(order))
            yield from self._told(order)
        for order, entry in entries.items():
            if entry is not None:
                yield from self._doubt(order, entry)

    def _messages(self) -> Iterator[str]:
        found = Counter(map(self.name, self.messages))
        for message in sorted(self.evidence.acknowledged[self.thread]):
            if not found[message]:
                # The answer to a call that was in doubt takes the place of what stood there, under the same id.
                yield f"acknowledged message {message} is lost"
        for message, times in found.items():
            if times > 1:
                yield f"message {message} is there {times} times"

    def _rest(self) -> Iterator[str]:
        for answered in self.saver.interrupts.todo(thread_id=self.thread):
            yield f"what {answered.by} has decided is not carried out: {answered.interrupt_id}"
        if self.state.tasks and not self.questions:
            yield f"it is neither finished nor asking: {[task.name for task in self.state.tasks]} are to be run"
        for order, (_, _, answer) in self.calls.items():
            waits = any(question["args"]["order"] == order for question in self.questions)
            if answer is None and not self.questions:
                yield f"order {order} has no answer, and no person is asked"
            elif waits and answer is not None and "effect" not in answer.additional_kwargs:
                yield f"order {order} has an answer, and a person is asked about it"

    def _effect(self, order: str, entry: Entry | None) -> Iterator[str]:
        times = len(self.evidence.done[order])
        again = 0 if entry is None else entry.attempt - 1
        if times > 1 + again:
            yield f"order {order} took effect {times} times, and {again} times a person said: run it again"
        if again > len(self.evidence.given(order, "run_again")):
            yield f"order {order} is in its attempt {again + 1}, and no person said so often: run it again"
        if times and order in self.calls and entry is None:
            yield f"order {order} took effect, and the ledger does not know it"
        if times and order not in self.calls:
            yield f"order {order} took effect, and no message of the thread asks for it"

    def _approval(self, order: str, entry: Entry | None) -> Iterator[str]:
        for line in self.evidence.done[order]:
            if line["tool"] != "pay":
                continue
            given = self.evidence.given(order, "approve", "edit")
            if line["amount"] not in [answer["amount"] for answer in given]:
                yield f"order {order} was paid with {line['amount']}, and no person approved that"
            if entry is not None and not self._on_record(entry.interrupt_id):
                yield f"order {order} was paid, and no approval is on record"

    def _on_record(self, interrupt_id: str | None) -> bool:
        sql = (
            "SELECT answered_at FROM holdfast_interrupts"
            " WHERE thread_id = :thread AND interrupt_id = :id AND answered_at IS NOT NULL"
        )
        return interrupt_id is not None and bool(rows(self.saver, sql, thread=self.thread, id=interrupt_id))

    def _doubt(self, order: str, entry: Entry) -> Iterator[str]:
        """Check that each call whose tool never came back was asked about, and went as a person decided."""
        about = [question for question in self.questions if question["args"]["order"] == order]
        # Beside a call that waits, it is asked about when the step is through.
        about += [question for question in self.questions if self.calls[order][2] is None]
        match entry:
            case Entry("started"):
                yield f"order {order} is still said to be running"
            case Entry("in_doubt") if not about and not self.evidence.asked[order]:
                yield f"order {order} is in doubt, and no person is or was asked"
            case Entry("done" | "failed", decision=None | "run_again") if not self.evidence.returned[order]:
                yield f"order {order} is {entry.state}, though the tool never came back and no person said so"
            case Entry(decision=("happened" | "skip") as decision) if not self.evidence.given(order, decision):
                yield f"order {order} was decided with {decision}, which no person said"

    def _told(self, order: str) -> Iterator[str]:
        """Check that the model reads the truth about a call."""
        _, _, answer = self.calls.get(order, ("", "", None))
        if answer is None or "effect" in answer.additional_kwargs:
            return
        text, times = answer.text, len(self.evidence.done[order])
        if times and text.startswith(("Not run", "Closed")):
            yield f"order {order} took effect, and its answer is: {text}"
        if not times and text.endswith(": done"):
            yield f"order {order} did not take effect, and its answer is: {text}"
