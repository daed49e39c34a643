"""Several answers of one run are recorded together, or none of them."""

from __future__ import annotations

import pytest

from holdfast.checkpoints import HoldfastSaver
from holdfast.errors import AlreadyAnswered, InvalidAnswer
from tests.support.desk import APPROVE, REJECT, Desk


def test_if_one_of_several_answers_is_late_none_is_recorded(saver: HoldfastSaver) -> None:
    desk = Desk(saver, 1, 2)
    first, second = desk.ids()
    with pytest.raises(InvalidAnswer):
        saver.interrupts.answer_all("ada-1", {first: APPROVE, second: {"type": "maybe"}})
    saver.interrupts.answer("ada-1", second, REJECT, by="Grace")
    with pytest.raises(AlreadyAnswered, match="Grace"):
        saver.interrupts.answer_all("ada-1", {first: APPROVE, second: APPROVE})
    assert [found.interrupt_id for found in saver.interrupts.todo()] == [second]


def test_several_answers_are_recorded_at_once(saver: HoldfastSaver) -> None:
    desk = Desk(saver, 1, 2)
    saver.interrupts.answer_all("ada-1", dict.fromkeys(desk.ids(), APPROVE))
    desk.ada.retry()
    assert sorted(desk.refunded) == [1, 2]
