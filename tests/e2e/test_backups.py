"""Backups that were restored: what waited for a person waits again, and nothing is carried out again by itself."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from threading import Event, Thread

import pytest

from holdfast import Conversation
from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.worker import Worker
from tests.chaos.journal import Place
from tests.chaos.talks.scene import agent_on
from tests.support.cluster import PROGRAMS, Node, nodes, wait_for
from tests.support.forked import HOUSE
from tests.support.servers import Server

RESTORED = HOUSE / "examples" / "deployment" / "restored.sql"
PAGE = (HOUSE / "docs" / "guides" / "postgresql.md").read_text("utf-8")


class Shop:
    """Threads in which something is under way while a backup is made, and what happens to them after it."""

    def __init__(self, folder: Path, saver: HoldfastSaver) -> None:
        self._place = Place("", folder, seed=1)
        self.saver = saver
        self.agent = agent_on(saver, self._place)

    def talk(self, thread_id: str) -> Conversation:
        return Conversation(self.agent, thread_id)

    def paid(self, thread_id: str) -> list[str]:
        """Return the idempotency keys of what has been done for a thread, as the world knows them."""
        return [line["key"] for line in self._place.world.read() if line["order"] == f"{thread_id}-1"]

    def begin(self) -> None:
        """Let one thread wait for a person, and two for a worker; a lease is left as by a process that dies."""
        for thread in ("waits", "answered"):
            self.talk(thread).send(f"pay {thread}-1")
        [asked] = self.saver.interrupts.waiting(thread_id="answered")
        self.saver.interrupts.answer("answered", asked.interrupt_id, {"type": "approve"}, by="Grace")
        self.talk("accepted").submit("note accepted-1")
        self.saver.lease("held", ttl=3600).__enter__()

    def end(self) -> None:
        """Carry out all of it."""
        self.talk("waits").approve(by="Grace")
        self.work()
        assert [len(self.paid(thread)) for thread in ("waits", "answered", "accepted")] == [1, 1, 1]

    def work(self) -> None:
        """Do what a worker of a server does."""
        Worker(self.agent).run_once()

    def go_on(self) -> None:
        """Go on in the restored database, as people who know that it was restored."""
        self.work()
        assert [len(self.paid(thread)) for thread in ("waits", "answered", "accepted")] == [1, 1, 1]
        assert {asked.thread_id for asked in self.saver.interrupts.waiting()} == {"waits", "answered"}
        assert [run.state for run in self.saver.runs.list("accepted")] == ["cancelled"]
        with self.saver.lease("held", wait=0):
            pass  # its holder is dead
        # The service would know the payment by its key, and this one does not look.
        assert self.talk("waits").approve(by="Alan").text == "It was done, or not."
        before, again = self.paid("waits")
        assert before == again
        self.talk("answered").reject("It was paid after the backup.", by="Alan")
        assert len(self.paid("answered")) == 1


@pytest.mark.sweep
def test_a_dump_of_a_database_in_use_is_restored(own_server: Server, tmp_path: Path) -> None:
    url, dump = own_server.database("original"), tmp_path / "chat.dump"
    with open_checkpointer(url) as saver:
        shop = Shop(tmp_path, saver)
        shop.begin()
        with _load(shop):
            _run("pg_dump", "--format=custom", "--file", dump, url)
        shop.end()
    restored = own_server.database("restored")
    _run("pg_restore", "--exit-on-error", "--dbname", restored, dump)
    assert "accepted" in _run("psql", "-v", "ON_ERROR_STOP=1", "-f", RESTORED, restored)
    with open_checkpointer(restored) as saver:
        Shop(tmp_path, saver).go_on()


@pytest.mark.sweep
def test_a_moment_is_restored_from_a_base_backup_and_an_archive(tmp_path: Path) -> None:
    with nodes() as (node, other):
        archive, backup = node.data.with_name("archive"), node.data.with_name("backup")
        node.initialize(f"archive_mode = on\narchive_command = 'test ! -f {archive}/%f && cp %p {archive}/%f'\n")
        node.run("mkdir", archive)
        node.start()
        node.ask("CREATE DATABASE chat")
        with open_checkpointer(node.url_of("chat")) as saver:
            shop = Shop(tmp_path, saver)
            with _load(shop) as said:
                # Without a reload only the backup has it, as if it had been made of a server with a standby.
                node.ask("ALTER SYSTEM SET synchronous_standby_names = 'db2'")
                node.run("pg_basebackup", "-D", backup, "-d", node.url_of("chat"), "-c", "fast")
                shop.begin()
                moment = node.ask("SELECT clock_timestamp()")
                before = len(said)
                shop.end()
                wait_for(lambda: len(said) > before + 1, "messages after the moment")
            _archive_all(node)
        node.kill()
        _restore(other, backup, archive, moment)
        _run("psql", "-v", "ON_ERROR_STOP=1", "-f", RESTORED, other.url_of("chat"))
        with open_checkpointer(other.url_of("chat")) as saver:
            restored = Shop(tmp_path, saver)
            restored.go_on()
            there = [message.text for message in restored.talk("load").history() if message.type == "human"]
    assert said[:before] == there[:before]
    assert len(there) <= before + 1 < len(said)  # one may have been under way


@pytest.mark.sweep
def test_a_sqlite_file_in_use_is_copied_by_its_own_backup(tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with open_checkpointer(f"sqlite:///{tmp_path / 'chat.db'}") as saver:
        shop = Shop(tmp_path, saver)
        shop.begin()
        with _load(shop), closing(sqlite3.connect(tmp_path / "chat.db")) as source:
            source.execute("VACUUM INTO ?", [str(copy)])
        shop.end()
    with closing(sqlite3.connect(copy)) as connection:
        statements = "\n".join(line for line in RESTORED.read_text().splitlines() if not line.startswith("\\echo"))
        connection.executescript(statements.replace("extract(epoch FROM now())", "unixepoch()"))
    with open_checkpointer(f"sqlite:///{copy}") as saver:
        Shop(tmp_path, saver).go_on()


@contextmanager
def _load(shop: Shop) -> Iterator[list[str]]:
    """Say something all the time. Yield what was acknowledged."""
    stop, said = Event(), list[str]()

    def talk() -> None:
        while not stop.is_set():
            shop.talk("load").send(f"number {len(said)}")
            said.append(f"number {len(said)}")

    thread = Thread(target=talk)
    thread.start()
    wait_for(lambda: said, "the first message")
    try:
        yield said
    finally:
        stop.set()
        thread.join()


def _restore(node: Node, backup: Path, archive: Path, moment: datetime) -> None:
    """Delete from the archive what a backup does not need, and restore a moment, both as the page says."""
    page = PAGE.replace("/srv/archive", str(archive)).replace("/srv/backup/2026-11-30", str(backup))
    page = re.sub("(?m)^recovery_target_time = .*$", f"recovery_target_time = '{moment.isoformat()}'", page)
    [clean_up] = re.findall(r"\$ (pg_archivecleanup .*)", page)
    [settings] = re.findall(r'(?s)auto\.conf"\n(.*?\n)\$', page)
    files = {*archive.iterdir()}
    node.run("env", f"PATH={PROGRAMS}:{os.environ['PATH']}", "sh", "-c", clean_up)
    assert {*archive.iterdir()} < files
    node.restore(backup, settings)


def _archive_all(node: Node) -> None:
    """Wait until the archive has all that was written."""
    last = node.ask("SELECT pg_walfile_name(pg_switch_wal())")
    wait_for(lambda: (node.ask("SELECT last_archived_wal FROM pg_stat_archiver") or "") >= last, "the archive")


def _run(program: str, *words: str | Path) -> str:
    done = subprocess.run([PROGRAMS / program, *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
