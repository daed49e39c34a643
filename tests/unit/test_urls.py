"""The URL says where conversations live, and never shows a password."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import get_args

import pytest

from holdfast.checkpoints import open_checkpointer
from holdfast.checkpoints.errors import HoldfastError, InvalidURL
from holdfast.checkpoints.urls import (
    OTHER_KINDS,
    Location,
    MemoryURL,
    OtherURL,
    PostgresURL,
    SqliteURL,
    parse,
    parse_any,
)
from holdfast.savers.by_url import OPENERS
from tests.support.forked import HOUSE

HIDDEN = "xk2SECRET"


@pytest.mark.parametrize(
    ("url", "location"),
    [
        (None, SqliteURL(Path("holdfast.db"))),
        ("memory://", MemoryURL()),
        ("sqlite:///relative.db", SqliteURL(Path("relative.db"))),
        ("sqlite:////srv/absolute.db", SqliteURL(Path("/srv/absolute.db"))),
        ("sqlite:///with%20space%3F.db", SqliteURL(Path("with space?.db"))),
        ("sqlite:///a.db?synchronous=normal&timeout=2.5", SqliteURL(Path("a.db"), "NORMAL", 2.5)),
    ],
)
def test_a_url_says_where_conversations_live(url: str | None, location: object) -> None:
    assert parse(url) == location


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_a_postgresql_url_passes_to_libpq_as_it_is(scheme: str) -> None:
    url = f"{scheme}://u:p%40@h1:1,h2:2/db?target_session_attrs=read-write&options=-c%20lock_timeout%3D1s"
    location = parse(url)
    assert isinstance(location, PostgresURL)
    assert location.dsn == url


@pytest.mark.parametrize(
    ("url", "several"),
    [
        ("postgresql://u:a,b@h1/db?target_session_attrs=any", False),
        ("postgresql://u:p@h1:5432,h2:5433/db", True),
        ("postgresql://[::1]:5432,[::2]:5433", True),
        ("postgresql:///db?port=1&host=/one%2C/two", True),
        ("postgresql:///db?host=/one,/two&options=-c%20a=b,c", True),
        ("postgresql:///db?host=/one&application_name=a,b", False),
    ],
)
def test_a_postgresql_url_may_name_several_hosts(url: str, several: bool) -> None:
    location = parse(url)
    assert isinstance(location, PostgresURL)
    assert location.has_several_hosts == several


@pytest.mark.parametrize(
    ("url", "dsn"),
    [
        ("postgresql://h/db?timeout=2.5", "postgresql://h/db"),
        ("postgresql://h/db?timeout=2.5&connect_timeout=1", "postgresql://h/db?connect_timeout=1"),
        ("postgresql://h/db?connect_timeout=1&timeout=2.5", "postgresql://h/db?connect_timeout=1"),
        ("postgresql://h/db?a=1&timeout=2.5&b=2", "postgresql://h/db?a=1&b=2"),
    ],
)
def test_how_long_to_wait_for_a_server_is_not_passed_to_libpq(url: str, dsn: str) -> None:
    location = parse(url)
    assert isinstance(location, PostgresURL)
    assert (location.dsn, str(location), location.timeout) == (dsn, dsn, 2.5)


@pytest.mark.parametrize(
    ("options", "rest", "schema", "threshold"),
    [
        ("", "", None, "auto"),
        ("?schema=chat", "", "chat", "auto"),
        ("?schema=my%20chat&sslmode=disable", "?sslmode=disable", "my chat", "auto"),
        ("?prepare_threshold=0&timeout=3&schema=chat", "", "chat", 0),
        ("?sslmode=disable&prepare_threshold=5", "?sslmode=disable", None, 5),
        ("?prepare_threshold=None", "", None, None),
    ],
)
def test_schema_and_prepared_statements_are_options_that_libpq_does_not_get(
    options: str, rest: str, schema: str | None, threshold: int | str | None
) -> None:
    location = parse(f"postgresql://h/db{options}")
    assert isinstance(location, PostgresURL)
    assert (location.dsn, location.schema, location.prepare_threshold) == (
        f"postgresql://h/db{rest}",
        schema,
        threshold,
    )
    assert ("schema=" in str(location)) == (schema is not None)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://h/db?timeout=long", "number of seconds"),
        ("postgresql://h/db?schema=a%00b", "schema is the name of one schema"),
        (f"postgresql://h/db?schema={'s' * 64}", "schema is the name of one schema"),
        ("postgresql://h/db?schema=", "schema is the name of one schema"),
        ("postgresql://h/db?prepare_threshold=-1", "prepare_threshold is none, or the number"),
        ("postgresql://h/db?prepare_threshold=", "prepare_threshold is none, or the number"),
        ("", "No database URL"),
        ("holdfast.db", "No database URL"),
        ("oracle://h/db", "Unknown kind of database 'oracle'"),
        ("memory://chat", "nothing after it but"),
        ("sqlite://chat.db", "Did you mean sqlite:///chat.db"),
        ("sqlite:///", "needs a path"),
        ("sqlite:///:memory:", "memory://"),
        ("sqlite:///a%00b.db", "NUL"),
        ("sqlite:///a.db?mode=ro", "Unknown SQLite option 'mode'"),
        ("sqlite:///a.db?timeout=long", "number of seconds"),
        ("sqlite:///a.db?synchronous=off", "full or normal"),
    ],
)
def test_a_url_that_means_nothing_is_an_error_that_says_what_was_needed(url: str, says: str) -> None:
    with pytest.raises(InvalidURL, match=says):
        open_checkpointer(url)


@pytest.mark.parametrize(
    "login",
    [f"u:{HIDDEN}@h", f"u:pa#{HIDDEN}@h", f"u:pa?{HIDDEN}@h", f"u:pa/{HIDDEN}@h", f"u:pa@{HIDDEN}@h"],
)
def test_a_password_is_not_shown_whatever_is_in_it(login: str) -> None:
    shown = f"{open_checkpointer(f'postgresql://{login}/db')!r} {parse(f'postgresql://{login}/db')!r}"
    assert HIDDEN not in shown
    assert "pa" not in shown.replace("parse", "")
    assert "postgresql://u:***@h/db" in shown


@pytest.mark.parametrize("option", ["password", "sslpassword", "PASSWORD"])
def test_a_password_that_is_given_as_an_option_is_not_shown(option: str) -> None:
    saver = open_checkpointer(f"postgresql://h/db?connect_timeout=1&{option}={HIDDEN}&sslmode=disable")
    assert f"{option}=***&sslmode=disable" in repr(saver)


@pytest.mark.parametrize("login", [f"u:pa@{HIDDEN}@127.0.0.1", f"u:pa/{HIDDEN}@127.0.0.1", f"u:{HIDDEN}@127.0.0.1"])
def test_an_error_of_the_server_does_not_show_the_password(login: str) -> None:
    with pytest.raises(HoldfastError) as error:
        open_checkpointer(f"postgresql://{login}:1/db").open()
    assert HIDDEN not in str(error.value)
    assert "***" in str(error.value)


@pytest.mark.parametrize("kind", get_args(Location))
def test_every_kind_of_location_says_what_its_secrets_are(kind: type) -> None:
    assert isinstance(kind.secrets, property)  # type: ignore[attr-defined]


def test_the_secrets_are_every_form_of_the_password() -> None:
    assert parse("postgresql://ada:p%40ss@host/db?sslpassword=k3y").secrets == {"p%40ss", "p@ss", "k3y"}
    assert parse("sqlite:///a.db").secrets == parse("memory://").secrets == frozenset()


def test_an_encoded_password_hides_no_more_than_itself() -> None:
    location = parse("postgresql://ada:p%40ss@host/db")
    assert isinstance(location, PostgresURL)
    assert location.hide("no route for p@ss (p%40ss) to host") == "no route for *** (***) to host"


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "soon"])
def test_a_timeout_is_a_number_of_seconds(seconds: str) -> None:
    with pytest.raises(InvalidURL, match="timeout is a number of seconds"):
        parse(f"sqlite:///a.db?timeout={seconds}")


def test_a_path_is_not_a_url() -> None:
    with pytest.raises(InvalidURL, match="A database URL is text"):
        parse(Path("a.db"))  # type: ignore[arg-type]


def test_a_password_of_one_letter_spoils_no_words() -> None:
    location = parse("postgresql://ada:p@host/db")
    assert isinstance(location, PostgresURL)
    assert location.hide("the password p is not accepted") == "the password *** is not accepted"


@pytest.mark.parametrize("url", ["ada:hunter2@db/chat", "a:hunter2", "postgresql:ada:hunter2@db"])
def test_no_letter_of_a_password_is_shown_of_what_is_no_url(url: str) -> None:
    with pytest.raises(InvalidURL) as raised:
        parse(url)
    assert "hu" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "kind", "shown"),
    [
        ("redis://:p%40ss@h:6379/0", "redis", "redis://:***@h:6379/0"),
        ("rediss://h", "redis", "rediss://h"),
        ("valkey://u:p%40ss@h", "valkey", "valkey://u:***@h"),
        ("mongodb+srv://u:p%40ss@h/chat?w=1", "mongodb", "mongodb+srv://u:***@h/chat?w=1"),
        (
            "mongodb://h/chat?tlsCertificateKeyFilePassword=p%40ss&authMechanismProperties=p%40ss",
            "mongodb",
            "mongodb://h/chat?tlsCertificateKeyFilePassword=***&authMechanismProperties=***",
        ),
        ("mysql://u@h/chat?password=p%40ss&charset=utf8mb4", "mysql", "mysql://u@h/chat?password=***&charset=utf8mb4"),
        ("DynamoDB://chat?region=eu-central-1", "dynamodb", "DynamoDB://chat?region=eu-central-1"),
    ],
)
def test_the_url_of_another_checkpointer_is_refused_by_ours_and_shows_no_password(
    url: str, kind: str, shown: str
) -> None:
    location = parse_any(url)
    assert isinstance(location, OtherURL)
    assert (location.kind, str(location)) == (kind, shown)
    assert location.secrets == ({"p%40ss", "p@ss"} if "p%40ss" in url else set())
    assert "p%40ss" not in repr(location)
    with pytest.raises(InvalidURL, match="is a database of another checkpointer") as raised:
        parse(url)
    assert f"holdfast db copy {shown} sqlite:///chat.db" in str(raised.value)


def test_every_kind_of_another_checkpointer_has_an_extra_and_what_opens_it() -> None:
    extras = tomllib.loads((HOUSE / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    kinds = {location.kind for scheme in OTHER_KINDS if isinstance(location := parse_any(f"{scheme}://h"), OtherURL)}
    assert kinds == set(OPENERS)
    assert kinds <= set(extras)
