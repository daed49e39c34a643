"""A URL of several servers, of which one takes writes; and servers after the primary has died."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from langchain_core.messages import HumanMessage

from holdfast.checkpoints import open_checkpointer
from holdfast.checkpoints.errors import DatabaseUnavailable
from tests.support import poolers
from tests.support.cluster import Cluster, cluster, wait_for
from tests.support.forked import HOUSE
from tests.support.kit import checkpoint, put, say, texts, thread


def test_of_several_hosts_each_is_named_once_that_does_not_answer(tmp_path: Path) -> None:
    url = f"postgresql://ada:s3cret@/db?host={tmp_path}/one,{tmp_path}/two"
    with pytest.raises(DatabaseUnavailable, match="add target_session_attrs=any to the URL") as found:
        open_checkpointer(url).open()
    said = str(found.value).partition("two: ")[2]  # behind the URL
    assert (said.count("/one/.s.PGSQL"), said.count("/two/.s.PGSQL")) == (1, 1)
    assert "s3cret" not in said


def test_the_first_of_several_hosts_that_is_a_primary_is_taken(postgres_url_with_tables: str, tmp_path: Path) -> None:
    url = postgres_url_with_tables.replace("host=", f"host={tmp_path},")
    with open_checkpointer(url) as saver:
        say(saver, "apples")
    with pytest.raises(DatabaseUnavailable, match="hot standby"):
        open_checkpointer(f"{url}&target_session_attrs=standby").open()


@pytest.mark.sweep
def test_a_run_goes_on_while_a_standby_takes_over() -> None:
    with cluster() as servers, ThreadPoolExecutor(1) as aside:
        servers.primary.ask("CREATE DATABASE shop")
        with open_checkpointer(_standby_first(servers)) as saver:
            say(saver, "apples")
            servers.primary.kill()
            taking_over = aside.submit(servers.take_over)  # until then the only server takes no writes
            say(saver, "pears")
            taking_over.result()
            assert texts(saver) == ["apples", "You said: apples", "pears", "You said: pears"]


@pytest.mark.sweep
def test_while_no_server_is_a_primary_a_save_waits_and_then_says_so() -> None:
    with cluster() as servers:
        servers.primary.ask("CREATE DATABASE shop")
        with open_checkpointer(f"{_standby_first(servers)}&timeout=1") as saver:
            say(saver, "apples")
            servers.wait_until_equal()
            servers.primary.kill()
            with pytest.raises(DatabaseUnavailable, match=r"(?s)hot standby.*Nothing of this step was saved"):
                put(saver, thread(), checkpoint([HumanMessage("pears", id="pears")]))
        with open_checkpointer(f"{_standby_first(servers)}&target_session_attrs=any") as saver:
            assert texts(saver) == ["apples", "You said: apples"]  # a standby is read if the URL asks for it


@pytest.mark.sweep
def test_an_old_primary_that_is_started_by_mistake_acknowledges_nothing() -> None:
    with cluster() as servers, ThreadPoolExecutor(1) as aside:
        servers.primary.ask("CREATE TABLE said (word TEXT)")
        servers.primary.kill()
        servers.take_over()
        old = servers.standby
        old.start()
        commit = aside.submit(old.ask, "INSERT INTO said VALUES ('lost')")
        waits = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'INSERT%' AND wait_event = 'SyncRep'"
        wait_for(lambda: old.ask(waits) == 1, "the commit to wait for a standby")
        assert old.ask("SELECT count(*) FROM said") == 0
        old.stop()
        assert isinstance(commit.exception(), psycopg.OperationalError)
        servers.rejoin(rewind=True)
        servers.primary.ask("INSERT INTO said VALUES ('kept')")
        servers.wait_until_equal()
        assert servers.standby.ask("SELECT string_agg(word, ' ') FROM said") == "kept"


@pytest.mark.sweep
@pytest.mark.skipif(bool(poolers.missing()), reason=poolers.missing() or "")
def test_a_pooler_is_pointed_at_the_new_primary() -> None:
    with cluster() as servers, ThreadPoolExecutor(4) as aside:
        servers.primary.ask("CREATE DATABASE shop")
        owner = servers.primary.data.stat().st_uid
        with poolers.running(_pooled(servers), owner) as pooler:
            url = f"postgresql://postgres@127.0.0.1:{pooler.port}/shop"
            with open_checkpointer(url) as saver:
                say(saver, "apples")
                talks = [aside.submit(say, saver, *"abcdefgh", thread_id=f"thread-{number}") for number in range(4)]
                servers.primary.kill()
                servers.take_over()
                pooler.reload(_pooled(servers))
                say(saver, "pears")
                for number, talk in enumerate(talks):
                    talk.result()
                    assert len(texts(saver, f"thread-{number}")) == 16
                assert len(texts(saver)) == 4


def _pooled(servers: Cluster) -> str:
    """Return the configuration of a pooler before the primary, with the lines of the guide that matter for it."""
    database = f"[databases]\nshop = host=127.0.0.1 port={servers.primary.port} user=postgres\n"
    given = (HOUSE / "examples" / "deployment" / "pgbouncer.ini").read_text()
    [retry] = re.findall("(?m)^server_login_retry = .*$", given)
    return f"{database}[pgbouncer]\nlisten_addr=127.0.0.1\nauth_type=any\npool_mode=transaction\n{retry}\n"


def _standby_first(servers: Cluster) -> str:
    """Return a URL that asks for no kind of server, and names the standby first."""
    hosts = f"127.0.0.1:{servers.standby.port},127.0.0.1:{servers.primary.port}"
    return f"postgresql://postgres@{hosts}/shop?application_name=shop"
