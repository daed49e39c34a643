"""Roles of a PostgreSQL server, as administrators set them up, and what an application does as one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from holdfast.checkpoints import HoldfastSaver
from tests.support.kit import say, texts

Run = Callable[..., None]
"""Runs statements of an administrator."""

MAY_MAKE: Final = "GRANT CREATE, USAGE ON SCHEMA public TO ada"
MAY_USE: Final = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ada"


def work(saver: HoldfastSaver, name: str = "t") -> None:
    """Do what an application does with a thread."""
    with saver.lease(name, wait=0):
        say(saver, "apples", "pears", thread_id=name)
    assert texts(saver, name) == ["apples", "You said: apples", "pears", "You said: pears"]
    saver.copy_thread(name, f"{name}-copy")
    assert len(saver.search.find("pears")) >= 2
    saver.delete_thread(f"{name}-copy")
