"""What the hooks around the runtime's methods refuse, and what they leave out."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.exceptions import HTTPException

from holdfast.server.langgraph import hooks, runtime


async def test_a_thread_without_values_is_no_match_for_a_search_in_values(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = [{}, {"values": None}, {"values": ["a state that has no names"]}, {"values": {"order": 1001}}]
    monkeypatch.setattr(runtime, "threads", lambda: threads)

    async def search(connection: Any, **_: Any) -> list[Any]:
        return list(connection.store["threads"])

    everything: Any = runtime.with_runs([])
    everything.store["threads"] = threads
    assert await hooks._search_threads(search, everything, values={"order": 1001}) == threads[-1:]
    assert await hooks._search_threads(search, everything, values={}) == threads


@pytest.mark.parametrize("after_seconds", [10**12, -(10**12), 1e308, float("nan")])
async def test_a_run_that_would_begin_at_no_date_is_refused(after_seconds: float) -> None:
    async def put(*_: Any, **__: Any) -> None:
        raise AssertionError("it was accepted")

    with pytest.raises(HTTPException, match="Needed: the seconds until it begins") as refused:
        await hooks._put_run(put, None, None, {"temporary": True}, after_seconds=after_seconds)
    assert refused.value.status_code == 422
