"""Saves in the same thread begin in the order in which they were asked for."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from holdfast.checkpoints import open_checkpointer
from holdfast.checkpoints.core.queue import SaveQueues
from holdfast.checkpoints.serde.values import Detacher
from tests.support.kit import checkpoint, put, rows, thread


def test_each_save_begins_after_the_earlier_ones() -> None:
    queues, began = SaveQueues(), []
    may_begin, joined = Event(), Event()

    def first() -> None:
        with queues.join("ada") as ticket:
            joined.set()
            assert may_begin.wait(5)
            ticket.wait()
            began.append(0)
            ticket.release()
            time.sleep(0.02)  # from here on it runs beside the others
            began.append("ended")

    def later(number: int) -> None:
        with queues.join("ada") as ticket:
            ticket.wait()
            began.append(number)
            ticket.release()

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(first)]
        assert joined.wait(5)
        for number in (1, 2, 3):
            length = len(queues._queues["ada"])
            futures.append(pool.submit(later, number))
            while len(queues._queues["ada"]) == length:
                time.sleep(0.001)  # joining a queue sets no event
        assert began == []
        may_begin.set()
        for future in futures:
            future.result(5)
    assert began[:4] == [0, 1, 2, 3]
    assert queues._queues == {}


def test_a_save_that_fails_or_gives_up_holds_up_no_other() -> None:
    queues = SaveQueues()
    with pytest.raises(ValueError), queues.join("ada"):
        raise ValueError
    with queues.join("ada") as gone_before, queues.join("ada") as second:
        second.release()
        with queues.join("ada") as third, queues.join("bob") as other:
            other.wait()
            gone_before.release()
            third.wait()
    assert queues._queues == {}


def test_an_answer_does_not_overtake_what_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A save that takes long to encode still gets its rows before those that came later."""
    with open_checkpointer("memory://") as saver, ThreadPoolExecutor(2) as pool:
        config = put(saver, thread(), checkpoint([HumanMessage("Hello", id="h1")]))
        detach, encoding, may_go_on = Detacher.detach, Event(), Event()

        def slowly(self: Detacher, channel: str, value: object) -> object:
            if not encoding.is_set():
                encoding.set()
                assert may_go_on.wait(5)
            return detach(self, channel, value)

        monkeypatch.setattr(Detacher, "detach", slowly)
        asked = checkpoint([HumanMessage("Hello", id="h1"), HumanMessage("Well?", id="h2")])
        first = pool.submit(put, saver, config, asked)
        assert encoding.wait(5)
        second = pool.submit(saver.put_writes, config, [("messages", AIMessage("Yes.", id="a1"))], "task")
        while len(saver._database.queues._queues.get("ada-1", ())) < 2:
            time.sleep(0.001)  # joining a queue sets no event
        may_go_on.set()
        first.result(5)
        second.result(5)
        said = rows(saver, "SELECT message_id FROM holdfast_messages ORDER BY seq")
        assert said == [("h1",), ("h2",), ("a1",)]
