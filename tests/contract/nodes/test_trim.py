"""The step that shortens a thread: when its model fails, when there is much to do, and when no summary is wanted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.graph import Context, Conversation, build_graph
from holdfast.graph.context import tokens
from tests.support.long_talk import SMALL, Listener, filled, say, summary, talk_of, texts


@pytest.fixture
def saver() -> Iterator[HoldfastSaver]:
    with open_checkpointer("memory://") as saver:
        yield saver


@pytest.fixture
def model() -> Listener:
    return Listener()


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_when_no_summary_can_be_made_the_model_sees_the_newest_and_the_next_turn_tries_again(
    saver: HoldfastSaver, model: Listener, caplog: pytest.LogCaptureFixture, asynchronous: bool
) -> None:
    def fail(number: int) -> str:
        if number % 2:
            raise ConnectionError(f"the endpoint refuses {filled(0)}")
        return " "

    model.noting = fail
    talk = talk_of(saver, model)
    for number in range(8):
        assert say(talk, filled(number), asynchronous=asynchronous).text.startswith("answer to message")
        assert tokens([m for m in model.seen[-1] if m.type != "system"]) <= SMALL.budget
    assert len(talk.context()) == 16
    assert summary(saver) is None
    assert len(model.notes) == len(caplog.records) > 2
    assert "(ConnectionError)" in caplog.text
    assert "(the model said nothing)" in caplog.text
    assert "message" not in caplog.text.replace("older messages", "")

    failed = len(model.notes)
    model.noting = lambda _: "better late"
    say(talk, "now", asynchronous=asynchronous)
    assert tokens(talk.context()) <= SMALL.budget
    assert summary(saver).text == "better late"
    assert all("".join(model.notes[failed:]).count(filled(number).strip()) >= 1 for number in range(6))


@pytest.mark.sweep
def test_a_thread_does_not_grow_for_ever_while_no_summary_can_be_made(saver: HoldfastSaver, model: Listener) -> None:
    model.noting = lambda _: ""
    talk, largest = talk_of(saver, model), 0
    for number in range(40):
        say(talk, filled(number))
        largest = max(largest, tokens(talk.context()))
    assert 2 * SMALL.most < largest < 4 * SMALL.most
    assert summary(saver) is None


@pytest.mark.sweep
def test_on_an_event_loop_the_same_leaves_and_the_same_is_noted(saver: HoldfastSaver) -> None:
    def told(thread_id: str, *, asynchronous: bool) -> tuple[list[str], list[str]]:
        model = Listener()
        talk = Conversation(build_graph(model=model, tools=[], checkpointer=saver, context=SMALL), thread_id)
        for number in range(10):
            say(talk, filled(number), asynchronous=asynchronous)
        return texts(talk.context()), model.notes

    assert told("ada-1", asynchronous=False) == told("ada-2", asynchronous=True)


@pytest.mark.sweep
def test_a_thread_that_grew_without_a_limit_catches_up_over_some_turns(saver: HoldfastSaver, model: Listener) -> None:
    talk = talk_of(saver, model, Context("off"))
    for number in range(30):
        talk.send(filled(number))
    assert len(model.seen[-1]) == 59, "off: the model sees everything"
    assert model.notes == []

    def fail_at_the_second(number: int) -> str:
        if number == 2:
            raise ConnectionError
        return f"notes {number}"

    model.noting = fail_at_the_second
    talk = talk_of(saver, model)
    counts = []
    for _ in range(3):
        talk.send("go on")
        counts.append(len(model.notes))
    assert counts == [2, 6, 9], "what was noted before the failure counts, and four times a turn is the most"
    assert tokens(talk.context()) <= SMALL.budget
    assert all("".join(model.notes).count(filled(number).strip()) >= 1 for number in range(28))


@pytest.mark.sweep
def test_trimmed_messages_leave_without_a_summary_and_one_that_is_there_stays(
    saver: HoldfastSaver, model: Listener
) -> None:
    talk = talk_of(saver, model)
    for number in range(5):
        talk.send(filled(number))
    noted = len(model.notes)
    notes = summary(saver)
    assert noted == 1
    talk = talk_of(saver, model, Context("trim", budget=200, limit=300))
    for number in range(5, 20):
        talk.send(filled(number))
        assert tokens(talk.context()) <= 360
        assert model.seen[-1][0].text.endswith(notes.text)
        assert tokens([m for m in model.seen[-1] if m.type != "system"]) <= 200
    assert len(model.notes) == noted
    assert summary(saver) == notes
    talk_of(saver, model, Context("off")).send("And now?")
    assert model.seen[-1][0].text.endswith(notes.text)
    assert model.seen[-1][1:-1] == talk.context()[1:-2]
