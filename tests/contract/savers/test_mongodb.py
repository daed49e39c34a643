"""`mongodb://` without a server, since none can be installed beside the tests: what is opened, and what is said."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast import Conversation, build_graph, open_checkpointer
from holdfast.errors import DatabaseUnavailable
from holdfast.savers import copy_threads, open_saver
from tests.support.graph_kit import Desk, ScriptedModel, calls, says
from tests.support.stand_in import BlockingSaver


@pytest.mark.parametrize(
    ("path", "named"),
    [("chat?retryWrites=false", {"db_name": "chat"}), ("ada%20s", {"db_name": "ada s"}), ("?w=1", {}), ("", {})],
)
def test_the_url_is_the_clients_and_its_database_the_checkpointers(
    path: str, named: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    did: list[Any] = []

    class Client:
        def __init__(self, url: str) -> None:
            did.append(url)

        def close(self) -> None:
            did.append("closed")

    class MongoDBSaver(BlockingSaver):
        def __init__(self, client: Client, **options: str) -> None:
            super().__init__()
            did.append(options)

    monkeypatch.setitem(sys.modules, "pymongo", SimpleNamespace(MongoClient=Client))
    monkeypatch.setitem(sys.modules, "langgraph.checkpoint.mongodb", SimpleNamespace(MongoDBSaver=MongoDBSaver))
    url = f"mongodb://ada:s3cr3t@db.example:27017/{path}"
    with open_saver(url) as saver:
        assert isinstance(saver, MongoDBSaver)
        assert did == [url, named]
    assert did[-1] == "closed"


@pytest.mark.sweep
def test_a_server_that_does_not_answer_is_one_error_after_the_time_of_the_url_and_shows_no_secret() -> None:
    pytest.importorskip("langgraph.checkpoint.mongodb")
    options = "serverSelectionTimeoutMS=100&authMechanismProperties=AWS_SESSION_TOKEN:tok3n"
    with pytest.raises(
        DatabaseUnavailable, match=r"^mongodb://ada:\*\*\*@127\.0\.0\.1:1/chat\?.* cannot be opened: .*Timeout: 0\.1s"
    ) as raised:
        open_saver(f"mongodb://ada:s3%40cret@127.0.0.1:1/chat?{options}").__enter__()
    assert not any(secret in str(raised.value) for secret in ("s3@cret", "s3%40cret", "tok3n"))


@pytest.mark.sweep
def test_the_real_checkpointer_pauses_goes_on_and_is_copied_over_a_mock_of_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("langgraph.checkpoint.mongodb")
    mongomock = pytest.importorskip("mongomock")
    builder = mongomock.collection.BulkOperationBuilder
    add = builder.add_update

    def add_update(self: Any, *given: Any, sort: Any = None, **more: Any) -> Any:
        return add(self, *given, **more)  # the mock does not know `sort`, an option of newer drivers

    monkeypatch.setattr(builder, "add_update", add_update)
    monkeypatch.setattr("pymongo.MongoClient", mongomock.MongoClient)
    desk = Desk()
    model = ScriptedModel(lines=[calls(("refund", {"order_id": 1})), says("done")])
    with open_saver("mongodb://localhost/chat") as saver, open_checkpointer("memory://") as target:
        ada = Conversation(build_graph(model=model, tools=desk.tools(), checkpointer=saver), "ada-1", "ada")
        [asked] = ada.send("Refund order 1").pending
        assert [(copied.thread_id, copied.problem) for copied in copy_threads(saver, target)] == [("ada-1", None)]
        assert [waiting.interrupt_id for waiting in target.interrupts.waiting()] == [asked.interrupt_id]
        assert ada.answer({"type": "approve"}, asked.interrupt_id).text == "done"
    assert desk.refunded == [1]
