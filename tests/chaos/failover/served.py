"""The agent that the servers serve while their database fails over."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from holdfast.checkpoints import HoldfastSaver
from tests.chaos.journal import Place
from tests.chaos.talks.scene import agent_on

_FOLDER = "CHAOS_FOLDER"


def environment(place: Place) -> dict[str, str]:
    """Return the environment of a server that serves a place."""
    return {"HOLDFAST_DATABASE": place.url, _FOLDER: str(place.folder)}


def agent(checkpointer: HoldfastSaver) -> Any:
    """Return the agent of the place that the environment names, for `holdfast serve --router --agent`."""
    return agent_on(checkpointer, Place(os.environ["HOLDFAST_DATABASE"], Path(os.environ[_FOLDER]), seed=0))
