"""An agent of deepagents with a subagent that makes refunds, and programs that run it in a process of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langchain_core.tools import tool
from langgraph.types import Command

from holdfast import once
from holdfast.checkpoints import HoldfastSaver, open_checkpointer, times
from holdfast.middleware import HoldfastMiddleware
from tests.support.children import die
from tests.support.graph_kit import ScriptedModel, calls, says
from tests.support.kit import thread


def deep_agent(saver: HoldfastSaver, effects: Path, *, by: str, dies: bool = False, begins: bool = False) -> Any:
    """Make the agent.

    Args:
        saver: its checkpointer.
        effects: the file in which a refund is a line.
        by: who asks for the approval: "ours", or "theirs", which is `interrupt_on` of deepagents.
        dies: whether the process dies in the tool.
        begins: whether the models have said nothing yet.
    """
    from deepagents import create_deep_agent

    @once
    @tool
    def refund(order: int) -> str:
        """Refund an order."""
        with effects.open("a") as file:
            file.write(f"refund {order}\n")
        if dies:
            die()
        return f"order {order} refunded"

    given = [calls(("task", {"description": "refund 1", "subagent_type": "desk"}), ids=["t1"])] if begins else []
    asked = [calls(("refund", {"order": 1}))] if begins else []
    desk = {
        "name": "desk",
        "description": "Makes refunds.",
        "system_prompt": "Be brief.",
        "tools": [refund],
        "model": ScriptedModel(lines=[*asked, says("it is refunded")]),
        "middleware": [HoldfastMiddleware(interrupt_on=["refund"] if by == "ours" else [])],
    }
    if by == "theirs":
        desk["interrupt_on"] = {"refund": True}
    model = ScriptedModel(lines=[*given, says("all done")])
    return create_deep_agent(
        model=model, subagents=[desk], middleware=[HoldfastMiddleware()], checkpointer=saver, name="main"
    )


def begin(url: str, effects: str, by: str) -> str:
    """Say something, die, and leave a request."""
    with open_checkpointer(url) as saver:
        agent = deep_agent(saver, Path(effects), by=by, begins=True)
        agent.invoke({"messages": [("user", "go")]}, thread(), durability="sync")
        return saver.interrupts.waiting()[0].interrupt_id


def carry_out(url: str, effects: str, by: str, dies: bool) -> list[str]:
    """Carry the recorded answers out, die in the tool if so wanted, and return what the thread says then."""
    times.EFFECT_TTL, times.EFFECT_RENEWAL = 0.3, 0.1  # type: ignore[misc]
    with open_checkpointer(url) as saver:
        agent = deep_agent(saver, Path(effects), by=by, dies=dies)
        resume = {done.interrupt_id: done.answer for done in saver.interrupts.todo()}
        agent.invoke(Command(resume=resume) if resume else None, thread(), durability="sync")
        return [message.text for message in agent.get_state(thread()).values["messages"]]
