"""A role of the server, and its administrator."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.roles import Run


@pytest.fixture
def run(postgres_url: str, worker_id: str) -> Iterator[Run]:
    """Runs statements of an administrator. The role `ada` may log in, and nothing else.

    All workers share the server and its roles, so each worker's `ada` has a name of its own there.
    """
    with psycopg.connect(postgres_url, autocommit=True) as connection:

        def run(*statements: str) -> None:
            for statement in statements:
                connection.execute(re.sub(r"\bada\b", f"ada_{worker_id}", statement).encode())

        run("DROP ROLE IF EXISTS ada", "CREATE ROLE ada LOGIN", "GRANT USAGE ON SCHEMA public TO ada")
        yield run
        run("DROP SCHEMA IF EXISTS chat CASCADE", "DROP OWNED BY ada CASCADE", "DROP ROLE ada")


@pytest.fixture
def ada(postgres_url: str, run: Run, worker_id: str) -> str:
    """The URL of the database for the role `ada`."""
    found = postgres_url.replace("postgres:@", f"ada_{worker_id}:@")
    assert found != postgres_url
    return found
