"""One turn of the agent: the model, its tools, and the people who decide about them."""

from graph.agent import build_graph
from graph.approval import BadAnswer, ToolApproval, approval_policy, needs_approval
from graph.state import State

__all__ = ["BadAnswer", "State", "ToolApproval", "approval_policy", "build_graph", "needs_approval"]
