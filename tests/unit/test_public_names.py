"""The public names of `holdfast` and `holdfast.errors`."""

from __future__ import annotations

from typing import Any, Final, TypeGuard

import pytest

import holdfast
from holdfast import checkpoints, errors, graph
from holdfast.checkpoints.store import service

PUBLIC: Final = {
    "open_checkpointer",
    "HoldfastSaver",
    "RetentionPolicy",
    "RetentionRule",
    "open_store",
    "HoldfastStore",
    "build_graph",
    "Conversation",
    "Context",
    "State",
    "needs_approval",
    "once",
    "repeatable",
    "IdempotencyKey",
    "Pending",
    "Reply",
    "Token",
    "ToolCalled",
    "ToolAnswered",
    "Paused",
    "Done",
}


def test_the_package_exports_exactly_its_public_names() -> None:
    assert len(holdfast.__all__) == len(set(holdfast.__all__))
    assert set(holdfast.__all__) == PUBLIC
    assert set(holdfast.__all__) <= set(dir(holdfast))


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_name_is_that_of_the_package_which_defines_it(name: str) -> None:
    homes: dict[str, Any] = dict.fromkeys(
        ("HoldfastSaver", "RetentionPolicy", "RetentionRule", "open_checkpointer"), checkpoints
    )
    homes |= dict.fromkeys(("HoldfastStore", "open_store"), service)
    home = homes.get(name, graph)
    assert getattr(holdfast, name) is getattr(home, name)


@pytest.mark.parametrize("name", ["Hit", "unwrap_saver", "ThreadBusy"])
def test_no_other_name_can_be_had_from_the_package(name: str) -> None:
    with pytest.raises(ImportError, match=name):
        exec(f"from holdfast import {name}")  # noqa: S102 - as a program writes it


def test_the_checkpointer_exports_classes_and_what_opens_them() -> None:
    others = {name for name in checkpoints.__all__ if not isinstance(getattr(checkpoints, name), type)}
    assert others - {"Entry", "Keys", "Status", "Why"} == {
        "open_checkpointer",
        "open_database",
    }  # those are type aliases


def test_every_error_of_the_checkpointer_is_caught_by_a_class_of_holdfast_errors() -> None:
    exported = {getattr(errors, name) for name in errors.__all__} - {errors.HoldfastError}
    for value in vars(checkpoints.errors).values():
        if is_error(value) and value is not errors.HoldfastError:
            assert issubclass(value, errors.HoldfastError)
            assert exported & set(value.__mro__), value


def test_holdfast_errors_exports_the_errors_of_the_packages_and_no_other_name() -> None:
    exported = {name: value for name in graph.__all__ if is_error(value := getattr(graph, name))}
    exported |= {name: value for name, value in vars(checkpoints.errors).items() if is_error(value)}
    del exported["Unreachable"]  # callers catch `DatabaseUnavailable`
    assert {name: getattr(errors, name) for name in errors.__all__} == exported


def is_error(value: object) -> TypeGuard[type[BaseException]]:
    return isinstance(value, type) and issubclass(value, BaseException)
