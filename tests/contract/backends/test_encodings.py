"""Databases whose encoding is not UTF8 hold every text, or are refused before anything is saved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.postgres import PostgresSaver

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.backends.postgres.encodings import _CODECS, Repertoire
from holdfast.checkpoints.errors import DatabaseUnavailable
from tests.support.kit import checkpoint, echo_graph, put, rows, say, texts, thread
from tests.support.servers import Server

ODD = [
    "plain",
    "é ü ß",
    "naïve €",
    "漢字 and кириллица",
    "🙂 out of the plane",
    "=u{4e2d} is no mark",
    "=u{3d}u{",
    '"quoted\\" \x85',
]


@pytest.fixture(scope="module")
def databases(postgres_server: Server, worker_id: str) -> dict[str, str]:
    found = {}
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        for encoding in ("LATIN1", "WIN1252", "SQL_ASCII", "EUC_JP"):
            name = f"{encoding.lower()}_{worker_id}"
            options = f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
            connection.execute(f"CREATE DATABASE {name} {options}".encode())
            found[encoding] = postgres_server.url_of(name)
    return found


@pytest.fixture(params=["LATIN1", "WIN1252", "SQL_ASCII"])
def encoded(request: pytest.FixtureRequest, databases: dict[str, str]) -> Iterator[str]:
    url = databases[request.param]
    yield url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


@pytest.fixture
def saver(encoded: str) -> Iterator[HoldfastSaver]:
    with open_checkpointer(encoded) as saver:
        yield saver


@pytest.mark.sweep(every=4)
def test_every_text_comes_back_from_every_place(saver: HoldfastSaver, encoded: str) -> None:
    for odd in ODD:
        said = [HumanMessage(odd, id=odd, name=odd), AIMessage([{"type": "text", "text": odd}], id="2")]
        checked = checkpoint(said, **{odd: odd, "long": odd * 100})
        config = put(saver, thread(odd), checked, user_id=odd, note={odd: [odd]})
        saver.put_writes(config, [(odd, odd), ("messages", said)], odd, odd)
    with open_checkpointer(encoded) as other:
        for odd in ODD:
            said = [HumanMessage(odd, id=odd, name=odd), AIMessage([{"type": "text", "text": odd}], id="2")]
            found = other.get_tuple(thread(odd))
            assert found is not None
            values = found.checkpoint["channel_values"]
            assert (values["messages"], values[odd], values["long"]) == (said, odd, odd * 100)
            metadata: Any = found.metadata
            assert (metadata["user_id"], metadata["note"]) == (odd, {odd: [odd]})
            assert found.pending_writes == [(odd, odd, odd), (odd, "messages", said)]
            assert [listed.config for listed in other.list(None, filter={"note": {odd: [odd]}})] == [found.config]
            [entry] = other.threads.list(user_id=odd).threads
            assert (entry.thread_id, entry.title) == (odd, " ".join(odd.split()))


@pytest.mark.sweep
def test_words_beyond_the_encoding_are_found(saver: HoldfastSaver) -> None:
    for word in ("café", "漢字", "кириллица"):
        say(saver, f"about {word} today", "about something else", thread_id=word)
        for asked in (word, f"{word[:2]}*"):
            assert [(hit.thread_id, hit.seq) for hit in saver.search.find(asked)] == [(word, 1), (word, 2)]


@pytest.mark.sweep
def test_a_graph_runs_and_everything_else_works(saver: HoldfastSaver) -> None:
    for text in ODD:
        with saver.lease("漢字", owner="кириллица", wait=0):
            echo_graph(saver).invoke({"messages": [("user", text)]}, thread("漢字"))
    expected = [text for odd in ODD for text in (odd, f"You said: {odd}")]
    assert texts(saver, "漢字") == expected
    saver.copy_thread("漢字", "é")
    saver.prune(["é"])
    assert texts(saver, "é") == expected
    assert [getattr(entry, "text", None) for entry in saver.transcript("é")] == expected


def test_a_database_of_the_stock_saver_goes_on(databases: dict[str, str]) -> None:
    url = databases["LATIN1"]
    with PostgresSaver.from_conn_string(url) as stock:
        stock.setup()
        echo_graph(stock).invoke({"messages": [("user", "漢字 é")]}, {**thread("café"), "metadata": {"who": "José"}})
    with open_checkpointer(url) as saver:
        assert texts(saver, "café") == ["漢字 é", "You said: 漢字 é"]
        assert {found.metadata["who"] for found in saver.list(thread("café"))} == {"José"}  # type: ignore[typeddict-item]
        say(saver, "кириллица", thread_id="café")
        assert texts(saver, "café")[2:] == ["кириллица", "You said: кириллица"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


def test_an_encoding_that_cannot_hold_every_text_is_refused_before_anything_is_saved(databases: dict[str, str]) -> None:
    url = databases["EUC_JP"]
    with pytest.raises(DatabaseUnavailable, match=r"encoding of .* is EUC_JP.*Needed: a database in UTF8"):
        open_checkpointer(url).open()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchall() == [(0,)]


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("encoding", sorted(_CODECS))
def test_what_a_codec_can_write_the_server_can_convert(postgres_url_with_tables: str, encoding: str) -> None:
    codec = _CODECS[encoding]
    characters = bytes(range(1, 256)).decode(codec, "ignore")
    repertoire = Repertoire(encoding)
    assert repertoire.to_stored(characters) == characters
    with psycopg.connect(postgres_url_with_tables) as connection:
        [(converted,)] = connection.execute("SELECT convert_to(%s, %s)", [characters, encoding]).fetchall()
        [(back,)] = connection.execute("SELECT convert_from(%s, %s)", [converted, encoding]).fetchall()
    assert back == characters


def test_what_is_in_the_encoding_is_read_by_sql_as_it_is(databases: dict[str, str]) -> None:
    with open_checkpointer(databases["LATIN1"]) as saver:
        put(saver, thread("café"), checkpoint([HumanMessage("é 漢")]))
        stored = rows(saver, "SELECT encode(convert_to(content, 'UTF8'), 'hex') FROM holdfast_messages")
        assert bytes.fromhex(stored[0][0]).decode() == "é =u{6f22}"
