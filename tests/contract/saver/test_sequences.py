"""Any sequence of things that happen to a thread leaves what a plain model in memory says."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from langchain_core import messages as lc
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Command, interrupt

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from tests.support.kit import thread
from tests.support.shapes import ALLOWED, Voice, exact, messages, patient
from tests.support.sweep import Sweep

Said = list[BaseMessage]


class Task(TypedDict):
    """A task for the graph's node."""

    what: Literal["answer", "edit", "ask"]
    text: str


class State(MessagesState):
    task: Task


def work(state: State) -> dict[str, Any]:
    what, text = state["task"]["what"], state["task"]["text"]
    if what == "ask":
        return {"messages": [AIMessage(interrupt("May I?"))]}
    if what == "edit":
        edit_in_place(state["messages"], text)
        return {"messages": []}
    return {"messages": [AIMessage(text)]}


def edit_in_place(said: list[Any], text: str) -> None:
    for message in said[:2]:
        message.content = text
        message.additional_kwargs["edited"] = [text]


def open_graph(url: str) -> tuple[HoldfastSaver, Any]:
    saver = open_checkpointer(url, allow=ALLOWED).open()
    builder = StateGraph(State)
    builder.add_node("work", work)
    builder.add_edge(START, "work")
    return saver, builder.compile(checkpointer=saver)


def added(said: Said, more: Said) -> Said:
    """Return the messages that `add_messages` should return. It is written independently of it."""
    result = list(said)
    for message in more:
        if message.id == REMOVE_ALL_MESSAGES:
            result = []
            continue
        place = next((i for i, old in enumerate(result) if message.id is not None and old.id == message.id), None)
        if isinstance(message, RemoveMessage):
            assert place is not None
            del result[place]
        elif place is None:
            result.append(message)
        else:
            result[place] = message
    return result


@dataclass
class Saved:
    """A checkpoint, as the model has it."""

    source: str
    said: Said
    """Messages whose id is LangGraph's choice have none until they are first read back; then it may not change."""
    next: tuple[str, ...]
    parent: str | None
    run: str | None = None


texts = st.sampled_from(["yes", "no", "", "a longer text that says more", "👩‍👩‍👧\0"])
ids = st.sampled_from(["m-1", "m-2", "m-3"])
new_messages = st.one_of(
    texts.map(HumanMessage),
    st.tuples(texts, ids).map(lambda said: HumanMessage(said[0], id=said[1])),  # the second one with an id is an edit
    messages([HumanMessage, AIMessage, lc.ToolMessage, lc.ChatMessage, Voice]),
)
durabilities = st.sampled_from(["sync", "async"])


