"""The server over the database of another checkpointer: what it finds, and what it says that is missing."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import empty_checkpoint

from holdfast import build_graph, settings
from holdfast.checkpoints import urls
from holdfast.checkpoints.errors import InvalidURL
from holdfast.savers import open_saver
from holdfast.server import run
from holdfast.server.langgraph import registry
from holdfast.server.langgraph.agent import ServedAgent, check_thread
from holdfast.server.store import NoStore
from tests.support.graph_kit import ScriptedModel, says
from tests.support.stand_in import SHOWN, URL, stand_in

THREAD = str(uuid.uuid4())


async def test_a_thread_is_found_by_its_id_and_run_without_a_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch)
    checked: list[Any] = []
    with open_saver(URL) as saver:
        assert registry._heads(saver, THREAD) == []
        config: Any = {"configurable": {"thread_id": THREAD, "checkpoint_ns": ""}}
        saved = saver.put(config, empty_checkpoint(), {}, {})["configurable"]["checkpoint_id"]
        assert [(head.thread_id, head.checkpoint_id) for head in registry._heads(saver, THREAD)] == [(THREAD, saved)]
        config["configurable"]["__pregel_checkpointer"] = saver
        await check_thread(config, lambda *given: checked.append(given))
        assert checked == [(saver, THREAD)]
        model = ScriptedModel(lines=[says("Noted.")])
        agent = ServedAgent.of(build_graph(model=model, tools=[], checkpointer=saver))
        config = {"configurable": {"thread_id": str(uuid.uuid4())}}
        assert (await agent.ainvoke({"messages": [HumanMessage("One.")]}, config))["messages"][-1].text == "Noted."


def test_the_server_says_in_one_line_what_is_missing_and_the_way_out() -> None:
    lines = [*run._introduction(settings.load(database=URL, model="offline"), {"agent": ""}, "off")]
    [missing] = [line for line in lines if "not there" in line]
    assert "a ledger of tool calls, long-term memory" in missing
    assert f"holdfast db copy {SHOWN} sqlite:///chat.db" in missing
    assert "s3cr3t" not in "".join(lines)


async def test_long_term_memory_is_refused_and_not_kept_in_the_process() -> None:
    location = urls.parse_any(URL)
    assert isinstance(location, urls.OtherURL)
    with pytest.raises(InvalidURL, match=r"has no long-term memory\. Needed: SQLite or PostgreSQL") as raised:
        await NoStore(location).aput(("ada",), "name", {"is": "Ada"})
    assert "s3cr3t" not in str(raised.value)
