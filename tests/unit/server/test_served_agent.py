"""The agent as LangGraph's server runs it."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from langchain_core.messages import HumanMessage

from holdfast import build_graph, open_checkpointer
from holdfast.server.langgraph.agent import ServedAgent
from tests.support.graph_kit import ScriptedModel, says


async def test_a_message_whose_run_was_stopped_before_its_first_step_goes_with_the_next_one() -> None:
    async with open_checkpointer("memory://") as saver:
        model = ScriptedModel(lines=[says("Noted.")])
        agent = ServedAgent.of(build_graph(model=model, tools=[], checkpointer=saver))
        config: Any = {"configurable": {"thread_id": "ada-1"}}
        first, second = ({"messages": [HumanMessage(text)]} for text in ("One.", "Two."))
        async with aclosing(agent.astream(first, config, stream_mode="checkpoints")) as steps:
            await anext(steps)  # the input is saved, and no step has read it
        async for _ in agent.astream(second, config):
            pass
        state = await agent.aget_state(config)
        assert [message.text for message in state.values["messages"]] == ["One.", "Two.", "Noted."]
