"""The cost of the effects' record for a tool call, in transactions that write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from langchain_core.messages import HumanMessage
from langchain_core.tools import BaseTool, tool

from holdfast.checkpoints import open_checkpointer
from holdfast.graph import Conversation, build_graph, needs_approval, once, repeatable
from tests.chaos.journal import Place
from tests.chaos.talks.marks import watch
from tests.chaos.talks.scene import Clerk

MOST = {"safe": 0, "changes the world": 2, "changes the world, approved": 2}
"""Transactions that the ledger may add to a call."""


@dataclass
class Cost:
    """The outcome."""

    added: dict[str, int] = field(default_factory=dict)
    """By kind of tool: transactions more than with a tool that is safe to repeat."""
    ledger: dict[str, int] = field(default_factory=dict)
    """By kind of tool: transactions in which the ledger's table was named."""
    failures: list[tuple[str, str]] = field(default_factory=list)


def count(place: Place) -> Cost:
    """Count them."""
    done = Cost()
    plain: dict[bool, int] = {}
    cases: list[tuple[str, bool, Callable[[BaseTool], BaseTool]]] = [
        ("safe", False, lambda tool: tool),
        ("safe, approved", True, lambda tool: repeatable(needs_approval(tool))),
        ("changes the world", False, once),
        ("changes the world, approved", True, needs_approval),
    ]
    for position, (kind, approved, declare) in enumerate(cases):
        seen = _turn(place, f"cost-{position}", approved, declare)
        plain.setdefault(approved, seen["all"])
        done.added[kind] = seen["all"] - plain[approved]
        done.ledger[kind] = seen["ledger"]
    for kind, most in MOST.items():
        if max(done.added[kind], done.ledger[kind]) > most:
            done.failures.append(("cost", f"{kind}: {done.added[kind]} transactions more, {most} are allowed"))
    return done


def _turn(place: Place, thread: str, approved: bool, declare: Callable[[BaseTool], BaseTool]) -> Counter[str]:
    @tool
    def look(order: str) -> str:
        """Look an order up."""
        return "There it is."

    with open_checkpointer(place.url) as saver:
        agent = build_graph(model=Clerk(), tools=[declare(look)], checkpointer=saver)
        talk = Conversation(agent, thread)
        seen: Counter[str] = Counter()
        watch(saver, lambda names, when: seen.update(_kinds(names) if when == "after" else ()))
        talk.send(HumanMessage(f"look {thread}-1", id=f"{thread}:m0"))
        if approved:
            talk.approve()
        seen_by_then = Counter(seen)
        assert talk.history()[-2].text == "There it is."
        return seen_by_then


def _kinds(names: list[str]) -> list[str]:
    return ["all", "ledger"] if any("effect" in name for name in names) else ["all"]
