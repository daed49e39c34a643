"""Values at the edge of what can be stored: kept exactly, or refused before anything is saved."""

from __future__ import annotations

import dataclasses
import enum
import os
import warnings
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from pydantic import BaseModel, ConfigDict, PrivateAttr

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.errors import DatabaseUnavailable, NotStorable
from tests.support.kit import change, checkpoint, put, thread
from tests.support.shapes import Parcel, exact


class Mood(enum.Enum):
    GLAD = 1


class Box(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    inside: Any = None


@dataclasses.dataclass
class Counted:
    text: str
    length: int = dataclasses.field(init=False, default=0)


class Outer:
    class Nested(HumanMessage):
        pass


class Blank(HumanMessage):
    _later: int = PrivateAttr()


def through(saver: HoldfastSaver, value: Any) -> Any:
    config = put(saver, thread(), checkpoint([], other=value))
    found = saver.get_tuple(config)
    assert found is not None
    return found.checkpoint["channel_values"]["other"]


def refused_or_kept(saver: HoldfastSaver, value: Any) -> None:
    """Nothing may be saved that cannot be loaded."""
    try:
        config = put(saver, thread(), checkpoint([], other=value))
    except NotStorable:
        return
    assert saver.get_tuple(config) is not None


@pytest.mark.parametrize("value", [{(1, 2)}, frozenset({("a", 1)}), {frozenset({1})}], ids=repr)
def test_a_set_of_tuples_can_be_loaded_again(saver: HoldfastSaver, value: Any) -> None:
    assert through(saver, value) is not None


@pytest.mark.parametrize("value", [{Mood.GLAD}, deque([Parcel(1.0)]), frozenset({Mood.GLAD})], ids=repr)
def test_a_type_that_the_program_has_comes_back_inside_of_a_set_or_deque(saver: HoldfastSaver, value: Any) -> None:
    assert through(saver, value) == value


def test_a_type_that_the_program_has_comes_back_inside_of_a_model(saver: HoldfastSaver) -> None:
    assert through(saver, Box(inside=Mood.GLAD)) == Box(inside=Mood.GLAD)


def test_a_dataclass_with_a_field_that_init_does_not_take_can_be_loaded_again(saver: HoldfastSaver) -> None:
    saver.with_allowlist([Counted])
    refused_or_kept(saver, Counted("x"))


def test_a_message_class_inside_of_a_class_can_be_loaded_again(saver: HoldfastSaver) -> None:
    refused_or_kept(saver, [Outer.Nested("x")])


def test_a_local_message_class_can_be_loaded_again(saver: HoldfastSaver) -> None:
    class Local(HumanMessage):
        pass

    refused_or_kept(saver, [Local("x")])


@pytest.mark.parametrize("value", ["\ud800", ["\ud800"], {"a": "\ud800"}, {"\ud800": 1}], ids=ascii)
def test_lone_surrogates_in_a_state_are_kept_or_refused_by_name(saver: HoldfastSaver, value: Any) -> None:
    kept = False
    with suppress(NotStorable):
        kept = through(saver, value) == value
        assert kept
    assert kept or isinstance(value, dict), "only a key may be refused"


@pytest.mark.parametrize("value", [{"\ud800"}, deque(["\ud800"]), Box(inside="\ud800")], ids=ascii)
def test_lone_surrogates_are_not_silently_replaced(saver: HoldfastSaver, value: Any) -> None:
    saver.with_allowlist([Box])
    assert through(saver, value) == value


@pytest.mark.parametrize("id_", ["a\0b", "\ud800"], ids=ascii)
def test_an_id_that_no_database_can_hold_is_refused_by_name(saver: HoldfastSaver, id_: str) -> None:
    message = HumanMessage("x")
    message.id = id_
    with pytest.raises(NotStorable, match="message id"):
        through(saver, [message])


@pytest.mark.parametrize(
    "value",
    [
        {"role": "tool", "content": "no call id"},
        {"role": "assistant", "content": "x", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
        {"role": "assistant", "content": "x", "tool_calls": [{"function": {"name": "f"}}]},
    ],
    ids=repr,
)
def test_a_dict_that_only_looks_like_a_message_is_kept_as_it_is(saver: HoldfastSaver, value: Any) -> None:
    assert through(saver, [value]) == [value]


@pytest.mark.parametrize(
    "inner",
    [AIMessage("deep", additional_kwargs={"t": (1,)}), Blank("x"), Outer.Nested("x")],
    ids=lambda m: type(m).__name__,
)
def test_a_message_inside_of_an_artifact_comes_back_exactly(saver: HoldfastSaver, inner: Any) -> None:
    message = ToolMessage("done", tool_call_id="1", artifact=[inner])
    assert exact(through(saver, [message])) == exact([message])


def test_a_private_attribute_that_was_never_set_can_be_set_after_a_load(saver: HoldfastSaver) -> None:
    message = Blank("x")
    assert through(saver, [message])[0] == message


def test_a_tuple_inside_of_a_model_in_an_artifact_stays_a_tuple(saver: HoldfastSaver) -> None:
    saver.with_allowlist([Box])
    message = ToolMessage("done", tool_call_id="1", artifact=Box(inside=(1, 2)))
    assert exact(through(saver, [message])) == exact([message])


def test_a_number_that_is_none_in_the_metadata_is_kept_as_text(saver: HoldfastSaver) -> None:
    config = put(saver, thread(), checkpoint([]), score=float("nan"), scores={"a": [float("-inf"), 1.5]})
    found = saver.get_tuple(config)
    assert found is not None
    metadata: Any = found.metadata
    assert (metadata["score"], metadata["scores"]) == ("nan", {"a": ["-inf", 1.5]})


def test_an_id_that_a_database_cannot_hold_is_an_error_of_ours(postgres_url: str) -> None:
    with open_checkpointer(postgres_url) as saver:
        with pytest.raises(NotStorable, match="cannot hold a value"):
            put(saver, thread(), checkpoint([HumanMessage("secret words")], id="a\0b"))
        assert saver.get_tuple(thread()) is None


def test_a_statement_that_the_server_refuses_is_an_error_of_ours(postgres_url: str) -> None:
    with open_checkpointer(postgres_url) as saver:
        put(saver, thread(), checkpoint([HumanMessage("hello")]))
        change(saver, "ALTER TABLE holdfast_threads RENAME TO elsewhere")
        with pytest.raises(DatabaseUnavailable, match=r"refused a statement: .*Nothing of this step was saved"):
            put(saver, thread(), checkpoint([HumanMessage("again")]))


def in_a_forked_child(act: Callable[[], object]) -> str:
    """Return the error of `act` in a child process that was forked, as servers with workers do it."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads is what is tested
        child = os.fork()
    if not child:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - it is told to the parent
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as told:
        return told.read()


def test_a_forked_child_is_told_to_open_its_own(saver: HoldfastSaver) -> None:
    put(saver, thread(), checkpoint([HumanMessage("hello")]))
    for act in (lambda: saver.get_tuple(thread()), lambda: put(saver, thread(), checkpoint([]))):
        assert "NotOpen: This checkpointer was opened by process" in in_a_forked_child(act)
    assert saver.get_tuple(thread()) is not None


def test_a_file_that_may_not_be_written_is_refused_before_anything_is_made_beside_it(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_checkpointer(sqlite_url):
        pass
    before = set(tmp_path.iterdir())
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everything
    with pytest.raises(DatabaseUnavailable, match="the file is read-only"), open_checkpointer(sqlite_url):
        pass
    assert set(tmp_path.iterdir()) == before


def test_versions_of_any_form_come_back_as_they_were(saver: HoldfastSaver) -> None:
    ours = [saver.get_next_version(None, None)]
    ours.append(saver.get_next_version(ours[0], None))
    number = "0" * 14 + "9" * 18
    stock = ["00000000000000000000000000000002.0.4567", f"{2:032}.0123456789ABC", f"{2:032}.01234567890g", "7", ""]
    extreme = [f"{number}.ffffffffffff", "9" * 32 + ".000000000000", f"{0:032}.000000000000"]
    versions = {f"channel {place}": version for place, version in enumerate([*ours, *stock, *extreme])}
    saved = checkpoint([HumanMessage("hello")])
    saved["channel_versions"] |= versions
    saved["versions_seen"] = {"node": dict(versions), "other": {}}
    found = saver.get_tuple(put(saver, thread(), saved))
    assert found is not None
    assert found.checkpoint["channel_versions"] == saved["channel_versions"]
    assert found.checkpoint["versions_seen"] == saved["versions_seen"]
