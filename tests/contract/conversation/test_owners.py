"""A conversation with a user is that user's: another user finds no such thread, whichever method is called."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.errors import UnknownThread
from holdfast.graph import Conversation, build_graph
from holdfast.graph.shop import shop_tools
from tests.support.graph_kit import ScriptedModel
from tests.support.kit import echo_graph, rows, thread
from tests.support.stock_kit import in_stock

METHODS = sorted(name for name, _ in inspect.getmembers(Conversation, inspect.isfunction) if not name.startswith("_"))
"""Every public method. A new one that needs an argument which is not below fails the test until it is added."""

ARGUMENTS: dict[str, Any] = {
    "args": {"order_id": 1002},
    "message": "Hello",
    "verdict": "skip",
    "answer": {"type": "approve"},
}

ASKED = "My name is Ada. Please refund order 1001."


def talk(saver: Any, user_id: str | None, tmp_path: Path, **more: Any) -> Conversation:
    return Conversation(
        build_graph(tools=shop_tools(tmp_path / "shop.db"), checkpointer=saver, **more), "ada-1", user_id
    )


async def call(conversation: Conversation, name: str) -> Any:
    """Call a method with the arguments that it needs, and take all that it returns or yields."""
    method = getattr(conversation, name)
    needed = [
        parameter.name
        for parameter in inspect.signature(method).parameters.values()
        if parameter.default is parameter.empty
    ]
    found = method(**{parameter: ARGUMENTS[parameter] for parameter in needed})
    if inspect.isawaitable(found):
        return await found
    if isinstance(found, AsyncIterator):
        return [event async for event in found]
    return list(found) if isinstance(found, Iterator) else found


def everything(saver: HoldfastSaver) -> list[list[tuple[Any, ...]]]:
    tables = ["checkpoints", "holdfast_threads", "holdfast_messages", "holdfast_interrupts", "holdfast_leases"]
    return [sorted(rows(saver, f"SELECT * FROM {table}"), key=repr) for table in tables]


@pytest.mark.sweep(on="postgres")
@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("owner", ["ada", None])
async def test_a_thread_that_is_not_the_users_is_unknown_to_every_method(
    owner: str | None, saver: HoldfastSaver, tmp_path: Path
) -> None:
    talk(saver, owner, tmp_path).send(ASKED)
    before = everything(saver)
    model = ScriptedModel(lines=[])
    for name in METHODS:
        for stranger in ("mallory", ""):
            with pytest.raises(UnknownThread):
                await call(talk(saver, stranger, tmp_path, model=model), name)
            assert everything(saver) == before, f"{name} has written something, or stood in line for the lease"
    assert model.seen == []


def test_without_a_user_the_application_vouches_for_the_thread(saver: HoldfastSaver, tmp_path: Path) -> None:
    talk(saver, "ada", tmp_path).send(ASKED)
    unnamed = talk(saver, None, tmp_path)
    assert len(unnamed.pending()) == 1
    assert "refunded" in unnamed.approve().text
    assert saver.threads.owner("ada-1") == "ada"


@pytest.mark.parametrize("name", ["send", "stream", "asend", "astream"])
async def test_a_thread_that_does_not_exist_is_begun_by_its_first_user(
    name: str, saver: HoldfastSaver, tmp_path: Path
) -> None:
    ada = talk(saver, "ada", tmp_path)
    assert (ada.history(), ada.pending()) == ([], [])
    await call(ada, name)
    assert saver.threads.owner("ada-1") == "ada"
    assert next(message.text for message in ada.history()) == "Hello"


def test_of_two_users_who_begin_a_thread_at_once_one_gets_it(
    saver: HoldfastSaver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, mallory = (talk(saver, user, tmp_path) for user in ("ada", "mallory"))
    lease = saver.lease

    def lose_the_race(*args: Any, **kwargs: Any) -> Any:
        # Mallory has looked, and the thread did not exist; now it does.
        monkeypatch.setattr(saver, "lease", lease)
        ada.send("I am first.")
        return lease(*args, **kwargs)

    monkeypatch.setattr(saver, "lease", lose_the_race)
    with pytest.raises(UnknownThread, match="mallory"):
        mallory.send("So am I.")
    assert [message.text for message in ada.history() if message.type == "human"] == ["I am first."]


def test_of_many_users_who_begin_a_thread_at_once_one_gets_it(saver: HoldfastSaver, tmp_path: Path) -> None:
    # Built before: LangChain silences warnings while it reads a tool, which is not safe for threads.
    talks = [talk(saver, f"user {number}", tmp_path) for number in range(4)]

    def begin(user: Conversation) -> bool:
        try:
            user.send("Hello")
        except UnknownThread:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        begun = list(pool.map(begin, talks))
    assert sum(begun) == 1
    assert saver.threads.owner("ada-1") == f"user {begun.index(True)}"


def test_a_deleted_thread_may_be_begun_by_another_user(saver: HoldfastSaver, tmp_path: Path) -> None:
    ada, grace = (talk(saver, user, tmp_path) for user in ("ada", "grace"))
    ada.send("Hello")
    ada.delete()
    grace.send("Hello")
    with pytest.raises(UnknownThread):
        ada.history()
    assert len(grace.history()) == 2


def test_a_thread_of_a_stock_saver_belongs_to_the_user_that_its_checkpoints_name(url: str, tmp_path: Path) -> None:
    in_stock(url, lambda stock: echo_graph(stock).invoke({"messages": ["Hello"]}, thread(user_id="ada")))
    with open_checkpointer(url) as saver:
        with pytest.raises(UnknownThread):
            talk(saver, "mallory", tmp_path).send("Hello")
        assert rows(saver, "SELECT * FROM holdfast_threads") == []
        ada = talk(saver, "ada", tmp_path)
        assert len(ada.history()) == 2
        ada.send("Hello again")
        assert len(ada.history()) == 4
        assert len(list(ada.transcript())) > 0


def test_a_thread_of_a_stock_saver_that_names_no_user_is_the_applications_until_a_run_names_one(
    url: str, tmp_path: Path
) -> None:
    in_stock(url, lambda stock: echo_graph(stock).invoke({"messages": ["Hello"]}, thread()))
    with open_checkpointer(url) as saver:
        ada = talk(saver, "ada", tmp_path)
        with pytest.raises(UnknownThread):
            ada.history()
        assert len(talk(saver, None, tmp_path).send("Hello again").messages) == 1
        with pytest.raises(UnknownThread):
            ada.history()
        echo_graph(saver).invoke({"messages": ["This is Ada's."]}, thread(user_id="ada"))
        assert len(ada.history()) == 6
        with pytest.raises(UnknownThread):
            talk(saver, "mallory", tmp_path).history()


async def test_over_another_checkpointer_the_newest_checkpoint_says_whose_a_thread_is(tmp_path: Path) -> None:
    stock = InMemorySaver()
    ada, mallory = (talk(stock, user, tmp_path) for user in ("ada", "mallory"))
    ada.send("Hello")
    await ada.asend("Hello again")
    for name in ("send", "asend", "history", "ahistory", "pending", "astream_retry"):
        with pytest.raises(UnknownThread):
            await call(mallory, name)
    assert len(ada.history()) == 4
