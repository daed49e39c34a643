"""The agent that the servers serve: that of the talks, with a model that thinks for a moment, and may fail once."""

from __future__ import annotations

import os
import time
from pathlib import Path
from random import Random

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from pydantic import PrivateAttr

from holdfast.checkpoints import HoldfastSaver
from holdfast.graph import build_graph
from holdfast.graph.conversation.agents import AnyAgent
from tests.chaos.journal import Place
from tests.chaos.talks.scene import Clerk, tools

STUMBLES = "stumble"
"""The word in a message at which the model fails, the first time."""

_THINKS = 0.25
"""Seconds that the model takes at the most, so that kills find it at work."""


class Thinking(Clerk):
    """Calls the tools that a message names, after a while."""

    _place: Place = PrivateAttr()
    _random: Random = PrivateAttr(default_factory=Random)

    @classmethod
    def at(cls, place: Place) -> Thinking:
        """Return one that notes in the journal of a place where it has failed."""
        found = cls()
        found._place = place
        return found

    def line(self, messages: list[BaseMessage]) -> AIMessage:
        time.sleep(self._random.uniform(0, _THINKS))  # it thinks
        last = messages[-1]
        if isinstance(last, HumanMessage) and STUMBLES in last.text and not self._has_failed(last.text):
            self._place.journal.write(stumbled=last.text)
            raise RuntimeError("the model stumbled")
        return super().line(messages)

    def _has_failed(self, text: str) -> bool:
        return any(line.get("stumbled") == text for line in self._place.journal.read())


def environment(place: Place) -> dict[str, str]:
    """Return the settings of a server of this agent."""
    return {
        "HOLDFAST_DATABASE": place.url,
        "CHAOS_FOLDER": str(place.folder),
        "CHAOS_SEED": str(place.seed),
    }


def agent(checkpointer: HoldfastSaver | None = None) -> AnyAgent:
    """Make the agent, for `holdfast serve --agent`."""
    place = Place(os.environ["HOLDFAST_DATABASE"], Path(os.environ["CHAOS_FOLDER"]), int(os.environ["CHAOS_SEED"]))
    return build_graph(model=Thinking.at(place), tools=tools(place, lambda _: None), checkpointer=checkpointer)
