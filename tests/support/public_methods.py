"""The public methods of the parts of a checkpointer and of a conversation, read from the classes themselves."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

PARTS = ("Conversation", "Effects", "Interrupts", "Search", "Threads", "Transcript")


def classes() -> dict[str, type]:
    from holdfast.checkpoints import Effects, Interrupts, Search, Threads, Transcript
    from holdfast.graph import Conversation

    found: tuple[type, ...] = (Conversation, Effects, Interrupts, Search, Threads, Transcript)
    return {class_.__name__: class_ for class_ in found}


def methods_of(class_: type) -> dict[str, inspect.Signature]:
    """Every public method with its signature, the twins for event loops too."""
    public = inspect.getmembers(class_, inspect.isfunction)
    return {name: inspect.signature(method) for name, method in public if not name.startswith("_")}


def method_of_twin(name: str, names: Mapping[str, Any]) -> str:
    """The name of the method that blocks, for a twin and for itself."""
    return name[1:] if name[0] == "a" and name[1:] in names else name


def needed(signature: inspect.Signature) -> list[inspect.Parameter]:
    """The parameters that have no default, but for `self`."""
    given = [parameter for parameter in signature.parameters.values() if parameter.name != "self"]
    return [
        parameter
        for parameter in given
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL
    ]


async def outcome(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a method, wait for it, and take all that it yields."""
    found = method(*args, **kwargs)
    if inspect.isawaitable(found):
        found = await found
    if isinstance(found, AsyncIterator):
        return [item async for item in found]
    return list(found) if isinstance(found, Iterator) else found
