"""The check that a checkpointer has the ledger of calls that tools need."""

from __future__ import annotations

from typing import Any

from langchain_core.tools import BaseTool
from langgraph.checkpoint.memory import InMemorySaver

from holdfast.checkpoints import HoldfastSaver
from holdfast.graph.own_database import NeedsOwnDatabase
from holdfast.graph.tools.once import is_declared_once


def check_ledger(saver: Any, *tools: BaseTool) -> None:
    """Refuse tools that are declared `once` over a checkpointer that outlives the process and has no ledger of calls.

    After the end of a process such a checkpointer would let a call run again. One in memory is gone by then.

    Raises:
        NeedsOwnDatabase: there is such a tool.
    """
    if saver is None or isinstance(saver, bool | InMemorySaver | HoldfastSaver):
        return
    if found := [tool.name for tool in tools if is_declared_once(tool)]:
        raise NeedsOwnDatabase(f"The tool {found[0]}, which is declared @once,", saver)
