"""What `holdfast serve` refuses before anything is served, in one line each."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast import cli
from holdfast.server import run
from holdfast.server.access import TokenFile
from tests.support.serving import HOUSE, clean_environment, free_port


@pytest.fixture
def start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """`holdfast serve` in an empty folder, where it cannot: gives its exit code and the one line that it says."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ.keys() - clean_environment().keys():
        monkeypatch.delenv(name)

    def started(*options: str) -> tuple[int, str]:
        code = cli.main(["serve", *options])
        out, err = capsys.readouterr()
        [line] = err.splitlines()
        assert (out, list(tmp_path.glob("*.db"))) == ("", [])
        return code, line

    return started


def test_the_server_serves_what_langgraph_json_says() -> None:
    assert run._read(HOUSE / "langgraph.json") == run.OURS


def test_a_port_that_is_taken_is_refused(start: Callable[..., tuple[int, str]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, line = start("--port", str(port))
    assert (code, f"Cannot listen on 127.0.0.1, port {port}: Address already in use." in line) == (2, True), line


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(run.CannotServe, match="Set an address of this machine by --host"):
        run.check_port("192.0.2.7", free_port())


def test_an_address_that_others_reach_is_refused_without_access_control(start: Callable[..., tuple[int, str]]) -> None:
    code, line = start("--port", str(free_port()), "--host", "0.0.0.0")  # noqa: S104 - it is refused
    assert code == 2
    assert "0.0.0.0 can be reached from other machines, and no access control is set up" in line


def test_a_database_that_does_not_answer_is_one_line_before_anything_is_served(
    start: Callable[..., tuple[int, str]],
) -> None:
    url = "postgresql://ada:xk2SECRET@127.0.0.1:1/none"
    code, line = start("--port", str(free_port()), "--database", url)
    assert code == 1
    assert "Cannot open the PostgreSQL database postgresql://ada:***@127.0.0.1:1/none" in line
    assert "xk2SECRET" not in line


def test_names_are_needed_to_listen_on_all_addresses(
    start: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    TokenFile(tmp_path / "tokens.jsonl").add("ada")
    monkeypatch.setenv("HOLDFAST_TOKENS", "tokens.jsonl")
    code, line = start("--port", str(free_port()), "--host", "0.0.0.0")  # noqa: S104 - it is refused
    assert (code, "Needed: HOLDFAST_HOSTS" in line) == (2, True), line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--config", "missing.json"], "Cannot read missing.json"),
        (["--config", "empty.json"], "names no graph"),
        (["--config", "own.json"], "names a checkpointer or an HTTP app."),
        (["--model", "openai:gpt-stub", "--database", "memory://"], "needs an API key"),
        (["--config", "prefix.json"], "names a mount_prefix."),
        (["--config", "auth.json"], "names an auth without its path."),
        (["--workers", "none"], "Invalid value for '--workers'"),
        (["--router", "--config", "own.json"], "The router serves one agent"),
        (["--router", "--database", "redis://localhost"], "needs a database of Holdfast's own"),
    ],
)
def test_options_that_cannot_be_served_are_refused_in_one_line(
    start: Callable[..., tuple[int, str]], tmp_path: Path, options: list[str], words: str
) -> None:
    (tmp_path / "empty.json").write_text("{}")
    (tmp_path / "own.json").write_text('{"graphs": {"a": "b:c"}, "checkpointer": {"path": "./d.py:e"}}')
    (tmp_path / "prefix.json").write_text('{"graphs": {"a": "b:c"}, "http": {"mount_prefix": "/chat"}}')
    (tmp_path / "auth.json").write_text('{"graphs": {"a": "b:c"}, "auth": {"disable_studio_auth": false}}')
    code, line = start("--port", str(free_port()), *options)
    assert code == 2
    assert words in line
