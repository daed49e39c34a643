"""Threads to be searched."""

from __future__ import annotations

from langchain_core.messages import HumanMessage

from holdfast.checkpoints import (
    HoldfastSaver,
)
from tests.support.kit import change, checkpoint, put, thread


def say(saver: HoldfastSaver, *texts: str, thread_id: str = "ada-1", user: str | None = "ada") -> None:
    """Save a checkpoint in which these were said, one by one, in a thread of this user."""
    said = [HumanMessage(text, id=f"{thread_id}-{number}") for number, text in enumerate(texts)]
    put(saver, thread(thread_id), checkpoint(said))
    own(saver, user, thread_id)


def own(saver: HoldfastSaver, user: str | None, thread_id: str) -> None:
    change(
        saver,
        "UPDATE holdfast_threads SET user_id = :user, head = coalesce(head, '1') WHERE thread_id = :thread_id",
        user=user,
        thread_id=thread_id,
    )
