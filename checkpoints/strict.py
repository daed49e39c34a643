"""LangGraph tells a checkpointer which types a graph's state names, but only in its strict mode: see to that.

The mode is a module attribute, set from `LANGGRAPH_STRICT_MSGPACK` when LangGraph is imported. Setting the variable
would come too late for who imports LangGraph first, and would make the stock serializers of the program strict as well.
The attribute alone makes `compile()` call `with_allowlist`, which on a stock saver that allows every type changes
nothing. It is set when a checkpointer is made, which comes before `compile()`, and not when Holdfast is imported: a
program that imports it and uses other checkpointers keeps LangGraph as it was. A test fails when LangGraph no longer
works this way.
"""

from __future__ import annotations

from holdfast.checkpoints.langgraph_internals import pass_state_types


def derive_types() -> None:
    """From now on, `compile(checkpointer=…)` passes the types of the graph's state to the checkpointer."""
    pass_state_types()
