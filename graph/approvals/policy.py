"""The tools whose calls need an approval, declared beside the tool."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal, TypeAlias, get_args, overload

from langchain_core.tools import BaseTool

from holdfast.graph.approvals.decisions import DECISIONS, Decision

OnMessage: TypeAlias = Literal["keep", "close"]

_POLICY: Final = "needs_approval"
"""Key of a tool's metadata for its policy."""


@dataclass(frozen=True)
class ApprovalPolicy:
    """How the calls of a tool are approved."""

    decisions: tuple[Decision, ...] = DECISIONS
    """The decisions that a person may take."""
    description: str | None = None
    """The sentence that a person reads, with `{name}` for the argument of that name."""
    expires_in: float | None = None
    """For how many seconds a call waits; None: for ever."""
    on_message: OnMessage = "close"
    """What becomes of a call that waits when the user sends another message."""


@overload
def needs_approval(tool: BaseTool) -> BaseTool: ...
@overload
def needs_approval(
    *,
    decisions: Sequence[Decision] = ...,
    description: str | None = ...,
    expires_in: timedelta | None = ...,
    on_message: OnMessage = ...,
) -> Callable[[BaseTool], BaseTool]: ...
def needs_approval(
    tool: BaseTool | None = None,
    *,
    decisions: Sequence[Decision] = DECISIONS,
    description: str | None = None,
    expires_in: timedelta | None = None,
    on_message: OnMessage = "close",
) -> BaseTool | Callable[[BaseTool], BaseTool]:
    """Make every call of a tool wait for a person. Goes above `@tool`, and returns a copy of the tool.

        @needs_approval(decisions=("approve", "reject"), description="Refund order {order_id} in full")
        @tool
        def refund_order(order_id: int) -> str: ...

    Args:
        tool: the tool, if the decorator is used without arguments.
        decisions: the decisions that a person may take; all four by default.
        description: the sentence that a person reads. `{name}` stands for the argument of that name.
        expires_in: how long a call waits; for ever by default. When the time is over the call is closed as not run, and
            the model is told. This needs a `HoldfastSaver`; with another checkpointer no call expires.
        on_message: what becomes of a call that waits when the user sends another message. "close": it is not run, and
            the model is told. "keep": the model answers, told what waits, and the call can still be decided; when it
            is, the model is told what became of it. "keep" is for agents of `build_graph`.

    Raises:
        TypeError: the decorated object is not a tool.
        ValueError: `decisions` is empty or holds an unknown one, `expires_in` is not above zero, or `on_message` is
            neither "keep" nor "close".
    """
    if not decisions or (unknown := [decision for decision in decisions if decision not in DECISIONS]):
        found = ", ".join(unknown) if decisions else "no decision"
        raise ValueError(f"needs_approval: found {found}; a tool needs at least one of {', '.join(DECISIONS)}")
    if expires_in is not None and expires_in <= timedelta():
        raise ValueError(f"needs_approval: found expires_in={expires_in}; a person needs some time to decide")
    if on_message not in get_args(OnMessage):
        raise ValueError(f"needs_approval: found on_message={on_message!r}; needed is 'keep' or 'close'")
    # JSON types only: LangChain hands a tool's metadata to callbacks and tracers.
    policy: dict[str, Any] = {"decisions": list(dict.fromkeys(decisions)), "description": description}
    policy["on_message"] = on_message
    policy["expires_in"] = None if expires_in is None else expires_in.total_seconds()

    def declare(tool: BaseTool) -> BaseTool:
        if not isinstance(tool, BaseTool):
            raise TypeError(f"needs_approval goes above @tool: found {tool!r}, needed a LangChain tool")
        return tool.model_copy(update={"metadata": {**(tool.metadata or {}), _POLICY: policy}})

    return declare if tool is None else declare(tool)


def approval_policy(tool: BaseTool) -> ApprovalPolicy | None:
    """Return how the tool's calls are approved; None if they run without an approval."""
    declared = (tool.metadata or {}).get(_POLICY)
    return None if declared is None else ApprovalPolicy(**{**declared, "decisions": tuple(declared["decisions"])})


def keeps(tool: BaseTool | None) -> bool:
    """Return whether a call of the tool that waits stays open when the user sends another message."""
    policy = None if tool is None else approval_policy(tool)
    return policy is not None and policy.on_message == "keep"
