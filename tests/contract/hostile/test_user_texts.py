"""What users give, ids, filters, words to search for, metadata, names, is never a part of a statement."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.types import Command, interrupt

from holdfast import Conversation, HoldfastSaver, build_graph
from holdfast.errors import HoldfastError
from tests.support.dialects import dialect_of
from tests.support.graph_kit import ScriptedModel, calls, says
from tests.support.kit import one_node, thread

MARK = "mark'\"`;--/*{said}:mark %s ?1 $1"


def test_no_text_of_a_user_becomes_sql(saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[str] = []
    note_statements(saver, monkeypatch, statements)

    def ask(state: Any) -> dict[str, Any]:
        return {"messages": [AIMessage(MARK + str(interrupt({MARK: MARK})), name=MARK, id=MARK)]}

    graph = one_node(saver, ask)
    config: Any = {**thread(MARK, user_id=MARK), "metadata": {MARK: MARK}}
    graph.invoke({"messages": [HumanMessage(MARK, id=f"{MARK} 1", name=MARK)]}, config)
    [pause] = saver.interrupts.waiting(thread_id=MARK, user_id=MARK)
    saver.interrupts.answer(MARK, pause.interrupt_id, {"type": MARK}, by=MARK)
    graph.invoke(Command(resume={pause.interrupt_id: {"type": MARK}}), config)
    model = ScriptedModel(lines=[calls((MARK, {MARK: MARK})), says(MARK)])
    talk = Conversation(build_graph(model=model, checkpointer=saver), f"{MARK} 2", MARK, metadata={MARK: MARK})
    talk.send(MARK)

    for ask_for in _questions(saver):
        with suppress(HoldfastError, ValueError):
            ask_for()

    assert len(statements) > 50
    assert [text for text in statements if "mark" in text.lower().replace("marked", "").replace("marker", "")] == []
    assert len(saver.threads.list(user_id=MARK).threads) == 1, "the others are deleted, and all tables are there"


def note_statements(saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch, statements: list[str]) -> None:
    """Note the text of each statement that the checkpointer runs."""
    with saver._backend.reading() as transaction:
        transactions = type(transaction)
    name = "_execute" if dialect_of(saver) == "postgres" else "run"
    run = getattr(transactions, name)

    def noted(self: Any, calls: Any) -> Any:
        statements.extend(statement.text for statement, _ in calls)
        return run(self, calls)

    monkeypatch.setattr(transactions, name, noted)


def _questions(saver: HoldfastSaver) -> list[Callable[[], object]]:
    threads = saver.threads
    return [
        lambda: saver.get_tuple(thread(MARK, checkpoint_ns=MARK, checkpoint_id=MARK)),
        lambda: list(saver.list(thread(MARK), filter={MARK: MARK, "user_id": MARK}, before=thread(MARK))),
        lambda: list(saver.list(None, filter={MARK: [MARK]})),
        lambda: threads.list(user_id=MARK, text=MARK, metadata={MARK: MARK}),
        lambda: threads.list(cursor=MARK),
        lambda: threads.list(status=MARK),  # type: ignore[arg-type]
        lambda: threads.rename(MARK, MARK, user_id=MARK),
        lambda: threads.share(MARK, MARK, user_id=MARK),
        lambda: threads.fork(MARK, MARK, user_id=MARK),
        lambda: threads.copy(MARK, f"{MARK} 3", user_id=MARK),
        lambda: threads.salvage(MARK, ns=MARK),
        lambda: threads.undo(MARK, user_id=MARK, by=MARK),
        lambda: threads.restart(MARK, user_id=MARK, by=MARK),
        lambda: saver.search.find(MARK, user_id=MARK, thread_id=MARK),
        lambda: list(saver.transcript(MARK, user_id=MARK).since("2020-01-01")),
        lambda: saver.effects.entry(MARK, MARK),
        lambda: saver.redact(MARK, message=MARK, reason=MARK, by=MARK),
        lambda: saver.delete_for_runs([MARK]),
        lambda: saver.prune([MARK]),
        lambda: threads.delete(MARK, user_id=MARK),
        lambda: threads.delete(f"{MARK} 3", user_id=MARK),
    ]
