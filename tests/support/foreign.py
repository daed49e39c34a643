"""Graphs as others write them, each with a few things done to it, for comparing savers.

Each scenario returns a record: what its runs gave, and what can be read of the thread at different times.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypedDict

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import InjectedToolCallId
from langgraph.channels.delta import DeltaChannel
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import _messages_delta_reducer, add_messages
from langgraph.prebuilt import create_react_agent
from langgraph.types import Command, Overwrite, Send, StateUpdate, interrupt
from pydantic import BaseModel

from tests.support.kit import thread
from tests.support.records import ID, everything, steps_back
from tests.support.shapes import exact

Durability = Literal["sync", "async", "exit"]


# --- agents with tools


class Scripted(BaseChatModel):
    """Asks for two tools at once when a person has spoken, and then answers."""

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **kwargs: Any) -> ChatResult:
        turn = len(messages)
        answer = AIMessage(f"Done after {turn}.", id=f"ai-{turn}", response_metadata={"turn": turn})
        if isinstance(messages[-1], HumanMessage):
            names = ["weather", "ask_person"] if "ask" in messages[-1].text else ["weather", "weather"]
            answer.tool_calls = [
                {"name": name, "args": {"city": f"c{place}"}, "id": f"call-{turn}-{place}", "type": "tool_call"}
                for place, name in enumerate(names)
            ]
        return ChatResult(generations=[ChatGeneration(message=answer)])

    @property
    def _llm_type(self) -> str:
        return "scripted"


# The tools give their messages ids: else LangGraph sets them while, or before, a save is going on in the background.


def weather(city: str, call: Annotated[str, InjectedToolCallId]) -> ToolMessage:
    """The weather in a city."""
    return ToolMessage(f"Rain in {city}.", tool_call_id=call, id=f"t-{call}", artifact={"mm": [1, 2]})


def ask_person(city: str, call: Annotated[str, InjectedToolCallId]) -> ToolMessage:
    """Ask a person."""
    return ToolMessage(f"They say: {interrupt({'about': city})}", tool_call_id=call, id=f"t-{call}")


def react_agent(saver: Any) -> list[Any]:
    graph = create_react_agent(Scripted(), [weather, ask_person], checkpointer=saver, version="v2")
    record: list[Any] = []
    for text in ("Is it raining?", "And ask a person.", "Sure?"):
        modes = ["values", "updates", "messages", "tasks", "checkpoints"]
        chunks = list(graph.stream({"messages": [("user", text)]}, thread(), stream_mode=modes, durability="sync"))
        # Which of two parallel tools is heard first is luck.
        record += sorted(ID.sub("#", repr(chunk)) for chunk in chunks)
        if graph.get_state(thread()).interrupts:
            record.append(exact(graph.invoke(Command(resume="no"), thread())))
    return [*record, *everything(saver, graph)]


def react_agent_that_stops_before_its_tools(saver: Any) -> list[Any]:
    graph = create_react_agent(Scripted(), [weather], checkpointer=saver, interrupt_before=["tools"])
    record = [exact(graph.invoke({"messages": [HumanMessage("Rain?", id="h-1")]}, thread()))]
    said = graph.get_state(thread()).values["messages"]
    changed = said[-1].model_copy(update={"tool_calls": said[-1].tool_calls[:1]})
    graph.update_state(thread(), {"messages": [changed]})
    return [*record, exact(graph.invoke(None, thread())), *everything(saver, graph)]


# --- subgraphs


class Notes(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    notes: Annotated[list[str], operator.add]


def subgraphs(saver: Any, *, own_memory: Any, durability: Durability = "sync") -> list[Any]:
    def child(name: str, question: str) -> Any:
        builder = StateGraph(Notes)
        builder.add_node(
            "think", lambda _: {"messages": [AIMessage(f"{name} thinks", id=f"{name}-1")], "notes": [name]}
        )
        builder.add_node("ask", lambda _: {"messages": [AIMessage(f"{name}: {interrupt(question)}", id=f"{name}-2")]})
        builder.add_edge(START, "think")
        builder.add_edge("think", "ask")
        return builder.compile(checkpointer=own_memory)

    builder = StateGraph(Notes)
    builder.add_node("left", child("left", "l?"))
    builder.add_node("right", child("right", "r?"))
    builder.add_node("join", lambda state: {"notes": [f"joined {len(state['messages'])}"]})
    builder.add_edge(START, "left")
    builder.add_edge(START, "right")
    builder.add_edge(["left", "right"], "join")
    graph: Any = builder.compile(checkpointer=saver)

    record: list[Any] = []
    for turn in range(2):
        graph.invoke({"messages": [HumanMessage("go", id=f"h-{turn}")]}, thread(), durability=durability)
        record += everything(saver, graph)
        waiting = sorted(graph.get_state(thread()).interrupts, key=lambda item: str(item.value))
        graph.invoke(Command(resume={waiting[0].id: "yes"}), thread(), durability=durability)
        record += everything(saver, graph)
        graph.invoke(Command(resume={waiting[1].id: "no"}), thread(), durability=durability)
    return [*record, *everything(saver, graph)]


# --- the functional API


def functional(saver: Any) -> list[Any]:
    @task
    def draft(number: int) -> AIMessage:
        return AIMessage(f"draft {number}", id=f"d-{number}")

    @entrypoint(checkpointer=saver)
    def write(topic: str, *, previous: Any = None) -> Any:
        drafts = [future.result() for future in [draft(number) for number in range(3)]]
        choice = interrupt({"drafts": drafts, "topic": topic})
        said = [*((previous or {}).get("said", [])), drafts[choice]]
        return entrypoint.final(value=said[-1], save={"said": said, "topics": (topic, choice)})

    record: list[Any] = []
    for turn in range(2):
        list(write.stream(f"topic {turn}", thread()))
        record += everything(saver, write)
        record.append(exact(write.invoke(Command(resume=turn), thread())))
    return [*record, *everything(saver, write)]


# --- updates, copies, time travel


def talker(saver: Any, state: Any = MessagesState) -> Any:
    def answer(state: Any) -> Any:
        said = state["messages"] if isinstance(state, dict) else state.messages
        return {"messages": [AIMessage(f"answer to {said[-1].text}", id=f"a-{len(said)}-{said[-1].text}")]}

    builder = StateGraph(state)
    builder.add_node("answer", answer)
    builder.add_node("check", lambda _: {"messages": []})
    builder.add_edge(START, "answer")
    builder.add_edge("answer", "check")
    return builder.compile(checkpointer=saver)


def say(text: str) -> dict[str, Any]:
    return {"messages": [HumanMessage(text, id=f"h-{text}")]}


def time_travel(saver: Any) -> list[Any]:
    graph = talker(saver)
    for text in ("one", "two"):
        graph.invoke(say(text), thread())
    record = [exact(graph.invoke(None, steps_back(graph, 2)))]  # again from before the answer
    record += [exact(graph.invoke(say("other"), steps_back(graph, 4)))]  # something else from there
    forked = graph.update_state(steps_back(graph, 5), {"messages": [RemoveMessage(id="h-one")]}, as_node="answer")
    record += [exact(graph.invoke(None, forked)), exact(graph.invoke(say("three"), thread()))]
    return [*record, *everything(saver, graph)]


def updates(saver: Any) -> list[Any]:
    graph = talker(saver)
    graph.update_state(thread(), say("before all"), as_node=START)
    graph.invoke(None, thread())
    graph.update_state(
        thread(), {"messages": [HumanMessage("edited", id="h-before all"), ("user", "more")]}, as_node="answer"
    )
    graph.update_state(steps_back(graph, 1), None, as_node="__copy__")
    graph.update_state(
        steps_back(graph, 2), [({"messages": [AIMessage("instead", id="i-1")]}, "answer")], as_node="__copy__"
    )
    graph.bulk_update_state(
        thread(),
        [
            [StateUpdate(say("bulk 1"), "check")],
            [StateUpdate({"messages": Overwrite([HumanMessage("only this", id="o-1")])}, "answer")],
        ],
    )
    graph.update_state(thread(), None, as_node=END)
    graph.invoke(say("after all"), thread())
    return everything(saver, graph)


# --- other states


class DeltaState(TypedDict):
    messages: Annotated[list[AnyMessage], DeltaChannel(_messages_delta_reducer, snapshot_frequency=3)]


def delta_channel(saver: Any) -> list[Any]:
    graph = talker(saver, DeltaState)
    record = [exact(graph.invoke(say(f"turn {turn}"), thread())) for turn in range(4)]
    graph.update_state(thread(), {"messages": [RemoveMessage(id="h-turn 0")]}, as_node="answer")
    graph.update_state(thread(), {"messages": Overwrite([HumanMessage("fresh", id="f-1")])}, as_node="answer")
    record += [exact(graph.invoke(say("again"), thread())), exact(graph.invoke(say("fork"), steps_back(graph, 7)))]
    return [*record, *everything(saver, graph)]


@dataclasses.dataclass
class Basket:
    owner: str
    last: AnyMessage | None = None


class Wish(BaseModel):
    text: str
    urgent: bool = False


@dataclasses.dataclass
class DataState:
    messages: Annotated[list[AnyMessage], add_messages]
    basket: Basket | None = None


class ModelState(BaseModel):
    messages: Annotated[list[AnyMessage], add_messages]
    wish: Wish | None = None
    basket: Basket | None = None


def typed_states(saver: Any, state: Any, **more: Any) -> list[Any]:
    graph = talker(saver, state)
    record = [exact(graph.invoke({**say(text), **more}, thread())) for text in ("one", "two")]
    graph.update_state(thread(), {"basket": Basket("bob", AIMessage("last", id="l-1"))}, as_node="answer")
    return [*record, *everything(saver, graph)]


def map_reduce(saver: Any, durability: Durability) -> list[Any]:
    builder = StateGraph(Notes)
    builder.add_node("plan", lambda _: {})
    builder.add_node(
        "work",
        lambda sent: {"messages": [AIMessage(sent["do"], id=f"w-{sent['do']}")], "notes": [sent["messages"][0].text]},
    )
    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", lambda state: [Send("work", {**state, "do": do}) for do in "abc"], ["work"])
    graph: Any = builder.compile(checkpointer=saver, interrupt_after=["plan"])
    for text in ("one", "two"):
        graph.invoke({"messages": [HumanMessage(text, id=f"h-{text}")], "notes": []}, thread(), durability=durability)
        graph.invoke(None, thread(), durability=durability)
    return everything(saver, graph)


SCENARIOS: dict[str, Callable[[Any], list[Any]]] = {
    "create_react_agent": react_agent,
    "create_react_agent with interrupt_before": react_agent_that_stops_before_its_tools,
    "subgraphs": lambda saver: subgraphs(saver, own_memory=None),
    "subgraphs with their own memory": lambda saver: subgraphs(saver, own_memory=True),
    "subgraphs, async": lambda saver: subgraphs(saver, own_memory=None, durability="async"),
    "subgraphs, exit": lambda saver: subgraphs(saver, own_memory=None, durability="exit"),
    "functional": functional,
    "time travel": time_travel,
    "updates": updates,
    "DeltaChannel": delta_channel,
    "dataclass state": lambda saver: typed_states(saver, DataState, basket=Basket("ada")),
    "pydantic state": lambda saver: typed_states(saver, ModelState, wish=Wish(text="tea"), basket=Basket("ada")),
    "map-reduce, sync": lambda saver: map_reduce(saver, "sync"),
    "map-reduce, async": lambda saver: map_reduce(saver, "async"),
    "map-reduce, exit": lambda saver: map_reduce(saver, "exit"),
}
