"""A server, a role or a pool that allows few connections."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast.checkpoints import open_checkpointer
from holdfast.checkpoints.backends.postgres import pool
from tests.support.kit import texts
from tests.support.roles import MAY_MAKE, Run, work


@pytest.mark.sweep
@pytest.mark.parametrize("limit", [1, pytest.param(3, marks=pytest.mark.sweep)])
def test_a_role_with_few_connections_serves_many_threads(ada: str, run: Run, limit: int) -> None:
    run(MAY_MAKE, f"ALTER ROLE ada CONNECTION LIMIT {limit}")
    with open_checkpointer(ada) as saver, ThreadPoolExecutor(5) as threads:
        list(threads.map(lambda name: work(saver, name), [f"t{number}" for number in range(5)]))


@pytest.mark.sweep
def test_one_connection_is_enough(postgres_url: str) -> None:
    with open_checkpointer(postgres_url, pool_size=1) as saver, ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda name: work(saver, name), [f"t{number}" for number in range(4)]))
        for _ in saver.list(None, limit=5):
            assert texts(saver, "t0")  # while a list is read
        page = saver.threads.list(limit=2)
        assert len(page.threads) == 2


def test_more_connections_are_made_when_the_server_allows_them_again(
    ada: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_LIMITED", 0.0)
    run(MAY_MAKE, "ALTER ROLE ada CONNECTION LIMIT 1")
    with open_checkpointer(ada) as saver, ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda name: work(saver, name), ["a", "b"]))
        assert len(saver._backend._pool) == 1  # type: ignore[attr-defined]
        run("ALTER ROLE ada CONNECTION LIMIT 3")
        with saver._backend.reading(), saver._backend.reading():
            assert texts(saver, "a")
