"""The long-term memory that `langgraph.json` names: LangGraph's own store on the database of the conversations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from langgraph.store.base import BaseStore, Op, Result

from holdfast import factory, settings
from holdfast.checkpoints import urls
from holdfast.checkpoints.errors import InvalidURL


class NoStore(BaseStore):
    """The store beside a database of another checkpointer: it refuses, where one in memory would forget.

    Args:
        location: the database.
    """

    def __init__(self, location: urls.OtherURL) -> None:
        self._location = location

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Refuse to read or write.

        Raises:
            InvalidURL: always. The server tells its clients the text of it.
        """
        raise InvalidURL(
            f"{self._location} is a database of another checkpointer, and has no long-term memory. Needed: SQLite or "
            f"PostgreSQL (holdfast db copy {self._location} sqlite:///chat.db), or a store of your own, which the "
            'langgraph.json of holdfast serve --config names under "store".'
        )

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Do as `batch`."""
        return self.batch(ops)


@asynccontextmanager
async def store() -> AsyncIterator[BaseStore]:
    """Open the store for as long as the server runs."""
    found = await asyncio.to_thread(settings.load)  # the server does not allow file I/O on its event loop
    location = urls.parse_any(found.database)
    if isinstance(location, urls.OtherURL):
        yield NoStore(location)
        return
    async with factory.make_store(found) as opened:
        yield opened
