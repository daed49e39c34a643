"""A thread without a message has its user and its metadata on record, until it is deleted."""

from __future__ import annotations

from holdfast.checkpoints import HoldfastSaver
from tests.support.kit import say


def test_a_thread_is_on_record_before_its_first_message(saver: HoldfastSaver) -> None:
    saver.threads.begin("ada-1", {"team": "red"}, owner="ada")
    saver.threads.begin("ada-1", {"team": "blue", "tags": ["new"]}, owner="bob")
    begun = saver.threads.begun("ada-1")
    assert begun is not None
    assert (begun.user_id, begun.metadata) == ("ada", {"team": "blue", "tags": ["new"]})
    assert saver.threads.owner("ada-1") == "ada"
    assert saver.threads.newest_begun(10) == [begun]
    assert saver.threads.list().threads == []
    say(saver, "Hello")
    assert saver.threads.newest_begun(10) == []
    assert saver.threads.get("ada-1").metadata == begun.metadata
    saver.delete_thread("ada-1")
    assert saver.threads.begun("ada-1") is None
