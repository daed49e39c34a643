"""Undo, restart, fork, copy, export and delete rebuild no value: no class of the program is called."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage
from langgraph.graph import START, StateGraph, add_messages
from pydantic import BaseModel
from typing_extensions import TypedDict

from holdfast.checkpoints import HoldfastSaver, open_checkpointer, transfer
from holdfast.checkpoints.transcript import export as exports
from tests.support.kit import texts, thread

calls: list[str] = []


@dataclass
class Counted:
    name: str
    said: list[AnyMessage] = field(default_factory=list)

    def __post_init__(self) -> None:
        calls.append("dataclass")


class Model(BaseModel):
    count: int
    inner: Any = None

    def model_post_init(self, _context: Any) -> None:
        calls.append("model")


class _Meta(type(Enum)):  # type: ignore[misc]
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        calls.append("enum")
        return super().__call__(*args, **kwargs)


class Colour(Enum, metaclass=_Meta):
    RED = (1, 2)


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    found: Annotated[list[Any], operator.add]
    kept: Any


def talker(saver: HoldfastSaver) -> Any:
    """A graph whose state, and whose messages, have values of types that count how often they are made."""

    def node(state: State) -> dict[str, Any]:
        number = len(state["messages"])
        said = AIMessage(f"answer {number}", additional_kwargs={"of": Counted("in a message", [AIMessage("inside")])})
        return {
            "messages": [said],
            "found": [Counted("found", [said]), Model(count=number, inner=Colour.RED), {(1, 2), (3, 4)}],
            "kept": Model(count=number),
        }

    builder = StateGraph(State)
    builder.add_node(node)
    builder.add_edge(START, "node")
    return builder.compile(checkpointer=saver)


@pytest.fixture
def talked(saver: HoldfastSaver) -> HoldfastSaver:
    graph = talker(saver)
    for text in ("one", "two", "three"):
        graph.invoke({"messages": [("user", text)]}, thread(), durability="sync")
    saver.database.cache.forget_all()
    return saver


def state(saver: HoldfastSaver, thread_id: str = "ada-1") -> Any:
    return talker(saver).get_state(thread(thread_id)).values


def _move(saver: HoldfastSaver, folder: Path) -> None:
    with open_checkpointer(f"sqlite:///{folder / 'other.db'}") as other:
        transfer.transfer_thread(saver.database, other.database, "ada-1")


WAYS: dict[str, Callable[[HoldfastSaver, Path], object]] = {
    "undo": lambda saver, _: saver.threads.undo("ada-1"),
    "restart": lambda saver, _: saver.threads.restart("ada-1"),
    "fork": lambda saver, _: saver.threads.fork("ada-1", "other"),
    "copy": lambda saver, _: saver.threads.copy("ada-1", "other"),
    "prune": lambda saver, _: saver.prune(["ada-1"]),
    "export": lambda saver, _: list(transfer.export_thread(saver.database, "ada-1")),
    "export as JSONL": lambda saver, _: list(exports.jsonl(saver.transcript("ada-1"))),
    "export as Markdown": lambda saver, _: list(exports.markdown(saver.transcript("ada-1"))),
    "export as HTML": lambda saver, _: list(exports.html(saver.transcript("ada-1"))),
    "move": _move,
    "delete": lambda saver, _: saver.threads.delete("ada-1"),
}


@pytest.mark.sweep(every=4)
@pytest.mark.parametrize("way", WAYS)
def test_no_value_is_rebuilt(talked: HoldfastSaver, way: str, tmp_path: Path) -> None:
    before = state(talked)
    talked.database.cache.forget_all()
    calls.clear()
    WAYS[way](talked, tmp_path)
    assert calls == []
    if way in {"copy", "fork"}:
        assert state(talked, "other") == before


def test_a_turn_that_is_undone_leaves_every_value_as_it_was(talked: HoldfastSaver) -> None:
    graph = talker(talked)
    before = state(talked)
    graph.invoke({"messages": [("user", "four")]}, thread(), durability="sync")
    talked.threads.undo("ada-1")
    assert state(talked) == before
    assert type(state(talked)["found"][2]) is set
    graph.invoke({"messages": [("user", "five")]}, thread())
    assert texts(talked)[-2:] == ["five", "answer 7"]
