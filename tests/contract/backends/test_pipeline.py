"""A transaction on PostgreSQL is sent as a pipeline, and its last message ends it for a pooler too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.checkpoints import open_checkpointer
from holdfast.checkpoints.backends import postgres
from tests.support.kit import change, echo_graph, rows, thread


@pytest.fixture
def sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file with all messages from and to the server."""
    path, connect = tmp_path / "sent", postgres.connect
    with path.open("wb", buffering=0) as file:

        def traced(*args: Any) -> Any:
            connection = connect(*args)
            connection.pgconn.trace(file.fileno())
            return connection

        monkeypatch.setattr(postgres, "connect", traced)
        yield path


def test_nothing_follows_the_sync_at_the_end_of_a_transaction(postgres_url_with_tables: str, sent: Path) -> None:
    with open_checkpointer(postgres_url_with_tables, pool_size=1) as saver:
        graph = echo_graph(saver)
        for number in range(3):
            graph.invoke({"messages": [("user", f"{number}")]}, thread())
        with pytest.raises(Exception, match="no_such_table"):
            rows(saver, "SELECT * FROM no_such_table")
        change(saver, "UPDATE holdfast_threads SET title = 'apples'")
    messages = [line.split("\t")[3].split()[0] for line in sent.read_text().splitlines() if line.count("\t") > 2]
    assert messages.count("Sync") > 20
    assert "Flush" not in messages
