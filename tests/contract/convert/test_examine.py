"""An examination of a thread tells damage from values that are loaded as what they consist of."""

from __future__ import annotations

from langchain_core.messages import HumanMessage

from holdfast.checkpoints import convert, open_checkpointer
from tests.support.kit import change, checkpoint, put, thread
from tests.support.shapes import Parcel


def test_a_type_that_is_not_rebuilt_is_named_with_the_reason_and_is_no_damage(url: str) -> None:
    with open_checkpointer(url) as saver:
        put(saver, thread(), checkpoint([HumanMessage("a", id="1")], parcel=Parcel(1.0)))
        assert convert.examine_thread(saver.database, "ada-1") == convert.Examined(None, {})
    with open_checkpointer(url, strict=True) as saver:
        examined = convert.examine_thread(saver.database, "ada-1")
        assert examined.damage is None
        assert list(examined.not_rebuilt) == ["tests.support.shapes:Parcel"]
        assert "strict" in examined.not_rebuilt["tests.support.shapes:Parcel"]


def test_a_thread_with_a_damaged_row_has_damage(url: str) -> None:
    with open_checkpointer(url) as saver:
        put(saver, thread(), checkpoint([HumanMessage("a", id="1")]))
        change(saver, "UPDATE holdfast_messages SET content = 'b'")
        assert "row 1 is not what was saved" in str(convert.examine_thread(saver.database, "ada-1").damage)
