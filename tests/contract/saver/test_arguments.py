"""An argument of a wrong type is told, by name, before anything is done: it is compared with nothing."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.effects.states import Effect, Entry, InDoubt, Started
from holdfast.checkpoints.transcript import Bounds
from holdfast.graph import Conversation
from tests.support.kit import echo_graph, thread
from tests.support.public_methods import PARTS, classes, methods_of, needed, outcome

TEXTS = (1j, True, b"ada", ["ada"], {"ada": 1}, object())

WRONG: dict[str, tuple[Any, ...]] = {
    "str": (*TEXTS, None),
    "str | None": TEXTS,
    "int": ("5", 2.5, True, None, [5]),
    "float": ("5", None, [5]),
    "bool": ("yes", 1, None),
    "Sequence[str]": ("ada", 7, None, [7], {"ada"}),
    "Sequence[str | None] | None": ("ada", 7, [7]),
    "Sequence[Any]": ("ada", 7, None),
    "Sequence[MessageLike]": ("Hello", 7, None),
    "Sequence[Moment | None] | None": ("2026-11-01", 7),
    "Moment": (object(), [1], timedelta(1), True, "soon", None),
    "Moment | None": (object(), [1], timedelta(1), True, "soon"),
    "Mapping[str, Any]": ("{}", 7, None, [("a", 1)]),
    "Mapping[str, Any] | None": ("{}", 7, [("a", 1)]),
    "dict[str, Any]": ("{}", 7, None, [("a", 1)]),
    "Status | None": (7, "dead", ["idle"]),
    "Verdict": (7, None, ["skip"]),
    "Why": (7, None),
    "OnMessage | None": (7, "hold", ["keep"]),
    "UserMessage": (7, None, {"role": "user"}),
    "Answered": ("id", None),
    "Answered | Waiting": ("id", None),
    "Effect": ("key", None),
    "Started": ("key", None),
    "InDoubt": ("key", None),
    "Bounds": ((0, 1), None),
    "Event | None": (1, "soon"),
    "Progress | None": (7, "bar"),
}
"""Values that are wrong for an annotation. A new annotation fails the test until it is decided about."""

TAKES_ALL = {"Any"}


@pytest.fixture(scope="module")
def unopened() -> HoldfastSaver:
    return open_checkpointer("memory://")


@pytest.fixture(scope="module")
def parts(unopened: HoldfastSaver) -> Iterator[dict[str, Any]]:
    """One object of each class: but for the transcript they are of a database that was never opened."""
    with open_checkpointer("memory://") as opened:
        graph = echo_graph(opened)
        graph.invoke({"messages": [("user", "Hello")]}, thread())
        yield {
            "Conversation": Conversation(echo_graph(unopened), "ada-1"),
            "Effects": unopened.effects,
            "Interrupts": unopened.interrupts,
            "Search": unopened.search,
            "Threads": unopened.threads,
            "Transcript": opened.transcript("ada-1"),
        }


EFFECT = Effect("ada-1", "key", "pay", b"", "", "1")
NOW = datetime.now(UTC)
ENTRY = Entry("ada-1", "key", "ada-1", "pay", "", "in_doubt", 1, "me", NOW, True, "owner", None, NOW)

RIGHT: dict[str, Any] = {
    "str": "ada",
    "int": 1,
    "float": 1.0,
    "bool": False,
    "dict[str, Any]": {},
    "Mapping[str, Any]": {},
    "Sequence[MessageLike]": [],
    "Moment": 0,
    "Effect": EFFECT,
    "Started": Started("ada-1", "key", 1, "me", "ada-1"),
    "InDoubt": InDoubt(ENTRY, "owner"),
    "Bounds": Bounds(),
    "Why": "owner",
    "Verdict": "skip",
    "UserMessage": "Hello",
}
"""A value that is right, for an argument that has to be given beside the wrong one."""


@pytest.mark.parametrize("part", PARTS)
def test_every_argument_of_a_wrong_type_is_told_by_its_name(
    part: str, parts: dict[str, Any], unopened: HoldfastSaver
) -> None:
    for name, signature in methods_of(classes()[part]).items():
        if inspect.iscoroutinefunction(getattr(classes()[part], name)):
            continue  # a twin, which calls its method
        given = {parameter.name: RIGHT.get(str(parameter.annotation)) for parameter in needed(signature)}
        for parameter in list(signature.parameters.values())[1:]:
            annotation = str(parameter.annotation)
            if annotation in TAKES_ALL:
                continue
            for value in WRONG[annotation]:
                arguments, named = [], {**given, parameter.name: value}
                if parameter.kind is parameter.VAR_POSITIONAL:
                    arguments, named = [*given.values(), value], {}
                with pytest.raises((TypeError, ValueError), match=rf"{parameter.name}\b.*Needed: "):
                    getattr(parts[part], name)(*arguments, **named)
    assert unopened._executor is None, "nothing was asked of the database"


@pytest.mark.parametrize("part", [part for part in PARTS if part != "Transcript"])
async def test_the_twins_tell_it_as_well(part: str) -> None:
    async with open_checkpointer("memory://") as saver:
        of = {"Conversation": lambda: Conversation(echo_graph(saver), "ada-1")}
        whole = of[part]() if part in of else getattr(saver, part.lower())
        methods = methods_of(classes()[part])
        twins = [name for name in methods if name[0] == "a" and name[1:] in methods]
        assert twins
        for name in twins:
            for parameter in needed(methods[name])[:1]:
                if str(parameter.annotation) not in TAKES_ALL:
                    with pytest.raises((TypeError, ValueError), match=parameter.name):
                        await outcome(getattr(whole, name), **{parameter.name: WRONG[str(parameter.annotation)][0]})


@pytest.mark.parametrize("id_", [7, uuid.UUID(int=7)], ids=["int", "uuid"])
def test_an_id_may_be_an_integer_or_a_uuid_and_is_its_text(saver: HoldfastSaver, id_: Any) -> None:
    Conversation(echo_graph(saver), id_, id_).send("Hello")
    assert [found.thread_id for found in saver.threads.list(user_id=id_).threads] == [str(id_)]
    assert saver.threads.rename(id_, "Mine", user_id=id_).user_id == str(id_)
    assert saver.threads.copy(id_, uuid.UUID(int=8)).thread_id == str(uuid.UUID(int=8))  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"url": 7}, {"pool_size": "10"}, {"strict": "yes"}, {"allow": "Parcel"}], ids=str)
def test_an_argument_of_open_checkpointer_is_told(wrong: dict[str, Any]) -> None:
    [name] = wrong
    with pytest.raises(TypeError, match=rf"{name} is a .*\. Needed: "):
        open_checkpointer(**wrong)


def test_a_number_of_results_that_cannot_be_is_told(saver: HoldfastSaver) -> None:
    asked: list[Any] = [
        saver.interrupts.waiting,
        saver.interrupts.todo,
        saver.interrupts.expire,
        saver.effects.in_doubt,
        saver.heads,
        saver.threads.list,
        lambda limit: saver.search.find("hello", limit=limit),
    ]
    for ask in asked:
        for limit in (0, -1):
            with pytest.raises(ValueError, match=rf"limit.* {limit}"):
                ask(limit=limit)
