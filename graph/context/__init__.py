"""The messages that the model sees, and those that leave the live state. Pure functions, no I/O.

A message that left is still in the message rows and in older checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.utils import count_tokens_approximately

from holdfast.graph.kept import is_waiting
from holdfast.graph.messages import SPEAKER, all_doubts, calls_of, unclosed_calls

Mode: TypeAlias = Literal["summarise", "trim", "off"]

Block: TypeAlias = list[AnyMessage]
"""Messages that stay together: a message with calls and everything up to the last of its answers, or one message."""

# A token is counted as four characters, which is right for English and up to four times too few for scripts with a
# token for each character. Four times this budget, a summary, the tools and an answer still fit into a window of 128k
# tokens. Each step of a turn sends the budget again, so a larger one would cost more than it helps.
BUDGET: Final = 24_000


@dataclass(frozen=True)
class Context:
    """How much of a thread the model sees, and how much of it the live state holds.

    Args:
        mode: what happens when a turn begins with more than `limit` in the state. "summarise": the older messages leave
            the state, and the model summarises them. "trim": they leave without a summary. "off": all messages stay,
            and the model sees them all.
        budget: the maximum of tokens of messages that the model sees: the newest that fit. The prompt, the summary and
            the tools are not counted. The newest message and the newest message of a person are shown whatever their
            size.
        limit: tokens of messages in the state above which the older ones leave it; the budget by default. The messages
            between the two are kept in the state, but the model sees neither them nor a summary of them yet.

    A token is four characters, as in LangChain's `count_tokens_approximately`.

    Raises:
        ValueError: the mode is unknown, or not `limit >= budget > 0`.
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
        """The tokens that the state may hold when a turn begins."""
        return self.budget if self.limit is None else self.limit

    @property
    def kept(self) -> int:
        """The tokens that stay when the older messages leave: half of the budget.

        So messages leave rarely, and in between the model's input begins with the same messages, which caches of
        endpoints need.
        """
        return self.budget // 2


def tokens(messages: Sequence[AnyMessage]) -> int:
    """Estimate the tokens of the messages. The estimates of parts add up to that of the whole."""
    return count_tokens_approximately(messages)


def blocks(messages: Sequence[AnyMessage]) -> list[Block]:
    """Split the messages into blocks, in their order. A ToolMessage can begin the first block only."""
    split: list[Block] = []
    block_of: dict[str | None, int] = {}  # the position of the nearest block with a call of this id
    for message in messages:
        if not (isinstance(message, ToolMessage) and split):
            split.append([message])
            if isinstance(message, AIMessage):
                block_of.update((call["id"], len(split) - 1) for call in calls_of(message))
            continue
        # An answer to no call belongs to the block before it.
        position = block_of.pop(message.tool_call_id, len(split) - 1)
        if position < len(split) - 1:
            split[position:] = [[item for block in split[position:] for item in block]]
            block_of = {call_id: min(at, position) for call_id, at in block_of.items()}
        split[position].append(message)
    return split


def visible_messages(messages: Sequence[AnyMessage], context: Context) -> list[AnyMessage]:
    """Return the messages that the model sees: the newest that fit into the budget.

    If some are left out, the rest begins with a person's message if it has one, and never with the answer to a call.
    Three blocks are included whatever their size: the newest one, the newest message of a person, which the rest of
    the turn is about, and a system message at the beginning of the thread.
    """
    if context.mode == "off":
        return list(messages)
    split = blocks(messages)
    return [message for position in _newest(split, context.budget) for message in split[position]]


def with_named_speakers(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Return the messages as the model sees them in a shared thread: those of people begin with who said them."""
    return [_with_name(message) if SPEAKER in message.additional_kwargs else message for message in messages]


def _with_name(message: AnyMessage) -> AnyMessage:
    name = f"{message.additional_kwargs[SPEAKER]}: "
    content = message.content
    named = name + content if isinstance(content, str) else [{"type": "text", "text": name}, *content]
    return message.model_copy(update={"content": named})


def leaving_blocks(messages: Sequence[AnyMessage], context: Context) -> list[Block]:
    """Return the blocks that leave the live state at the start of a turn, oldest first; most often none.

    A call without an answer, in doubt, or kept open, stays with its answers: a person may still be asked about it, and
    the verdict or the result takes the place of the answer.
    """
    if context.mode == "off" or tokens(messages) <= context.most:
        return []
    split = blocks(messages)
    kept = set(_newest(split, context.kept))
    return [block for position, block in enumerate(split) if position not in kept and not _is_needed(block)]


def _newest(split: Sequence[Block], budget: int) -> list[int]:
    """Return the positions of the newest blocks that fit into the budget, in order."""
    if not split:
        return []
    last = len(split) - 1
    people = [position for position, block in enumerate(split) if isinstance(block[0], HumanMessage)]
    instructions = [0] if isinstance(split[0][0], SystemMessage) else []
    pinned = {*instructions, *people[-1:], last}
    left = budget - sum(tokens(split[position]) for position in pinned)
    first = last
    while first > 0:
        cost = 0 if first - 1 in pinned else tokens(split[first - 1])
        if cost > left:
            break
        left -= cost
        first -= 1
    if last and isinstance(split[0][0], ToolMessage):
        first = max(first, 1)  # the call that it answers has left
    if first > 0:
        first = next((position for position in people if position >= first), first)
    return sorted(pinned.union(range(first, last + 1)))


def _is_needed(block: Block) -> bool:
    return bool(unclosed_calls(block) or all_doubts(block) or any(map(is_waiting, block)))
