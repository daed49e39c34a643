"""The types that a graph names are found at any depth, and no others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from subprocess import Popen
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, TypeVar

import pytest
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph
from pydantic import BaseModel
from typing_extensions import TypeAliasType, TypedDict

from holdfast.checkpoints.serde.types.schemas import types_in, types_of_graph

if TYPE_CHECKING:
    from decimal import Decimal


class Color(Enum):
    RED = 1


class Point(NamedTuple):
    color: Color


@dataclass
class Tree:
    children: Mapping[str, Tree]
    points: Sequence[Point]


class Crate:
    """As attrs makes it."""

    __attrs_attrs__ = ()
    tree: Tree


class Order(BaseModel):
    number: int = 1


class Row(TypedDict):
    order: NotRequired[Order]


@dataclass
class Hidden:
    price: Decimal
    order: Order


A = TypeVar("A")
B = TypeVar("B", bound=Order)


class Box(BaseModel, Generic[A]):
    value: A


@dataclass
class Pair(Generic[A]):
    left: A


Named = TypeAliasType("Named", "list[Order]")

WALKED: dict[str, tuple[Any, set[type]]] = {
    "an enum": (Color, {Color}),
    "a member of an enum": (Literal[Color.RED, "red"], {Color}),
    "a named tuple in a list": (list[Point], {Point, Color}),
    "a dataclass that names itself": (Tree | None, {Tree, Point, Color}),
    "an attrs class": (Crate, {Crate, Tree, Point, Color}),
    "a typed dict": (Row, {Order}),
    "a typed dict in an abstract container": (Mapping[str, Sequence[Row]], {Order}),
    "a generic model": (Box[Order], {Box, Box[Order], Order}),
    "a generic dataclass": (Pair[Color], {Pair, Color}),
    "a type variable": (list[B], {Order}),
    "an annotated type": (Annotated[Order, Tree], {Order}),
    "a new type": (NewType("Number", Order), {Order}),
    "a callable": (Callable[[Order], Color], {Order, Color}),
    "a name that exists only for a type checker": (Hidden, {Hidden, Order}),
    "a class that is not data": (Popen[str] | type[Order] | int, {Order}),
    "what names nothing": (Any, set()),
}


@pytest.mark.parametrize("case", WALKED)
def test_types_are_found_in(case: str) -> None:
    annotation, expected = WALKED[case]
    assert types_in([annotation]) == expected


def test_an_alias_with_a_name_of_its_own_is_followed() -> None:
    alias = TypeAliasType("alias", list[Order])  # type: ignore[misc]  # made at run time
    assert types_in([alias]) == {Order}


def test_a_graph_names_the_types_of_its_state_and_of_the_inputs_of_its_nodes() -> None:
    class State(TypedDict):
        row: Row

    class Asked(TypedDict):
        color: Color

    State.__annotations__["row"], Asked.__annotations__["color"] = Row, Color

    def node(state: Any) -> dict[str, Any]:
        return {}

    graph = StateGraph(State).add_node("node", node, input_schema=Asked).add_edge(START, "node").compile()
    assert types_of_graph(graph) == {Order, Color}


def test_a_workflow_names_the_types_of_what_it_returns_and_saves() -> None:
    @entrypoint()
    def workflow(given: dict[str, Any]) -> Order:
        return Order()

    assert Order in types_of_graph(workflow)


def test_what_is_no_graph_names_nothing() -> None:
    assert types_of_graph(lambda config: None) == set()
