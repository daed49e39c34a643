"""Whatever is done with a thread, the index counts what is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Annotated, Any, Literal, TypedDict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import _messages_delta_reducer
from langgraph.types import Command, interrupt

from holdfast.checkpoints import HoldfastSaver, MessageEntry, open_checkpointer
from holdfast.checkpoints.errors import DamagedThread, DatabaseUnavailable, HoldfastError, NothingToUndo, ThreadConflict
from tests.support.index_kit import assert_counted, digest, of_run
from tests.support.kit import checkpoint, put, thread
from tests.support.shapes import exact, patient
from tests.support.sweep import Sweep


class Task(TypedDict):
    what: Literal["answer", "tool", "ask", "fail", "call", "remember"]
    text: str


def copied(old: list[Any], new: list[Any]) -> list[Any]:
    """A reducer that keeps copies: the same message is other objects in two channels."""
    return [*old, *(message.model_copy() for message in new)]


class State(MessagesState):
    task: Task
    notes: Annotated[list[BaseMessage], copied]


def all_copied(old: list[Any], updates: Sequence[list[Any]]) -> list[Any]:
    return [*old, *(message.model_copy() for new in updates for message in new)]


class DeltaState(TypedDict):
    """`State`, with what tasks wrote in place of lists."""

    messages: Annotated[list[AnyMessage], DeltaChannel(_messages_delta_reducer, snapshot_frequency=7)]
    task: Task
    notes: Annotated[list[BaseMessage], DeltaChannel(all_copied, list)]


def graph_on(saver: HoldfastSaver, schema: type[Any] = State) -> Any:
    """A graph that does what it is told, in a node or in a subgraph."""

    def answer(state: Any) -> dict[str, Any]:
        said = AIMessage(state["task"]["text"])
        return {"messages": [said], "notes": [said]}

    def tool(state: Any) -> dict[str, Any]:
        call = AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "c-1", "type": "tool_call"}])
        return {"messages": [call, ToolMessage(state["task"]["text"], tool_call_id="c-1")]}

    def ask(state: Any) -> dict[str, Any]:
        return {"messages": [AIMessage(interrupt({"about": AIMessage("a question")}))]}

    def fail(state: Any) -> dict[str, Any]:
        raise ZeroDivisionError

    def subgraph(**compiled: Any) -> Any:
        inner = StateGraph(schema)
        inner.add_node("think", answer)
        inner.add_node("say", answer)
        inner.add_edge(START, "think")
        inner.add_edge("think", "say")
        return inner.compile(**compiled)

    builder = StateGraph(schema)
    for node in (answer, tool, ask, fail):
        builder.add_node(node)
    builder.add_node("call", subgraph())
    builder.add_node("remember", subgraph(checkpointer=True))
    builder.add_conditional_edges(START, lambda state: state["task"]["what"])
    return builder.compile(checkpointer=saver)


texts = st.sampled_from(["yes", "no", "", "a longer text that says more", "👩‍👩‍👧\0"])
ids = st.sampled_from([None, None, "m-1", "m-2"])
tasks = st.sampled_from(["answer", "tool", "ask", "fail", "call", "remember"])
durabilities = st.sampled_from(["sync", "async", "exit"])


class Thread(RuleBasedStateMachine):
    """One thread, and all that can be done with it."""

    url: str
    schema: type[Any]

    def __init__(self) -> None:
        super().__init__()
        self.saver = open_checkpointer(self.url).open()
        self.graph = graph_on(self.saver, self.schema)
        for thread_id in ("ada-1", "copy", "fork"):  # of the example before
            self.saver.delete_thread(thread_id)
        self.runs = 0

    # --- what can happen

    @rule(text=texts, id_=ids, what=tasks, durability=durabilities, data=st.data())
    def turn(self, text: str, id_: str | None, what: str, durability: Any, data: st.DataObject) -> None:
        at = data.draw(st.sampled_from([None, None, None, *self.checkpoints])) if self.checkpoints else None
        self.run({"messages": [HumanMessage(text, id=id_)], "task": {"what": what, "text": text}}, at, durability)

    @rule(text=texts, durability=durabilities)
    def resume(self, text: str, durability: Any) -> None:
        pauses = self.graph.get_state(thread()).interrupts
        if pauses:
            self.run(Command(resume={pause.id: text for pause in pauses}), None, durability)

    @rule(text=texts)
    def edit_or_remove(self, text: str) -> None:
        said = self.graph.get_state(thread()).values.get("messages", [])
        if said:
            new = RemoveMessage(id=said[0].id) if text == "no" else HumanMessage(text, id=said[0].id)
            self.graph.update_state(thread(), {"messages": [new]}, as_node="answer")

    @precondition(lambda self: self.checkpoints)
    @rule(text=texts)
    def come_too_late(self, text: str) -> None:
        late = self.saver.get_tuple(thread())
        assert late is not None
        self.graph.update_state(thread(), {"messages": []}, as_node="answer")
        self.saver.put_writes(late.config, [("messages", [AIMessage(text, id="late")])], "late")
        with pytest.raises(ThreadConflict):
            put(self.saver, late.config, checkpoint([AIMessage(text, id="late"), AIMessage("too late")]))

    @rule()
    def prune(self) -> None:
        self.saver.prune(["ada-1"])

    @precondition(lambda self: self.checkpoints)
    @rule()
    def move_to_a_copy(self) -> None:
        self.saver.threads.copy("ada-1", "copy")
        assert_counted(self.saver)
        self.saver.threads.delete("ada-1")
        self.saver.threads.copy("copy", "ada-1")
        self.saver.threads.delete("copy")

    @precondition(lambda self: self.checkpoints)
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        at = data.draw(st.sampled_from(self.checkpoints))
        before, source = digest(self.saver, "ada-1"), self.saver.get_tuple(thread(checkpoint_id=at))
        self.saver.threads.fork("ada-1", "fork", checkpoint_id=at)
        forked = self.saver.get_tuple(thread("fork"))
        assert source is not None
        assert forked is not None
        assert exact(forked.checkpoint) == exact(source.checkpoint)
        assert exact(self.graph.get_state(thread("fork")).values) == exact(
            self.graph.get_state(source.config).values
        ), "what a subgraph said, too"
        assert_counted(self.saver)
        assert digest(self.saver, "ada-1") == before
        self.graph.update_state(thread("fork"), {"messages": [AIMessage("on", id="on")]}, as_node="answer")
        assert_counted(self.saver)
        self.saver.threads.delete("fork")

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        self.saver.delete_for_runs([f"run-{data.draw(st.integers(1, self.runs))}"])

    @precondition(lambda self: self.checkpoints)
    @rule()
    def restart(self) -> None:
        said = self.saver.threads.get("ada-1").messages
        assert self.saver.threads.restart("ada-1").messages == said
        assert self.graph.get_state(thread()).values.get("messages", []) == []

    @precondition(lambda self: self.checkpoints)
    @rule()
    def undo(self) -> None:
        try:
            self.saver.threads.undo("ada-1")
        except NothingToUndo:
            return

    @rule()
    def reopen(self) -> None:
        self.saver.close()
        self.saver = open_checkpointer(self.url).open()
        self.graph = graph_on(self.saver, self.schema)

    # --- and what must be so

    @invariant()
    def counted(self) -> None:
        assert_counted(self.saver)

    @invariant()
    def all_that_the_state_has_was_said(self) -> None:
        if self.checkpoints:
            entries = [entry for entry in self.saver.transcript("ada-1") if isinstance(entry, MessageEntry)]
            said = {(entry.message_id, entry.text) for entry in entries}
            state = self.graph.get_state(thread()).values.get("messages", [])
            # Of a run that came too late LangGraph takes what it wrote to a `DeltaChannel` for part of the state.
            assert {(message.id, message.text) for message in state if message.id != "late"} <= said

    @property
    def checkpoints(self) -> list[str]:
        return [item.config["configurable"]["checkpoint_id"] for item in self.saver.list(thread(checkpoint_ns=""))]

    def run(self, given: Any, at: str | None, durability: Any) -> None:
        self.runs += 1
        config: RunnableConfig = of_run(run_id=f"run-{self.runs}", tag=f"{self.runs % 3}")
        if at is not None:
            config["configurable"] |= {"checkpoint_id": at, "checkpoint_ns": ""}
        try:
            self.graph.invoke(given, config, durability=durability)
        except ZeroDivisionError:
            return

    def teardown(self) -> None:
        self.saver.close()


def test_a_message_that_is_met_several_times_in_a_save_is_counted_once(saver: HoldfastSaver) -> None:
    """A message that a task wrote is known, and its copy in another channel is not, with and without an id."""
    first = put(saver, thread(), checkpoint([]))
    known, unnamed, named = AIMessage("so", id="m-1"), AIMessage("yes"), AIMessage("yes", id="m-2")
    saver.put_writes(first, [("messages", [known, named]), ("notes", [unnamed])], "task")
    put(saver, first, checkpoint([known, named], copies=[known.model_copy()], notes=[unnamed]))
    assert saver.threads.get("ada-1").messages == 2
    assert_counted(saver)


@pytest.mark.sweep
def test_the_index_counts_what_is_there_after_four_have_done_anything_at_once(url: str) -> None:
    with open_checkpointer(url) as saver, open_checkpointer(url) as other, ThreadPoolExecutor(4) as pool:

        def work(seed: int) -> int:
            luck = Random(seed)  # noqa: S311 - no secret
            mine = other if seed % 2 else saver
            graph, threads, done = graph_on(mine), mine.threads, 0

            def turn(id_: str, _: str) -> object:
                task = {"what": luck.choice(["answer", "ask", "remember"]), "text": f"{seed}"}
                return graph.invoke({"messages": [("user", f"{seed}.{done}")], "task": task}, thread(id_))

            others: list[Callable[[str, str], object]] = [
                lambda id_, _: threads.rename(id_, f"{seed}"),
                lambda id_, _: threads.undo(id_),
                lambda id_, _: threads.restart(id_),
                lambda id_, _: threads.delete(id_),
                threads.fork,
                threads.copy,
                lambda id_, _: mine.prune([id_]),
            ]
            for _ in range(12):
                act = luck.choice([turn, turn, luck.choice(others)])
                try:
                    act(luck.choice("ab"), luck.choice("abc"))
                    done += 1
                except (DamagedThread, DatabaseUnavailable):
                    raise
                except HoldfastError:
                    continue
            return done

        assert min(pool.map(work, range(4))) > 0
        assert_counted(saver)
        for found in saver.threads.list().threads:
            graph_on(saver).invoke({"messages": [], "task": {"what": "tool", "text": "on"}}, thread(found.thread_id))
        assert_counted(saver)


@pytest.mark.parametrize("schema", [State, DeltaState])
def test_the_index_counts_what_is_there_after_any_sequence(url: str, schema: type[Any], sweep: Sweep) -> None:
    here = type("Here", (Thread,), {"url": url, "schema": schema})
    run_state_machine_as_test(here, settings=settings(patient, max_examples=sweep(1, 4), stateful_step_count=12))
