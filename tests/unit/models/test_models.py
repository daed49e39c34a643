"""Models by their names, and the errors for names, keys and addresses that are wrong."""

from __future__ import annotations

import builtins
import re
import sys
from typing import Any

import pytest

from holdfast.checkpoints.extras import install_command
from holdfast.graph import build_graph
from holdfast.graph.models import chat_model
from holdfast.graph.models.offline import WHAT_I_AM
from tests.support.stub_openai import KEY


@pytest.mark.sweep
def test_a_model_without_a_key_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match=r"^The model 'openai:gpt-stub' needs an API key[^\n]*OPENAI_API_KEY[^\n]*$"):
        build_graph(model="openai:gpt-stub")


@pytest.mark.sweep
def test_a_missing_package_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "holdfast.graph.models.openai", raising=False)
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("langchain_openai"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=f"needs langchain-openai.*{re.escape(install_command('openai'))}"):
        chat_model("openai:gpt-stub", api_key=KEY)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://localhost/v1", f"http://ada:{KEY}@localhost/v1", "http://"])
def test_an_invalid_address_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="base URL") as raised:
        chat_model("openai:gpt-stub", api_key=KEY, base_url=url)
    assert KEY not in str(raised.value)


@pytest.mark.parametrize("name", ["gpt-stub", "openai:", "openai", "offline:fast"])
def test_an_unknown_name_says_what_is_known(name: str) -> None:
    with pytest.raises(ValueError, match=r"'offline'.*'openai:NAME'"):
        chat_model(name)


def test_other_providers_are_named_as_langchain_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr(
        "holdfast.graph.models.langchain.init_chat_model", lambda *args, **options: made.append((args, options))
    )
    chat_model("anthropic:claude-stub:1", retries=5, timeout=7.0)
    assert made == [(("claude-stub:1",), {"model_provider": "anthropic", "max_retries": 5, "timeout": 7.0})]


def test_a_provider_that_is_not_there_is_one_clear_line() -> None:
    with pytest.raises(ImportError, match="langchain-groq"):
        chat_model("groq:stub")
    with pytest.raises(ValueError, match="There is no chat model 'nowhere:stub': ") as raised:
        chat_model("nowhere:stub")
    assert len(str(raised.value).splitlines()) == 1


def test_a_missing_langchain_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "holdfast.graph.models.langchain", raising=False)
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    with pytest.raises(ImportError, match=f"needs LangChain.*{re.escape(install_command('langchain'))}"):
        chat_model("anthropic:stub")


def test_without_a_name_the_model_is_offline_and_says_so_once_a_thread() -> None:
    model = chat_model()
    first = model.invoke([("user", "Hello")])
    second = model.invoke([("user", "Hello"), first, ("user", "Thanks")])
    assert WHAT_I_AM in first.text
    assert WHAT_I_AM not in second.text


def test_a_key_without_a_name_sends_nothing_anywhere() -> None:
    with pytest.raises(ValueError, match="say which"):
        chat_model(api_key=KEY)


def test_a_key_shows_in_no_repr() -> None:
    model = chat_model("openai:gpt-stub", api_key=KEY)
    assert KEY not in f"{model!r} {model} {model.model_dump()}"


@pytest.mark.parametrize("given", [True, False])
def test_a_key_may_end_with_the_end_of_its_line(monkeypatch: pytest.MonkeyPatch, given: bool) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-a-file\n")
    model = chat_model("openai:gpt-stub", api_key=" sk-from-a-file\r\n" if given else None)
    assert model.openai_api_key.get_secret_value() == "sk-from-a-file"  # type: ignore[attr-defined]


@pytest.mark.parametrize("key", ["sk-\nsecret", "sk-s\u00e9cret", "sk-\0secret"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match="The API key holds a character that cannot be sent") as refused:
        chat_model("openai:gpt-stub", api_key=key)
    assert "cret" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://localhost:99999/v1", "http://[::1/v1", "http://localhost:x/v1"])
def test_an_address_that_cannot_be_read_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="The base URL of a model endpoint is"):
        chat_model("openai:gpt-stub", api_key="sk-key", base_url=url)


def test_a_client_that_quotes_the_key_as_python_writes_it_does_not_show_it() -> None:
    from holdfast.graph.models.openai import failure  # imports the client, which takes every worker a second

    error = failure(ValueError("Illegal header value b'Bearer sk-\\nkey'"), "http://localhost/v1", "stub", "sk-\nkey")
    assert "sk-" not in str(error)
