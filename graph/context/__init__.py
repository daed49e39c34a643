"""What of a thread the model sees, and what leaves the live state: pure functions, no I/O.

Everything that left is still in the message rows and in older checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.utils import count_tokens_approximately

from holdfast.graph.messages import calls_of, unclosed_calls
from holdfast.graph.nodes.in_doubt import left_doubts

Mode: TypeAlias = Literal["summarise", "trim", "off"]

Block: TypeAlias = list[AnyMessage]
"""Messages that never part: a message with calls and everything up to the last of its answers, or one message."""

# A token is counted as four characters, which is right for English and up to four times too few for scripts with a
# token for each character. Four times this, a summary, the tools and an answer still fit into a window of 128k tokens;
# and since each step of a turn sends it all again, more would cost more than it helps.
BUDGET: Final = 24_000


@dataclass(frozen=True)
class Context:
    """How much of a thread the model sees, and how much of it the live state holds.

    Args:
        mode: what happens when a turn begins with more than `limit` in the state. "summarise": the older messages leave
            it, and the model makes a summary of them. "trim": they leave it without one. "off": nothing, and the model
            sees all that there is.
        budget: tokens of messages that the model sees at the most: the newest that fit. The prompt, the summary and
            the tools come on top of it. The newest message, and the person's that it is about, are seen whatever their
            size.
        limit: tokens of messages in the state beyond which the older ones leave it; the budget by default. What lies
            between the two is kept in the state, but the model neither sees it nor has a summary of it yet.

    A token is four characters, as LangChain's `count_tokens_approximately` counts.

    Raises:
        ValueError: there is no such mode, or not `limit >= budget > 0`.
    """

    mode: Mode = "summarise"
    budget: int = BUDGET
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise ValueError(f"There is no context mode {self.mode!r}; it is one of {', '.join(get_args(Mode))}.")
        if self.budget <= 0:
            raise ValueError(f"The context budget is {self.budget} tokens; it has to be more than 0.")
        if self.most < self.budget:
            raise ValueError(
                f"The context limit is {self.limit} tokens, and the budget {self.budget}. The model cannot see more "
                "than the state holds: raise the limit, lower the budget, or leave the limit out."
            )

    @property
    def most(self) -> int:
        """Tokens that the state may hold when a turn begins."""
        return self.budget if self.limit is None else self.limit

    @property
    def kept(self) -> int:
        """Tokens that are left when the others have gone. Half of the budget: then it is long until the next time, and
        what the model sees begins with the same messages until then, which endpoints that cache need."""
        return self.budget // 2


def tokens(messages: Sequence[AnyMessage]) -> int:
    """About how many tokens these messages are. The counts of parts add up to that of the whole."""
    return count_tokens_approximately(messages)


def blocks(messages: Sequence[AnyMessage]) -> list[Block]:
    """The messages in groups that never part, in their order; all but a first group begin with no ToolMessage."""
    found: list[Block] = []
    asked: dict[str | None, int] = {}  # the block of the nearest message that made a call of this id
    for message in messages:
        if not (isinstance(message, ToolMessage) and found):
            found.append([message])
            if isinstance(message, AIMessage):
                asked.update((call["id"], len(found) - 1) for call in calls_of(message))
            continue
        # One that answers nothing stays behind what it stands behind.
        owner = asked.pop(message.tool_call_id, len(found) - 1)
        if owner < len(found) - 1:
            found[owner:] = [[item for block in found[owner:] for item in block]]
            asked = {call_id: min(place, owner) for call_id, place in asked.items()}
        found[owner].append(message)
    return found


def seen(messages: Sequence[AnyMessage], context: Context) -> list[AnyMessage]:
    """The messages that the model sees: the newest that fit into the budget.

    Where some are left out, they begin with a person's message if there is one, and never with the answer to a call.
    There whatever their size are the newest block, the newest message of a person, which says what all the rest of a
    turn is about, and a message of the system with which the thread begins.
    """
    if context.mode == "off":
        return list(messages)
    found = blocks(messages)
    return [message for place in _newest(found, context.budget) for message in found[place]]


def leaving(messages: Sequence[AnyMessage], context: Context) -> list[Block]:
    """What leaves the live state at the start of a turn, oldest first; most often nothing.

    A call that has no answer yet, or of which nobody knows whether it took effect, stays with its answers: a person may
    still be asked about it, and what they say takes the place of the answer.
    """
    if context.mode == "off" or tokens(messages) <= context.most:
        return []
    found = blocks(messages)
    kept = set(_newest(found, context.kept))
    return [block for place, block in enumerate(found) if place not in kept and not _is_needed(block)]


def _newest(found: Sequence[Block], budget: int) -> list[int]:
    """The places of the newest blocks that fit, in order."""
    if not found:
        return []
    last = len(found) - 1
    people = [place for place, block in enumerate(found) if isinstance(block[0], HumanMessage)]
    instructions = [0] if isinstance(found[0][0], SystemMessage) else []
    pinned = {*instructions, *people[-1:], last}
    left = budget - sum(tokens(found[place]) for place in pinned)
    first = last
    while first > 0:
        cost = 0 if first - 1 in pinned else tokens(found[first - 1])
        if cost > left:
            break
        left -= cost
        first -= 1
    if last and isinstance(found[0][0], ToolMessage):
        first = max(first, 1)  # what it answers has gone
    if first > 0:
        first = next((place for place in people if place >= first), first)
    return sorted(pinned.union(range(first, last + 1)))


def _is_needed(block: Block) -> bool:
    return bool(unclosed_calls(block) or left_doubts(block))
