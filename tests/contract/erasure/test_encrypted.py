"""Erasure in an encrypted database: the keys of threads go too, and a receipt says what that means for backups."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.backends.base import Backend
from holdfast.checkpoints.backends.by_url import backend_of
from holdfast.checkpoints.encryption.masters import key_service
from holdfast.checkpoints.encryption.opening import Encryption
from holdfast.checkpoints.sql import Statement
from holdfast.checkpoints.urls import parse
from tests.support.encryption_kit import KEY, encrypted
from tests.support.kit import echo_graph, rows, texts, thread

KEYS = "SELECT thread_id FROM holdfast_keys ORDER BY thread_id"


@pytest.mark.sweep(on="postgres")
def test_the_key_of_a_thread_goes_with_it_and_others_are_read_as_before(url: str) -> None:
    with encrypted(url) as saver:
        for user in ("ada", "bob"):
            echo_graph(saver).invoke({"messages": [("user", f"I am {user}")]}, thread(f"{user}-1", user_id=user))
        saver.threads.share("bob-1", "ada", by="ada")
        receipt = saver.erase(user_id="ada")
        assert (receipt.threads, receipt.rows["holdfast_keys"], receipt.shreds_backups) == (["ada-1"], 1, False)
        assert "with these, the threads can be read there" in receipt.unreachable[-1]
        assert rows(saver, KEYS) == [("",), ("bob-1",)]  # and that of the database
        assert (receipt.elsewhere["holdfast_events.data"], receipt.elsewhere["holdfast_events.actor"]) == (1, 1)
        assert saver.erase(user_id="ada", others="redact").elsewhere == {}
        [event] = [entry for entry in saver.transcript("bob-1") if entry.kind == "event"]
        assert (event.by, event.data) == ("[erased]", {"members": ["[erased]"]})
        assert texts(saver, "bob-1") == ["I am bob", "You said: I am bob"]
        echo_graph(saver).invoke({"messages": [("user", "I am new")]}, thread("ada-1", user_id="ada"))
    with encrypted(url) as saver:
        assert texts(saver, "ada-1") == ["I am new", "You said: I am new"]


def test_keys_in_another_database_shred_backups(tmp_path: Path) -> None:
    threads, keys_of = (backend_of(parse(f"sqlite:///{tmp_path / name}.db"), 2) for name in ("threads", "keys"))
    with HoldfastSaver(threads, encryption=Encryption(key_service(KEY), keys_of, is_apart=True)) as saver:
        echo_graph(saver).invoke({"messages": [("user", "Hi")]}, thread("ada-1", user_id="ada"))
        keys = keys_in(keys_of)
        receipt = saver.erase(user_id="ada", vacuum=True)
        assert keys - keys_in(keys_of) == {"ada-1"}
        assert (receipt.shreds_backups, receipt.is_vacuumed) == (True, True)
        assert "keys.db" in receipt.unreachable[-1]


def keys_in(backend: Backend) -> set[str]:
    with backend.reading() as transaction:
        [found] = transaction.run([(Statement("test", KEYS), {})])
    return {row.thread_id for row in found}
