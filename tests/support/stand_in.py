"""A stand-in for a checkpointer of another database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver

from holdfast.savers import by_url

URL = "redis://ada:s3cr3t@db.example:6379/0"
SHOWN = "redis://ada:***@db.example:6379/0"
"""The URL as it may be shown."""


class BlockingSaver(BaseCheckpointSaver[Any]):
    """A checkpointer with blocking methods only, which stores the metadata as it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = InMemorySaver()

    def get_tuple(self, config: Any) -> Any:
        return self.kept.get_tuple(config)

    def list(self, config: Any, **options: Any) -> Iterator[Any]:
        return self.kept.list(config, **options)

    def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        own = {key: config["configurable"][key] for key in ("thread_id", "checkpoint_ns", "checkpoint_id")
               if key in config["configurable"]}  # fmt: skip
        return self.kept.put({"configurable": own}, checkpoint, metadata, new_versions)

    def put_writes(self, config: Any, writes: Any, task_id: str, task_path: str = "") -> None:
        self.kept.put_writes(config, writes, task_id, task_path)

    def delete_thread(self, thread_id: str) -> None:
        self.kept.delete_thread(thread_id)


def stand_in(patched: pytest.MonkeyPatch) -> None:
    """Let `URL` open one checkpointer, which outlives its clients as a server does."""
    saver = by_url._completed(BlockingSaver)()

    @contextmanager
    def opener(url: str) -> Iterator[BaseCheckpointSaver[Any]]:
        assert url == URL
        yield saver

    patched.setitem(by_url.OPENERS, "redis", opener)
