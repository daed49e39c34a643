"""Whatever is put comes back exactly, wherever in it the messages are."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.types import Overwrite, Send

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.sql import Statement
from tests.support.kit import checkpoint, put, rows, thread
from tests.support.shapes import ALLOWED, HARD_TEXTS, Parcel, exact, messages, patient, plain, sound_texts
from tests.support.sweep import example_count

# One database serves all examples of a test: each has a thread of its own.
examples = settings(
    patient,
    max_examples=example_count(20),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def saver(url: str) -> Iterator[HoldfastSaver]:
    with open_checkpointer(url, allow=ALLOWED) as saver:
        yield saver


said = st.lists(messages(), max_size=4)
_spoken = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]), "content": sound_texts}),
    st.fixed_dictionaries({"content": sound_texts, "type": st.just("human"), "id": st.just("m-1"), "mood": plain}),
    st.tuples(st.sampled_from(["user", "ai", "unknown"]), sound_texts),
    st.fixed_dictionaries({"type": st.just("text"), "content": plain}),
)
_mixed = st.lists(
    st.one_of(messages(), st.just("m-1").map(lambda id_: RemoveMessage(id=id_)), sound_texts, st.none(), _spoken),
    max_size=4,
)
_lists = st.one_of(said, said.map(tuple), _mixed, st.lists(_spoken, max_size=3))
places = st.one_of(
    _lists,
    messages(),
    st.fixed_dictionaries({"messages": _lists, "question": sound_texts, "rest": plain}),
    st.fixed_dictionaries(
        {"deep": st.fixed_dictionaries({"deeper": st.lists(st.tuples(said, messages()), max_size=2)})}
    ),
    st.lists(
        st.fixed_dictionaries({"messages": said, "tool_call": plain}).map(lambda arg: Send("tools", arg)),
        max_size=2,
    ),
    _lists.map(lambda arg: Send("tools", arg)),
    _lists.map(Overwrite),
    said.map(_DeltaSnapshot),
    st.fixed_dictionaries({"files": said}).map(_DeltaSnapshot),
    st.lists(_lists, max_size=3),
    _lists.map(lambda inside: Parcel(1.0, inside)),
    plain,
    st.sampled_from([None, b"\0", [], {}, "", 0, False, (), [[]], [None]]),
)


def kept(value: Any) -> Any:
    """`value` as every saver of LangGraph keeps it: tuples are lists, except inside of messages."""
    if isinstance(value, _DeltaSnapshot):
        return _DeltaSnapshot(kept(value.value))
    if isinstance(value, Overwrite):
        return Overwrite(kept(value.value))
    if isinstance(value, Parcel):
        return Parcel(value.weight, kept(value.inside))
    if isinstance(value, Send):
        return Send(value.node, kept(value.arg))
    if isinstance(value, (list, tuple)):
        return [kept(item) for item in value]
    return {key: kept(item) for key, item in value.items()} if isinstance(value, dict) else value


def expected(values: dict[str, Any]) -> dict[str, Any]:
    return {name: exact(kept(value)) for name, value in values.items()}


def found(saver: HoldfastSaver, config: Any) -> CheckpointTuple:
    found = saver.get_tuple(config)
    assert found is not None
    return found


def values_of(item: CheckpointTuple) -> dict[str, Any]:
    return {name: exact(value) for name, value in item.checkpoint["channel_values"].items()}


@examples
@given(values=st.fixed_dictionaries({"messages": _lists, "other": places, "__start__": places}))
def test_a_checkpoint_loads_as_it_was_put_wherever_its_messages_are(
    saver: HoldfastSaver, values: dict[str, Any]
) -> None:
    config, before = thread(uuid.uuid4().hex), expected(values)

    put_config = put(
        saver, config, checkpoint(values["messages"], other=values["other"], __start__=values["__start__"])
    )

    assert expected(values) == before, "putting must not change what is put"
    assert values_of(found(saver, config)) == before
    assert values_of(found(saver, put_config)) == before
    assert [values_of(item) for item in saver.list(config)] == [before]


@examples
@given(
    writes=st.lists(
        st.tuples(st.sampled_from(["messages", "other", "__pregel_tasks", "__interrupt__"]), places), max_size=4
    )
)
def test_the_writes_of_a_task_load_in_their_order(saver: HoldfastSaver, writes: list[tuple[str, Any]]) -> None:
    config = put(saver, thread(uuid.uuid4().hex), checkpoint([]))
    # Of LangGraph's own channels a task has one write each.
    writes = [
        write
        for place, write in enumerate(writes)
        if write[0] not in {name for name, _ in writes[:place] if name == "__interrupt__"}
    ]

    saver.put_writes(config, writes, "task-1")

    pending = found(saver, config).pending_writes or []
    assert {task for task, *_ in pending} <= {"task-1"}
    ordered = [write for write in writes if write[0] == "__interrupt__"] + [
        write for write in writes if write[0] != "__interrupt__"
    ]
    assert [(name, exact(value)) for _, name, value in pending] == [
        (name, exact(kept(value))) for name, value in ordered
    ]


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("value", [None, b"", b"\xff", bytearray(b"\0"), [], "", 0, False, [[]]], ids=repr)
def test_a_write_of_next_to_nothing_is_still_a_write(saver: HoldfastSaver, value: Any) -> None:
    config = put(saver, thread(), checkpoint([]))
    saver.put_writes(config, [("messages", value)], "task-1")
    assert exact(found(saver, config).pending_writes) == exact([("task-1", "messages", value)])


@examples
@given(first=said, more=said, others=places)
def test_a_conversation_that_is_put_again_and_again_comes_back_at_every_step(
    saver: HoldfastSaver, first: list[BaseMessage], more: list[BaseMessage], others: Any
) -> None:
    config = thread(uuid.uuid4().hex)
    steps = []

    def step(said: list[BaseMessage]) -> None:
        nonlocal config
        values = {"messages": said, "other": others}
        config = put(saver, config, checkpoint(said, other=others))
        steps.append((config, expected(values)))

    step(first)
    step([*first, *more])  # the same objects, and new ones
    loaded = found(saver, thread(config["configurable"]["thread_id"])).checkpoint["channel_values"]["messages"]
    step([*loaded, *copy.deepcopy(more)])  # what was loaded, and equal copies
    step(loaded[::-1])
    step(loaded[1:])
    saver._database.cache.forget(config["configurable"]["thread_id"])
    step([*loaded, *first])

    for saved, values in steps:
        assert values_of(found(saver, saved)) == values
    listed = [values_of(item) for item in saver.list(thread(config["configurable"]["thread_id"]))]
    assert listed == [values for _, values in reversed(steps)]


@examples
@given(said=said, text=sound_texts)
def test_ids_and_edits_that_are_made_in_place_leave_older_checkpoints_as_they_were(
    saver: HoldfastSaver, said: list[BaseMessage], text: str
) -> None:
    config = thread(uuid.uuid4().hex)
    steps = []

    def step() -> None:
        nonlocal config
        config = put(saver, config, checkpoint(said))
        steps.append((config, expected({"messages": said})))

    step()
    for message in said:  # as `add_messages` does it
        message.id = message.id or str(uuid.uuid4())
    step()
    for message in said:
        message.content = text
    step()
    for message in said:
        message.additional_kwargs["seen"] = {"by": [1]}
    step()
    for message in said:
        message.additional_kwargs["seen"]["by"].append(True)
    step()
    for message in said:
        message.id = None
    step()

    for saved, values in steps:
        assert values_of(found(saver, saved)) == values


@pytest.mark.sweep(every=4)
@pytest.mark.parametrize("text", HARD_TEXTS, ids=ascii)
def test_hard_texts_come_back_from_every_field_that_has_a_column(saver: HoldfastSaver, text: str) -> None:
    message = AIMessage("")
    message.content, message.name = text, text
    blocks = AIMessage("")
    blocks.content = [text, {"type": "text", "text": text}]
    config = put(saver, thread(), checkpoint([message, blocks]))
    assert values_of(found(saver, config)) == expected({"messages": [message, blocks]})


def test_equal_messages_are_one_row_wherever_they_are(saver: HoldfastSaver) -> None:
    message = HumanMessage("hello " * 50, id="m-1")
    twins = [message, message.model_copy(deep=True)]
    values = {"one": message, "many": twins, "sent": [Send("n", {"messages": twins})], "over": Overwrite(twins)}
    config = put(saver, thread(), checkpoint(twins, **values))
    saver.put_writes(config, [("messages", twins), ("one", Parcel(1.0, message))], "task-1")

    assert rows(saver, "SELECT count(*) FROM holdfast_messages") == [(1,)]
    assert values_of(found(saver, config)) == expected({"messages": twins, **values})
    restored = found(saver, config).checkpoint["channel_values"]["messages"]
    assert restored[0] is not restored[1]


def test_the_same_words_twice_in_a_list_are_two_rows_also_before_they_have_ids(saver: HoldfastSaver) -> None:
    said = [HumanMessage("yes"), AIMessage("ok"), HumanMessage("yes")]
    config = put(saver, thread(), checkpoint([], __start__={"messages": said}))
    before = expected({"messages": [], "__start__": {"messages": said}})
    assert rows(saver, "SELECT count(*) FROM holdfast_messages") == [(3,)]
    for number, message in enumerate(said):
        message.id = f"m-{number}"
    put(saver, config, checkpoint(said))

    assert rows(saver, "SELECT seq, message_id, content FROM holdfast_messages ORDER BY seq") == [
        (1, "m-0", "yes"),
        (2, "m-1", "ok"),
        (3, "m-2", "yes"),
    ]
    assert values_of(found(saver, config)) == before


def test_instructions_to_remove_are_kept_and_are_no_rows(saver: HoldfastSaver) -> None:
    said = [RemoveMessage(id="m-1"), HumanMessage("x", id="m-2"), RemoveMessage(id="__remove_all__")]
    config = put(saver, thread(), checkpoint([]))
    saver.put_writes(config, [("messages", said), ("messages", said[0])], "task-1")

    assert rows(saver, "SELECT role FROM holdfast_messages") == [("human",)]
    assert [exact(value) for *_, value in found(saver, config).pending_writes or []] == [exact(said), exact(said[0])]


def test_a_large_statement_whose_rows_are_asked_for_is_sent_to_its_end(saver: HoldfastSaver) -> None:
    """With psycopg alone both sides wait for ever, most times."""
    statement = Statement("test", "SELECT length(:text) AS length")
    for _ in range(10):
        with saver._backend.writing() as transaction:
            [[(length,)]] = transaction.run([(statement, {"text": "x" * 5_000_000})])
        assert length == 5_000_000
