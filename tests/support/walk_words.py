"""What the savers of a random walk say, and how it is compared."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.types import Interrupt, Send

# Few texts and ids, so that messages of different saves are often equal.
TEXTS: Final = ("yes", "no", "perhaps")
IDS: Final = (None, None, "a", "b", "c")


def any_message(chance: random.Random) -> AnyMessage:
    kind = chance.choice([HumanMessage, AIMessage])
    return kind(chance.choice(TEXTS), id=chance.choice(IDS))


def change_messages(messages: list[AnyMessage], chance: random.Random) -> None:
    """Change the messages of a run as a graph does."""
    for said in messages:
        if said.id is None and chance.random() < 0.5:
            said.id = chance.choice(["d", "e"])
    if messages and chance.random() < 0.1:
        del messages[chance.randrange(len(messages))]
    if messages and chance.random() < 0.1:
        place = chance.randrange(len(messages))
        messages[place] = messages[place].model_copy()
    if messages and chance.random() < 0.05:
        chance.choice(messages).content = chance.choice(TEXTS)
    if len(messages) > 12:
        del messages[:8]
    messages.extend(any_message(chance) for _ in range(chance.randrange(3)))


def other_channels(messages: Sequence[AnyMessage], chance: random.Random) -> dict[str, Any]:
    """Return values that hold some of the messages again, as objects or as copies."""
    some = [m if chance.random() < 0.5 else m.model_copy() for m in messages if chance.random() < 0.5]
    found: dict[str, Any] = {}
    if chance.random() < 0.2:
        found["__pregel_tasks"] = [Send("node", {"messages": some})]
    if chance.random() < 0.1:
        found["__start__"] = {"messages": [any_message(chance)]}
    if chance.random() < 0.2:
        found["kept"] = some
    if chance.random() < 0.2:
        found["branch:to:node"] = None
    if chance.random() < 0.2:
        found["facts"] = chance.choice(TEXTS)
    return found


def plain(value: Any) -> Any:
    """Return a value as something that can be compared exactly."""
    if isinstance(value, (HumanMessage, AIMessage)):
        return type(value).__name__, value.id, value.content
    if isinstance(value, Send):
        return "Send", value.node, plain(value.arg)
    if isinstance(value, Interrupt):
        return "Interrupt", value.id, value.value
    if isinstance(value, dict):
        return {name: plain(part) for name, part in sorted(value.items()) if part is not None}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value
