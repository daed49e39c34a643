"""The scene: an agent with a tool of each kind, and the script of each thread.

All that is chosen is chosen by the seed and the thread's name, so that any process can go on where another one died.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool, tool

from holdfast.checkpoints import HoldfastSaver
from holdfast.graph import IdempotencyKey, build_graph, needs_approval, once
from tests.chaos.journal import Place
from tests.support.graph_kit import StrictModel, calls

PRICE = 50
"""The amount that the model pays; a person who edits changes it."""

# A tool takes so long before and after its effect, in seconds at the most, that kills at random find it there too.
_DAWDLES = 0.008


class Clerk(StrictModel):
    """Calls the tools that the user's message names, and says so when they have answered. It remembers nothing."""

    def line(self, messages: list[BaseMessage]) -> AIMessage:
        last = messages[-1]
        if isinstance(last, HumanMessage) and (wanted := _wanted(last.text)):
            return calls(*wanted)
        return AIMessage("It was done, or not." if isinstance(last, ToolMessage) else "You are welcome.")


def _wanted(text: str) -> list[tuple[str, dict[str, Any]]]:
    """`look t1-1; pay t1-2`"""
    words = [part.split() for part in text.split(";")]
    return [
        (name, {"order": order, "amount": PRICE} if name == "pay" else {"order": order})
        for name, order in (pair for pair in words if len(pair) == 2 and pair[0] in ("look", "note", "pay"))
    ]


def tools(place: Place, reached: Callable[[str], None]) -> list[BaseTool]:
    """One that is safe, one that changes the world, and one that changes it after a person has agreed.

    Args:
        place: where the world is.
        reached: called at the marked points inside of a tool.
    """
    random = Random()

    def act(name: str, order: str, amount: int, key: str) -> str:
        line = {"order": order, "tool": name, "amount": amount, "key": key}
        place.journal.write(entered=order, **line)
        time.sleep(random.uniform(0, _DAWDLES))  # the tool works
        reached("tool:before")
        place.world.write(**line)
        reached("tool:after")
        time.sleep(random.uniform(0, _DAWDLES))  # the tool works
        place.journal.write(returned=order, **line)
        return f"{name} {order} {amount}: done"

    @tool
    def look(order: str) -> str:
        """Look an order up."""
        return f"order {order} exists"

    @once
    @tool
    def note(order: str, key: IdempotencyKey) -> str:
        """Write a note about an order."""
        return act("note", order, 0, key)

    @needs_approval
    @tool
    def pay(order: str, amount: int, key: IdempotencyKey) -> str:
        """Pay an order."""
        return act("pay", order, amount, key)

    return [look, note, pay]


def agent_on(
    saver: HoldfastSaver, place: Place, reached: Callable[[str], None] = lambda _: None, *, langchain: bool = False
) -> Any:
    """The agent: of `build_graph`, or of LangChain's `create_agent` with the middleware."""
    if not langchain:
        return build_graph(model=Clerk(), tools=tools(place, reached), checkpointer=saver)
    from langchain.agents import create_agent

    from holdfast.middleware import HoldfastMiddleware

    return create_agent(Clerk(), tools(place, reached), middleware=[HoldfastMiddleware()], checkpointer=saver)


def is_langchains(thread: str) -> bool:
    """Return whether a thread is one of the agent of `create_agent`: every third in which processes are killed, and
    every second pair of rounds."""
    if thread[:1] == "r" and thread[1:].isdecimal():
        return int(thread[1:]) // 2 % 2 == 1
    return thread.startswith("t") and sum(thread.encode()) % 3 == 0


@dataclass(frozen=True)
class Said:
    """A message of the user."""

    id: str
    text: str
    barges_in: bool = False
    """It is sent while calls of the one before still wait."""


@dataclass(frozen=True)
class Script:
    """The script of a thread."""

    thread: str
    messages: list[Said]
    stays_open: bool
    """The last call that waits is left waiting."""

    @property
    def thread_of_langgraph(self) -> dict[str, Any]:
        return {"configurable": {"thread_id": self.thread}}


def script_of(seed: int, thread: str) -> Script:
    """The script of a thread: calls side by side, messages that barge in, and an end."""
    random = Random(f"{seed} {thread}")
    steps = [["look", "note", "pay", "pay"], ["pay", "note"], ["pay"], []]
    random.shuffle(steps[0])
    if random.random() < 0.3:
        steps.insert(2, ["note", "note", "look"])
    number, messages, barges_in = 0, [], False
    for position, names in enumerate(steps):
        named = []
        for name in names:
            number += 1
            named.append(f"{name} {thread}-{number}")
        messages.append(Said(f"{thread}:m{position}", "; ".join(named) or "Thanks.", barges_in))
        barges_in = "pay" in names and position > 0 and random.random() < 0.4
    stays_open = random.random() < 0.1
    return Script(thread, messages[:-1] if stays_open else messages, stays_open)


def decision_about(seed: int, order: str) -> dict[str, Any]:
    """Return a person's answer to a call that waits for approval."""
    random = Random(f"{seed} {order} approval")
    amount = random.randint(PRICE + 1, PRICE + 49)
    edit = {"type": "edit", "edited_action": {"name": "pay", "args": {"order": order, "amount": amount}}}
    others = [edit, {"type": "reject", "message": "no"}, {"type": "respond", "message": "I have paid it."}]
    return {"type": "approve"} if random.random() < 0.55 else random.choice([edit, *others])


def verdict_about(seed: int, order: str, times: int, happened: bool) -> dict[str, Any]:
    """Return a person's answer to the request whether a call took effect. Most look; some are wrong.

    Args:
        seed, order: of the call.
        times: how often it was asked about before.
        happened: what a person sees who looks.
    """
    random = Random(f"{seed} {order} doubt {times}")
    likely = {"type": "happened", "result": "I have seen it."} if happened else {"type": "run_again"}
    if times > 3 or random.random() < 0.7:
        return likely
    return random.choice([{"type": "run_again"}, {"type": "skip"}])
