"""Settings: from the environment, from `.env`, from options; what is wrong is named, and never quoted."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from holdfast import factory
from holdfast.checkpoints import open_checkpointer
from holdfast.graph import Conversation
from holdfast.server_settings import ServerSettings
from holdfast.settings import (
    OPENAI_DEFAULT,
    InvalidSettings,
    Settings,
    absolute,
    load,
    unknown,
)
from tests.support import forked
from tests.support.forked import HOUSE, environment

NAMES = [str(field.validation_alias) for field in Settings.model_fields.values()]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in, and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def table() -> str:
    """The settings as the guide to the command line shows them."""
    rows = []
    fields = Settings.model_fields
    for name in sorted(fields, key=lambda name: name in ServerSettings.model_fields):
        field = fields[name]
        default = "" if field.default is None else f"`{field.default:g}`" if isinstance(field.default, float) else None
        rows.append(
            f"| `{field.validation_alias}` | {f'`{field.default}`' if default is None else default} "
            f"| {field.description} |"
        )
    return "\n".join(["| variable | default | |", "|---|---|---|", *rows])


def test_the_table_in_the_readme_is_that_of_the_fields() -> None:
    page = HOUSE / "docs" / "guides" / "command-line.md"
    assert table() in page.read_text("utf-8"), f"put this into {page.name}:\n{table()}"


def test_nothing_set_is_a_file_here_and_no_model_that_costs() -> None:
    found = load()
    assert (found.database, found.model_name, found.shop) == ("sqlite:///holdfast.db", "offline", Path("shop.db"))


def test_an_option_goes_before_the_environment_and_that_before_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text("HOLDFAST_PORT=1\nHOLDFAST_WORKERS=1\nHOLDFAST_HOST=from-file\nOTHER=ignored\n")
    monkeypatch.setenv("HOLDFAST_PORT", "2")
    monkeypatch.setenv("HOLDFAST_WORKERS", "2")
    found = load(port=3, workers=None)
    assert (found.port, found.workers, found.host) == (3, 2, "from-file")


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_one_counts_as_not_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "")
    assert load() == Settings()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HOLDFAST_DATABASE", "oracle://ada:sk-secret@host/db", "Unknown kind of database 'oracle'"),
        ("HOLDFAST_DATABASE", "ada:sk-secret@host/db", "No database URL"),
        ("HOLDFAST_MODEL_RETRIES", "sk-secret", "it has to be a whole number.*how often a call to the model"),
        ("HOLDFAST_MODEL_RETRIES", "-1", "it has to be at least 0"),
        ("HOLDFAST_MODEL_TIMEOUT", "0", "it has to be more than 0.*seconds that"),
        ("HOLDFAST_MODEL_TIMEOUT", "inf", "finite"),
        ("HOLDFAST_PORT", "70000", "it has to be at most 65535.*the port that `serve` listens on"),
        ("HOLDFAST_WORKERS", "0", "at least 1"),
        ("HOLDFAST_POOL_SIZE", "0", "at least 1.*connections of a process to PostgreSQL"),
        ("HOLDFAST_CONTEXT", "all", "it has to be 'summarise', 'trim' or 'off'"),
        ("HOLDFAST_CONTEXT_BUDGET", "0", "it has to be more than 0.*tokens of messages that the model sees"),
        ("HOLDFAST_CONTEXT_LIMIT", "23999", "it is 23999, less than HOLDFAST_CONTEXT_BUDGET, which is 24000"),
        ("HOLDFAST_REDACT", "card,pin", "There is no pattern named 'pin'. Needed: some of card, email, iban, phone"),
        ("HOLDFAST_REDACT_PATTERN", "(sk-secret", "it is no regular expression"),
        ("HOLDFAST_MODEL", "gpt-5", "There is no chat model 'gpt-5'"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_what_is_needed(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidSettings, match=f"{name} cannot be used: .*({said})") as raised:
        load()
    assert "sk-secret" not in str(raised.value)


def test_both_pools_of_a_process_have_the_size_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_POOL_SIZE", "3")
    of_store: list[int] = []
    monkeypatch.setattr(factory, "open_store", lambda _url, *, pool_size: of_store.append(pool_size))
    found = load(database="postgresql://ada@localhost/chat")
    factory.make_store(found)
    backend: Any = factory.make_checkpointer(found).database.backend
    assert (backend.workers, of_store) == (3, [3])


def test_an_option_that_is_wrong_is_named_as_an_option() -> None:
    with pytest.raises(InvalidSettings, match="--port cannot be used"):
        load(port=0)


def test_all_that_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_PORT", "x")
    monkeypatch.setenv("HOLDFAST_WORKERS", "x")
    with pytest.raises(InvalidSettings, match=r"(?s)HOLDFAST_PORT.*HOLDFAST_WORKERS"):
        load()


def test_a_file_that_is_not_text_is_said(folder: Path) -> None:
    (folder / ".env").write_bytes(b"HOLDFAST_MODEL=\xff")
    with pytest.raises(InvalidSettings, match=r"\.env is not UTF-8"):
        load()


def test_a_mistyped_variable_is_told_with_the_setting_that_is_like_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_DATABSE", "sqlite:///chat.db")
    monkeypatch.setenv("HOLDFAST_PORT", "2025")
    (folder / ".env").write_text("HOLDFAST_MODLE=offline\nHOLDFAST_XYZ=1\nOTHER=1\n", "utf-8")
    assert unknown() == {
        "HOLDFAST_DATABSE": "HOLDFAST_DATABASE",
        "HOLDFAST_MODLE": "HOLDFAST_MODEL",
        "HOLDFAST_XYZ": None,
    }


def test_no_secret_shows_in_a_repr() -> None:
    found = load(
        database="postgresql://ada:sk-secret@host/db", openai_api_key="sk-secret", openai_base_url="http://sk-secret"
    )
    assert "sk-secret" not in repr(found) + str(found)


@pytest.mark.parametrize(
    ("key", "url", "model", "meant"),
    [
        (None, None, None, "offline"),
        ("sk", None, None, OPENAI_DEFAULT),
        ("sk", None, "offline", "offline"),
        ("sk", "http://localhost/v1", "openai:llama", "openai:llama"),
        (None, "http://localhost/v1", None, "offline"),
    ],
)
def test_which_model_is_meant(key: str | None, url: str | None, model: str | None, meant: str) -> None:
    assert load(openai_api_key=key, openai_base_url=url, model=model).model_name == meant


def test_which_model_an_endpoint_of_ones_own_has_is_not_guessed() -> None:
    found = load(openai_api_key="sk", openai_base_url="http://localhost/v1")
    with pytest.raises(InvalidSettings, match="HOLDFAST_MODEL=openai:NAME"):
        _ = found.model_name


@pytest.mark.parametrize("url", ["memory://", "postgresql://ada:pw@host/db?sslmode=disable"])
def test_the_url_of_a_database_that_is_no_file_stays_as_it_is(url: str) -> None:
    assert absolute(url) == url


def test_paths_are_named_in_full_for_a_process_elsewhere(folder: Path) -> None:
    found = load(database="sqlite:///a%20b.db?timeout=3", shop=Path("shop.db")).in_full()
    assert found.database == f"sqlite:///{folder}/a%20b.db?timeout=3"
    assert found.shop == folder / "shop.db"
    assert load(shop="~/shop.db").shop == Path.home() / "shop.db"


def test_another_process_has_the_same_settings(folder: Path) -> None:
    mine = load(
        database="sqlite:///chat.db?timeout=3",
        model="openai:gpt",
        openai_api_key="sk-secret",
        openai_base_url="http://localhost/v1",
        model_retries=0,
        model_timeout=1.5,
        context="trim",
        context_budget=100,
        context_limit=200,
        port=1,
        workers=3,
    ).in_full()
    assert isinstance(mine.openai_api_key, SecretStr)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / ".env").write_text("HOLDFAST_MODEL=offline\n")
    code = "from holdfast.settings import load; import json; print(json.dumps(load().environment()))"
    told = forked.run("-c", code, cwd=elsewhere, env=environment(**mine.environment()))
    assert json.loads(told.stdout) == mine.environment()


def test_the_agent_keeps_to_the_context_that_is_set() -> None:
    with open_checkpointer("memory://") as saver:
        ada = Conversation(factory.make_agent(load(context="trim", context_budget=100), saver), "ada-1")
        for number in range(9):
            ada.send(f"Hello, {number} times " + "so " * 20)
        assert 2 <= len(ada.context()) < len(ada.history()) == 18


def test_no_other_module_reads_the_environment() -> None:
    # The demo hands its own on to its processes, and the server's is prepared before it starts.
    readers = {
        str(path.relative_to(HOUSE))
        for floor in ("checkpoints", "graph", "holdfast")
        for path in (HOUSE / floor).rglob("*.py")
        if re.search(r"os\.(environ|getenv)", path.read_text("utf-8"))
    }
    assert not [name for name in readers if name.startswith(("graph/", "holdfast/cli/"))], readers