class Conversation(RuleBasedStateMachine):
    """One thread, a graph that works on it, and what must be found there."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.saver, self.graph = open_graph(self.url)
        self.saver.delete_thread("ada-1")  # of the example before
        self.model: dict[str, Saved] = {}  # by checkpoint id, oldest first
        self.runs = 0
        self.waits = False

    # --- what can happen

    @rule(message=new_messages, text=texts, durability=durabilities)
    def append(self, message: BaseMessage, text: str, durability: Any) -> None:
        self.run(self.head(), [message], {"what": "answer", "text": text}, durability)

    @rule(message=new_messages, text=texts)
    def edit_in_place(self, message: BaseMessage, text: str) -> None:
        # With "async" the node may be faster than the save of what it edits, whatever the saver.
        self.run(self.head(), [message], {"what": "edit", "text": text}, "sync")

    @rule(message=new_messages, durability=durabilities)
    def ask(self, message: BaseMessage, durability: Any) -> None:
        self.run(self.head(), [message], {"what": "ask", "text": ""}, durability)

    @precondition(lambda self: self.waits)
    @rule(text=texts, durability=durabilities)
    def resume(self, text: str, durability: Any) -> None:
        before = self.head()
        self.graph.invoke(Command(resume=text), self.of_a_run(thread()), durability=durability)
        self.saw([Saved("loop", added(self.said(before), [AIMessage(text)]), (), before)], self.run_id)

    @rule(message=new_messages)
    def update(self, message: BaseMessage) -> None:
        self.update_state(self.head(), thread(), [message])

    @precondition(lambda self: self.said(self.head()))
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        gone = data.draw(st.sampled_from(self.said(self.head())))
        assert gone.id is not None
        self.update_state(self.head(), thread(), [RemoveMessage(id=gone.id)])

    @rule(keep=st.integers(0, 3))
    def trim(self, keep: int) -> None:
        said = self.said(self.head())
        self.update_state(
            self.head(), thread(), [RemoveMessage(id=REMOVE_ALL_MESSAGES), *said[len(said) - keep :]] if said else []
        )

    @precondition(lambda self: self.model)
    @rule(data=st.data(), message=new_messages, by_run=st.booleans(), text=texts)
    def fork(self, data: st.DataObject, message: BaseMessage, by_run: bool, text: str) -> None:
        at = data.draw(st.sampled_from(sorted(self.model)))
        if by_run:
            self.run(at, [message], {"what": "answer", "text": text}, "sync", checkpoint_id=at)
        else:
            self.update_state(at, thread(checkpoint_id=at, checkpoint_ns=""), [message])

    @precondition(lambda self: self.model)
    @rule()
    def prune(self) -> None:
        self.saver.prune(["ada-1"])
        head = self.head()
        assert head is not None
        self.model = {head: self.model[head]}
        self.model[head].parent = None

    @precondition(lambda self: self.model)
    @rule()
    def move_to_a_copy(self) -> None:
        self.saver.copy_thread("ada-1", "copy")
        self.saver.delete_thread("ada-1")
        self.saver.copy_thread("copy", "ada-1")
        self.saver.delete_thread("copy")

    @precondition(lambda self: any(saved.run for saved in self.model.values()))
    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(sorted({saved.run for saved in self.model.values() if saved.run})))
        self.saver.delete_for_runs([run])
        left = {id_: saved for id_, saved in self.model.items() if saved.run != run}
        for saved in left.values():
            while saved.parent is not None and saved.parent not in left:
                saved.parent = self.model[saved.parent].parent
        self.model = left
        # Who is asked is asked again once the answer is taken back. An update or a fork has done what was asked for.
        head = self.head()
        self.waits = head is not None and left[head].next == ("work",)

    @precondition(lambda self: self.model)
    @rule()
    def delete(self) -> None:
        self.saver.delete_thread("ada-1")
        self.model, self.waits = {}, False

    @rule()
    def reopen(self) -> None:
        if self.url == "memory://":
            self.saver._database.cache.forget("ada-1")
        else:
            self.saver.close()
            self.saver, self.graph = open_graph(self.url)

    # --- how the model follows

    def head(self) -> str | None:
        return max(self.model, default=None)

    def said(self, checkpoint_id: str | None) -> Said:
        return self.model[checkpoint_id].said if checkpoint_id else []

    def run(self, at: str | None, said: Said, task: Task, durability: str, **where: Any) -> None:
        before = self.said(at)
        after = added(before, copy.deepcopy(said))
        config = self.of_a_run(thread(**where))
        result = self.graph.invoke({"messages": said, "task": task}, config, durability=durability)
        new = [Saved("input", before, ("__start__",), at), Saved("loop", after, ("work",), None)]
        if task["what"] == "answer":
            new.append(Saved("loop", added(after, [AIMessage(task["text"])]), (), None))
        elif task["what"] == "edit":
            edited = copy.deepcopy(after)
            edit_in_place(edited, task["text"])
            new.append(Saved("loop", edited, (), None))
        self.saw(new, self.run_id)
        self.waits = task["what"] == "ask"
        assert ("__interrupt__" in result) == self.waits

    def update_state(self, at: str | None, config: RunnableConfig, said: Said) -> None:
        after = added(self.said(at), copy.deepcopy(said))
        self.graph.update_state(config, {"messages": said}, as_node="work")
        self.saw([Saved("update", after, (), at)])

    @property
    def run_id(self) -> str:
        return f"run-{self.runs:04}"

    def of_a_run(self, config: RunnableConfig) -> RunnableConfig:
        """The config of a new run."""
        self.runs += 1
        return {**config, "metadata": {"run_id": self.run_id}}

    def saw(self, new: list[Saved], run: str | None = None) -> None:
        """Take over the ids of new checkpoints and messages; `matches` then says whether all the rest is right."""
        found = [item for item in self.history() if item.config["configurable"]["checkpoint_id"] not in self.model]
        assert len(found) == len(new)
        parent = new[0].parent
        for item, saved in zip(reversed(found), new, strict=True):
            saved.parent, parent = parent, item.config["configurable"]["checkpoint_id"]
            saved.run = run
            self.model[parent] = saved
            for message, was_read in zip(saved.said, item.values.get("messages", []), strict=True):
                message.id = message.id if message.id is not None else was_read.id
        self.waits = False

    def history(self) -> list[Any]:
        return list(self.graph.get_state_history(thread()))

    @invariant()
    def matches(self) -> None:
        history = self.history()
        assert [item.config["configurable"]["checkpoint_id"] for item in history] == sorted(self.model, reverse=True)
        for item in history:
            self.check(item)
        head = self.graph.get_state(thread())
        assert exact(head.values.get("messages", [])) == exact(self.said(self.head()))
        assert bool(head.interrupts) == self.waits

    def check(self, item: Any) -> None:
        saved = self.model[item.config["configurable"]["checkpoint_id"]]
        assert exact(item.values.get("messages", [])) == exact(saved.said)
        assert item.metadata["source"] == saved.source
        assert item.next == saved.next
        assert (item.parent_config or thread(checkpoint_id=None))["configurable"]["checkpoint_id"] == saved.parent

    def teardown(self) -> None:
        try:
            for checkpoint_id in self.model:
                self.check(self.graph.get_state(thread(checkpoint_id=checkpoint_id, checkpoint_ns="")))
        finally:
            self.saver.close()


@pytest.mark.sweep
def test_any_sequence_of_operations_leaves_what_the_model_says(url: str, sweep: Sweep) -> None:
    here = type("Here", (Conversation,), {"url": url})
    run_state_machine_as_test(here, settings=settings(patient, max_examples=sweep(2, 8), stateful_step_count=12))
