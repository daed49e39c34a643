"""An agent whose state lies in delta channels."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import START, StateGraph
from langgraph.graph.message import _messages_delta_reducer
from langgraph.types import Send, interrupt


def merged(files: dict[str, Any], updates: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """As deepagents keeps files: an update replaces, and None deletes."""
    for update in updates:
        files = {name: text for name, text in {**files, **update}.items() if text is not None}
    return files


def in_order(notes: list[Any], updates: Sequence[list[Any]]) -> list[Any]:
    """Shows in which order the updates came."""
    return [*notes, *(note for update in updates for note in update)]


def delta_agent(saver: Any, frequency: int) -> Any:
    """A graph with three delta channels: it fans out, asks a person, and answers."""

    state = TypedDict(  # noqa: UP013 - the annotations of a class here would not see the frequency
        "State",
        {
            "messages": Annotated[
                list[AnyMessage], DeltaChannel(_messages_delta_reducer, snapshot_frequency=frequency)
            ],
            "files": Annotated[dict[str, Any], DeltaChannel(merged, dict, snapshot_frequency=2 * frequency)],
            "notes": Annotated[list[Any], DeltaChannel(in_order, list, snapshot_frequency=1000)],
            "steps": Annotated[int, operator.add],
        },
    )

    def plan(state: Any) -> dict[str, Any]:
        turn = len(state["messages"])
        return {"messages": [AIMessage("I will.", id=f"plan-{turn}")], "steps": 1}

    def fan_out(state: Any) -> list[Send]:
        said = next(m.text for m in reversed(state["messages"]) if isinstance(m, HumanMessage))
        turn = len(state["messages"])
        return [Send("work", {"turn": turn, "number": number, "said": said}) for number in (2, 0, 1)]

    def work(task: dict[str, Any]) -> dict[str, Any]:
        turn, number = task["turn"], task["number"]
        if (number == 1 and "ask" in task["said"]) or (number == 2 and "both" in task["said"]):
            task["said"] = interrupt({"about": turn})
        return {
            "messages": [AIMessage(f"{number}: {task['said']}", id=f"work-{turn}-{number}")],
            "files": {f"{number}.txt": [task["said"], turn], "0.txt" if turn % 2 else "x": None},
            "notes": [(turn, number), {"said": AIMessage("noted", id=f"note-{turn}-{number}")}],
        }

    builder = StateGraph(state)
    builder.add_node("plan", plan)
    builder.add_node("work", work)
    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", fan_out, ["work"])
    return builder.compile(checkpointer=saver)
