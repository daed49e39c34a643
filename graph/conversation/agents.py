"""The agents that a conversation can be with: those of `build_graph`, and any other compiled graph with messages.

What differs between them is in `AgentProfile`, and nowhere else.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import add_messages
from langgraph.pregel import Pregel
from langgraph.types import StateSnapshot

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import row_explained
from holdfast.checkpoints.langgraph_internals import BRANCH_TO, RESERVED
from holdfast.graph.approvals.ask import AnswerForms
from holdfast.graph.approvals.policy import OnMessage, keeps
from holdfast.graph.conversation.requests import Pending, is_about_call
from holdfast.graph.nodes.base import MODEL, TOOL
from holdfast.graph.nodes.tool import ToolStep
from holdfast.graph.plans import Io

AnyAgent: TypeAlias = Pregel[Any, Any, Any, Any]
"""A compiled graph, such as `build_graph`, `create_agent` and `StateGraph.compile` return."""

MESSAGES: Final = "messages"

_log = logging.getLogger(__name__)

# The classes of checkpointers about which a notice was logged.
_noticed: set[type] = set()


class AgentProfile:
    """The facts about an agent that a conversation goes by.

    Args:
        agent: a compiled graph, whose state has a list of messages.
        messages_key: the name of that list; by default "messages", or else the only one that `add_messages` merges.

    Raises:
        TypeError: it is not a compiled graph.
        ValueError: its state has no list of messages.
    """

    def __init__(self, agent: Any, messages_key: str | None = None) -> None:
        if not isinstance(agent, Pregel):
            compiled = " Compile it first: .compile(checkpointer=…)." if hasattr(agent, "compile") else ""
            raise TypeError(f"A conversation needs a compiled graph; found {type(agent).__name__}.{compiled}")
        self.agent: AnyAgent = agent
        self.messages_key = _messages_key(agent, messages_key)
        step = agent.nodes[TOOL].bound if TOOL in agent.nodes else None
        self.forms: AnswerForms | None = step.forms if isinstance(step, ToolStep) else None
        """The tools of an agent of `build_graph`; `None` for any other, whose tools are not known."""

    async def state(self, io: Io, config: RunnableConfig) -> StateSnapshot:
        """Return the present state of a thread.

        Raises:
            DamagedThread: LangGraph cannot make a state of what is stored.
        """
        with row_explained(config["configurable"]["thread_id"], "its state"):
            return await io.either(self.agent.get_state, self.agent.aget_state, config)

    @property
    def name(self) -> str:
        """The name of the agent, by which a worker finds the runs that it can carry out."""
        return self.agent.get_name()

    @property
    def lease_purpose(self) -> str:
        """The purpose of the leases of its turns. If a process dies in one, it tells a worker whose turn that was."""
        return f"a turn of {self.name}"

    @property
    def merges_by_id(self) -> bool:
        """Whether the messages are merged by `add_messages`, so that a message can take the place of another."""
        return getattr(self.agent.channels[self.messages_key], "operator", None) is add_messages

    @property
    def closes_calls(self) -> bool:
        """Whether the agent itself closes the calls that a new message leaves without an answer."""
        return self.forms is not None

    @property
    def may_keep(self) -> bool:
        """Whether a tool of the agent says that its calls stay open when the user sends another message."""
        return self.forms is not None and any(map(keeps, self.forms.tools.values()))

    def keeps(self, request: Pending, pending: OnMessage | None = None) -> bool:
        """Return whether a request stays open when the user sends another message.

        Args:
            request: the request.
            pending: what the caller says about this message; by default the tool's declaration counts.
        """
        if self.forms is None or request.kind != "approval":
            return False
        return keeps(self.forms.tools.get(request.name)) if pending is None else pending == "keep"

    @property
    def records_answers(self) -> bool:
        """Whether the agent itself checks and records the answers that a run is given. LangGraph saves any for good."""
        return self.forms is not None

    @property
    def has_breakpoints(self) -> bool:
        """Whether the graph stops before or after some of its nodes, without a request."""
        return bool(self.agent.interrupt_before_nodes or self.agent.interrupt_after_nodes)

    def finds_answer(self, value: Any) -> bool:
        """Return whether the agent finds the recorded answer to a request itself, and need not be given it.

        Args:
            value: the value of the interrupt.
        """
        return self.forms is not None and is_about_call(value)

    def is_tool_node(self, node: str) -> bool:
        """Return whether a node runs tools. What a model says in there is not said by the agent."""
        bound = self.agent.nodes[node].bound if node in self.agent.nodes else None
        return isinstance(bound, ToolStep) or hasattr(bound, "tools_by_name")

    def speaks(self, node: str) -> bool:
        """Return whether the text of a model in a node is the agent's."""
        return node == MODEL if self.forms is not None else not self.is_tool_node(node)

    def messages(self, state: StateSnapshot) -> list[AnyMessage]:
        """Return the messages of a state."""
        found = state.values.get(self.messages_key) if isinstance(state.values, Mapping) else None
        return found if isinstance(found, list) else []


def check_checkpointer(agent: AnyAgent) -> None:
    """Refuse an agent without a checkpointer, and say once what another one than Holdfast's lacks.

    Raises:
        ValueError: it has none.
    """
    saver = agent.checkpointer
    if saver is None or isinstance(saver, bool):
        raise ValueError(
            "A conversation needs an agent with a checkpointer, which keeps its thread. Make the agent with "
            "checkpointer=open_checkpointer(url)."
        )
    if not isinstance(saver, HoldfastSaver) and type(saver) not in _noticed:
        _noticed.add(type(saver))
        _log.warning(
            "%s has no leases and no record of answers: two writers of a thread are not kept apart, and an answer is "
            "lost if its process dies before it is carried out. A checkpointer of open_checkpointer(url) has both.",
            type(saver).__name__,
        )


def _messages_key(agent: AnyAgent, wanted: str | None) -> str:
    merged = [name for name, channel in agent.channels.items() if getattr(channel, "operator", None) is add_messages]
    found = [name for name in ([wanted] if wanted is not None else [MESSAGES]) if name in agent.channels]
    if not found and wanted is None and len(merged) == 1:
        found = merged
    if not found:
        keys = ", ".join(map(repr, _own(agent.channels))) or "nothing"
        raise ValueError(
            f"The state of this agent has no {wanted or MESSAGES!r}; it has {keys}. A conversation needs the list of "
            "messages: name it by messages_key=, or run the graph itself by invoke."
        )
    return found[0]


def _own(channels: Iterable[str]) -> list[str]:
    return [name for name in channels if not name.startswith((RESERVED, BRANCH_TO, "join:"))]
