"""The commands of the page about PostgreSQL make a standby that takes over, and an old primary that comes back."""

from __future__ import annotations

import os
import re

import pytest

from holdfast.checkpoints import open_checkpointer
from tests.support.cluster import PROGRAMS, Node, nodes, wait_for
from tests.support.forked import HOUSE
from tests.support.kit import say, texts

PAGE = (HOUSE / "docs" / "guides" / "postgresql.md").read_text("utf-8")
COMMANDS = re.findall(r"(?m)^(db[12])\$ (.*)$", PAGE)
HOSTS = re.findall(r"(?s)```\n(host.*?)```", PAGE)[0].replace("192.0.2.0/24", "127.0.0.1/32")


@pytest.mark.sweep
@pytest.mark.timeout(180)
def test_the_commands_of_the_page_let_a_standby_take_over_and_the_old_primary_come_back() -> None:
    with nodes() as (first, second):
        servers = {"db1": first, "db2": second}
        first.initialize(re.findall(r"(?s)```\n(listen.*?)```", PAGE)[0])
        (first.data / "pg_hba.conf").write_text(f"host all postgres 127.0.0.1/32 trust\n{HOSTS}")
        first.start()
        promotion = COMMANDS.index(("db2", "pg_ctl promote"))
        for name, command in COMMANDS[:promotion]:
            type_in(servers, name, command)
        wait_for(lambda: first.ask("SELECT sync_state FROM pg_stat_replication") == "sync", "db2 to be synchronous")
        with open_checkpointer(_url(first, second)) as saver:
            say(saver, "apples")
            first.kill()
            first.wait_until_gone()
            for name, command in COMMANDS[promotion:]:
                type_in(servers, name, command)
            say(saver, "pears")
            assert texts(saver) == ["apples", "You said: apples", "pears", "You said: pears"]
        assert first.ask("SELECT pg_is_in_recovery()")
        assert not second.ask("SELECT pg_is_in_recovery()")


def type_in(servers: dict[str, Node], name: str, command: str) -> None:
    """Run a command of the page on one of its machines, which are two servers of this one."""
    node = servers[name]
    for other, at in servers.items():
        command = command.replace(f"host={other}", f"host=127.0.0.1 port={at.port}")
    home = node.data.parent
    here = {"HOME": home, "PGDATA": node.data, "PGPORT": node.port, "PGHOST": "127.0.0.1", "PGUSER": "postgres"}
    path = f"PATH={PROGRAMS}:{os.environ['PATH']}"
    node.run("env", *(f"{key}={value}" for key, value in here.items()), path, "sh", "-c", command)


def _url(first: Node, second: Node) -> str:
    """Return the URL of the page, with these servers."""
    [url] = re.findall(r"(?m)^HOLDFAST_DATABASE=(.*)$", PAGE)
    login, _, rest = url.partition("@db1,db2/")
    assert login == "postgresql://holdfast:PASSWORD"
    return f"{login}@127.0.0.1:{first.port},127.0.0.1:{second.port}/{rest}"
