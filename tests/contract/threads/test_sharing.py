"""A thread that is shared is also its members': in lists, searches, transcripts and the inbox."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.backends import migrations
from holdfast.checkpoints.errors import InvalidSearch, NotPermitted, UnknownThread
from holdfast.checkpoints.search import service
from tests.support.kit import change, echo_graph, rows, thread
from tests.support.transfer_kit import move


def say(saver: HoldfastSaver, text: str, user_id: str | None, thread_id: str = "ada-1") -> None:
    user = {} if user_id is None else {"user_id": user_id}
    echo_graph(saver).invoke({"messages": [("user", text)]}, thread(thread_id, **user))


def ask(saver: HoldfastSaver, user_id: str, thread_id: str = "ada-1") -> None:
    builder = StateGraph(dict)
    builder.add_node("ask", lambda _: {"answer": interrupt("Refund?")})
    builder.add_edge(START, "ask")
    builder.compile(checkpointer=saver).invoke({}, thread(thread_id, user_id=user_id))


def listed(saver: HoldfastSaver, user_id: str, **asked: Any) -> list[str]:
    return [found.thread_id for found in saver.threads.list(user_id=user_id, **asked).threads]


def test_a_member_finds_and_reads_a_thread_that_is_shared_and_a_stranger_does_not(saver: HoldfastSaver) -> None:
    say(saver, "The tides are late.", "ada")
    assert saver.threads.share("ada-1", "grace", "bob", user_id="ada") == ["grace", "bob"]
    assert sorted(saver.threads.members("ada-1", user_id="grace")) == ["bob", "grace"]
    say(saver, "The kelp holds fast.", "grace")
    ask(saver, "grace")
    for user in ("ada", "grace", "bob"):
        assert listed(saver, user) == listed(saver, user, status="paused", text="TIDES") == ["ada-1"]
        assert [found.thread_id for found in saver.threads.all(user_id=user)] == ["ada-1"]
        assert saver.threads.get("ada-1", user_id=user).user_id == "ada"
        found = saver.search.find("kelp", user_id=user)
        assert {(hit.thread_id, hit.user_id, hit.said_by) for hit in found} == {("ada-1", "ada", "grace")}
        assert saver.search.find("tides", user_id=user, thread_id="ada-1")
        assert [request.user_id for request in saver.interrupts.waiting(user_id=user)] == ["ada"]
    spoken = [
        (entry.user_id, entry.text)
        for entry in saver.transcript("ada-1", user_id="bob")
        if entry.kind == "message" and entry.role == "human"
    ]
    assert spoken == [("ada", "The tides are late."), ("grace", "The kelp holds fast.")]
    assert listed(saver, "mallory") == saver.interrupts.waiting(user_id="mallory") == []
    assert saver.search.find("kelp", user_id="mallory") == []
    for refused in (saver.transcript, saver.threads.get, saver.threads.members, saver.threads.rename):
        with pytest.raises(UnknownThread):
            refused("ada-1", *(["Mine"] if refused == saver.threads.rename else []), user_id="mallory")  # type: ignore[operator]
    with pytest.raises(InvalidSearch):
        saver.search.find("kelp", user_id="mallory", thread_id="ada-1")


def test_own_and_shared_threads_are_one_list_in_the_order_of_their_writing(saver: HoldfastSaver) -> None:
    for number in range(6):
        say(saver, "Hello", ("ada", "grace")[number % 2], f"t{number}")
        if number % 2 == 0:
            saver.threads.share(f"t{number}", "grace")
    page = saver.threads.list(user_id="grace", limit=4)
    assert [found.thread_id for found in page.threads] == ["t5", "t4", "t3", "t2"]
    assert listed(saver, "grace", limit=4, cursor=page.cursor) == ["t1", "t0"]
    assert listed(saver, "ada") == ["t4", "t2", "t0"]


def test_a_user_with_many_shared_threads_is_searched_for_all_the_same(
    saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        say(saver, "The tides are late.", "ada", f"t{number}")
        saver.threads.share(f"t{number}", "grace")
    say(saver, "The tides are late.", "ada", "private")
    for most in (service._MOST_SHARED, 1):
        monkeypatch.setattr(service, "_MOST_SHARED", most)
        assert {hit.thread_id for hit in saver.search.find("tides", user_id="grace")} == {"t0", "t1", "t2"}
    assert saver.search.refresh(user_id="grace") == 0


def test_a_member_may_leave_and_only_the_threads_user_shares_and_deletes_it(saver: HoldfastSaver) -> None:
    threads = saver.threads
    say(saver, "Hello", "ada")
    threads.share("ada-1", "grace", "bob", user_id="ada")
    for forbidden in (
        lambda: threads.share("ada-1", "mallory", user_id="grace"),
        lambda: threads.unshare("ada-1", "bob", user_id="grace"),
        lambda: threads.delete("ada-1", user_id="grace"),
    ):
        with pytest.raises(NotPermitted, match="only its own user may"):
            forbidden()
    assert threads.rename("ada-1", "Ours", user_id="grace").title == "Ours"
    assert threads.unshare("ada-1", "grace", user_id="grace") == ["bob"]
    assert listed(saver, "grace") == []
    with pytest.raises(UnknownThread):
        threads.unshare("ada-1", "bob", user_id="grace")
    assert threads.unshare("ada-1", "bob", "nobody") == threads.members("ada-1") == []
    events = [(entry.event, entry.by, entry.data) for entry in saver.transcript("ada-1") if entry.kind == "event"]
    assert events == [
        ("share", "ada", {"members": ["grace", "bob"]}),
        ("unshare", "grace", {"members": ["grace"]}),
        ("unshare", None, {"members": ["bob"]}),
    ]


def test_sharing_is_idempotent_and_leaves_the_own_user_out(saver: HoldfastSaver) -> None:
    say(saver, "Hello", "ada")
    for _ in range(2):
        assert saver.threads.share("ada-1", "grace", "ada", "grace") == ["grace"]
    assert len([entry for entry in saver.transcript("ada-1") if entry.kind == "event"]) == 1


def test_what_cannot_be_shared_is_refused(saver: HoldfastSaver) -> None:
    say(saver, "Hello", None)
    with pytest.raises(ValueError, match="has no user"):
        saver.threads.share("ada-1", "grace")
    with pytest.raises(UnknownThread):
        saver.threads.share("nowhere", "grace")
    for wrong in ((), ("",), ("grace", "")):
        with pytest.raises(ValueError, match="Needed: the ids of one user or several"):
            saver.threads.share("ada-1", *wrong)


def test_members_are_those_of_this_thread_and_not_of_a_later_one_under_its_id(saver: HoldfastSaver) -> None:
    say(saver, "Hello", "ada")
    saver.threads.share("ada-1", "grace")
    saver.threads.delete("ada-1", user_id="ada")
    assert rows(saver, "SELECT * FROM holdfast_members") == []
    say(saver, "Mine", "ada")
    assert listed(saver, "grace") == []


def test_members_that_older_code_has_left_behind_mean_nothing_for_another_users_thread(saver: HoldfastSaver) -> None:
    say(saver, "Hello", "ada")
    saver.threads.share("ada-1", "grace")
    kept = rows(saver, "SELECT added_at FROM holdfast_members")
    saver.threads.delete("ada-1")
    change(saver, "INSERT INTO holdfast_members VALUES ('ada-1', 'grace', 'ada', :at)", at=kept[0][0])
    say(saver, "Private", "bob")
    assert listed(saver, "grace") == saver.search.find("private", user_id="grace") == []
    assert saver.threads.members("ada-1") == []
    with pytest.raises(UnknownThread):
        saver.transcript("ada-1", user_id="grace")
    assert saver.threads.share("ada-1", "grace", user_id="bob") == ["grace"]
    assert listed(saver, "grace") == ["ada-1"]


def test_a_copy_and_a_fork_have_the_same_members(saver: HoldfastSaver) -> None:
    say(saver, "Hello", "ada")
    saver.threads.share("ada-1", "grace", "bob")
    for made in (saver.threads.copy, saver.threads.fork):
        new = made("ada-1", user_id="grace").thread_id  # type: ignore[operator]
        assert sorted(saver.threads.members(new, user_id="bob")) == ["bob", "grace"]


def test_a_transfer_takes_the_members_along(saver: HoldfastSaver) -> None:
    say(saver, "Hello", "ada")
    saver.threads.share("ada-1", "grace")
    with open_checkpointer("memory://") as target:
        move(saver, target)
        assert target.threads.members("ada-1") == ["grace"]
        assert listed(target, "grace") == ["ada-1"]


def test_a_thread_may_be_shared_before_its_user_begins_it(saver: HoldfastSaver) -> None:
    with pytest.raises(UnknownThread):
        saver.threads.share("ada-1", "grace", user_id="ada")
    assert saver.threads.share("ada-1", "grace", user_id="ada", not_begun=True) == ["grace"]
    assert listed(saver, "grace") == []
    say(saver, "Hello", "ada")
    assert listed(saver, "grace") == ["ada-1"]
    assert [entry.kind for entry in saver.transcript("ada-1", user_id="grace")] == ["message", "message"]


def test_code_before_members_keeps_opening_the_database(bare_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_checkpointer(bare_url) as saver:
        say(saver, "Hello", "ada")
        saver.threads.share("ada-1", "grace")
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "KNOWN_VERSION", 8)
        with open_checkpointer(bare_url) as saver:
            say(saver, "Still here", "ada")
    with open_checkpointer(bare_url) as saver:
        assert listed(saver, "grace") == ["ada-1"]
        assert saver.threads.get("ada-1").messages == 4
