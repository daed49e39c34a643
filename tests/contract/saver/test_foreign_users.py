"""Another user's id opens nothing: every public method of every part is called with one, as the classes list them."""

from __future__ import annotations

import inspect
from itertools import chain
from typing import Any, Final

import pytest
from langgraph.types import interrupt

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import InvalidSearch, ThreadNotEmpty, UnknownThread
from holdfast.graph import Conversation
from tests.support.kit import echo_graph, one_node, rows, thread
from tests.support.public_methods import classes, method_of_twin, methods_of, needed, outcome

FOREIGN: Final = "mallory"

WITHOUT_USER: dict[str, dict[str, str]] = {
    "Effects": {
        "begin": "a run, whose thread was checked when it began",
        "is_saved": "a run",
        "outcome": "a run",
        "finish": "a run",
        "doubt": "a run",
        "doubt_if_open": "a run",
        "release": "a run",
        "look": "a run",
        "run_again": "a run, for a person whose answer is on record",
        "settle": "a run, for a person whose answer is on record",
        "entry": "a run, and operators",
        "in_doubt": "operators: it is about all threads",
        "close": "the checkpointer",
    },
    "Interrupts": {
        "answer": "who decides need not be who owns: the application says who may",
        "settle": "a run that was given an answer",
        "recorded": "who decides",
        "was_asked": "who decides",
        "answered": "who decides",
        "is_dropped": "who decides",
        "todo": "workers: it is about all threads",
        "look_ahead": "workers",
        "expire": "workers",
        "reopen": "operators",
        "hold": "a conversation, whose thread was checked, and a run",
        "held": "a run, and workers",
        "move": "a run that carries an answer out",
        "check_resume": "a run that was given an answer",
        "answer_all": "a server, which has checked the caller",
        "is_recorded": "a run: it compares what it is given, and reads nothing",
    },
    "Search": {},
    "Threads": {
        "owner": "code that looks up whose a thread is, such as a server",
        "begin": "a server, which has checked the caller",
        "begun": "a server, which shows it to who may see the thread",
        "newest_begun": "a server: it is about all threads",
        "running": "a server",
        "prompt": "an agent, before its run",
        "unindexed": "operators: it is about all threads",
        "index": "operators",
    },
    "Transcript": {
        "plain": "a transcript was opened for a user",
        "last": "a transcript was opened for a user",
        "since": "a transcript was opened for a user",
        "until": "a transcript was opened for a user",
        "within": "a transcript was opened for a user",
    },
}
"""The methods that take no `user_id`, and whom they are for. A new method needs a `user_id`, or a line here."""

ARGUMENTS: Final[dict[str, Any]] = {
    "thread_id": "ada-1",
    "title": "Mine",
    "text": "tides",
    "messages": [("user", "Mine")],
    "new_members": ("bob",),
    "old_members": ("grace",),
}

TABLES = ("checkpoints", "holdfast_threads", "holdfast_messages", "holdfast_interrupts", "holdfast_leases")


def asked_thread(saver: HoldfastSaver) -> None:
    """A thread of Ada's, shared with Grace, in which something was said and a request waits."""
    echo_graph(saver).invoke({"messages": [("user", "The tides are late.")]}, thread(user_id="ada"))

    def ask(_: Any) -> dict[str, Any]:
        return {"messages": interrupt("May I?")}

    one_node(saver, ask).invoke({"messages": [("user", "Ask me.")]}, thread(user_id="ada"))
    saver.threads.share("ada-1", "grace")
    saver.search.refresh()


def everything(saver: HoldfastSaver) -> list[list[Any]]:
    return [sorted(rows(saver, f"SELECT * FROM {table}"), key=repr) for table in (*TABLES, "holdfast_members")]


@pytest.mark.parametrize("part", WITHOUT_USER)
def test_every_method_takes_a_user_or_is_known_to_need_none(part: str) -> None:
    methods = methods_of(classes()[part])
    without = {
        method_of_twin(name, methods) for name, signature in methods.items() if "user_id" not in signature.parameters
    }
    assert without == WITHOUT_USER[part].keys()


@pytest.mark.sweep(every=2)
@pytest.mark.sweep(on="postgres")
@pytest.mark.parametrize("user", [FOREIGN, ""], ids=["another", "empty"])
async def test_a_thread_is_unknown_to_every_method_that_is_given_another_user(user: str, saver: HoldfastSaver) -> None:
    asked_thread(saver)
    before = everything(saver)
    parts = {"Interrupts": saver.interrupts, "Search": saver.search, "Threads": saver.threads}
    called = set()
    for part, whole in parts.items():
        for name, signature in methods_of(classes()[part]).items():
            if "user_id" not in signature.parameters or name in {"add", "aadd"}:
                continue
            called.add(name)
            own = [parameter.name for parameter in needed(signature) if parameter.name != "user_id"]
            several = [p.name for p in signature.parameters.values() if p.kind is p.VAR_POSITIONAL]
            values = [*(ARGUMENTS[name] for name in own), *chain.from_iterable(ARGUMENTS[name] for name in several)]
            asked = outcome(getattr(whole, name), *values, user_id=user)
            if "thread_id" in own:
                with pytest.raises(UnknownThread):
                    await asked
            else:
                found = await asked
                assert not getattr(found, "threads", found), name
            assert everything(saver) == before, f"{name} has written something"
    assert {"get", "awaiting", "afind", "share"} <= called
    assert saver.search.find("tides", user_id="ada")
    assert saver.interrupts.waiting(user_id="grace"), "a member"
    with pytest.raises(ThreadNotEmpty):  # it makes a thread, of the user that is named
        saver.threads.add("ada-1", [("user", "The tides are late.")], user_id=user)
    with pytest.raises(InvalidSearch):
        saver.search.find("tides", thread_id="ada-1", user_id=user)
    for ask in (saver.transcript, saver.atranscript):
        with pytest.raises(UnknownThread):
            await outcome(ask, "ada-1", user_id=user)


def test_a_conversation_has_its_user_and_no_method_takes_another() -> None:
    assert "user_id" in inspect.signature(Conversation).parameters
    for name, signature in methods_of(Conversation).items():
        assert "user_id" not in signature.parameters, name
