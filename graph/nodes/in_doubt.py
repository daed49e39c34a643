"""The step of one call in doubt: ask a person whether it took effect, and put the verdict where the answer belongs.

Until then the call has an answer which says that it is in doubt, under the id that the verdict will have. If a new
message comes before a person has settled the call, that answer stays: the model reads that the outcome is unknown, and
the ledger goes on reporting the doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.runtime import running_saver
from holdfast.graph.messages import DoubtTask
from holdfast.graph.nodes.base import DOUBT, Step
from holdfast.graph.plans import Io
from holdfast.graph.tools.execute import effect_of
from holdfast.graph.tools.results import Ready, Update
from holdfast.graph.tools.settle import DoubtCase, MissingTool


def doubt_step(tools: Mapping[str, BaseTool], clock: Callable[[], datetime]) -> Runnable[DoubtTask, Update]:
    """Make the step that asks a person about a call in doubt, and carries out the verdict."""

    async def settle(io: Io, task: DoubtTask, config: RunnableConfig) -> Update:
        saver = running_saver(config)
        if not isinstance(saver, HoldfastSaver):
            raise TypeError("A call can be in doubt only where a Holdfast checkpointer keeps the ledger.")
        # A tool that the agent no longer has cannot run again, but every other verdict is possible.
        tool = tools.get(task["call"]["name"]) or MissingTool(name=task["call"]["name"], description="It is gone.")
        ready = Ready(tool, task["call"], task["approval"])
        effect = effect_of(ready, task["message_id"], config)
        now = clock().astimezone(UTC).isoformat(timespec="seconds")
        return await DoubtCase(ready, effect, saver, config, now).resolve(io)

    return Step(settle, name=DOUBT)
