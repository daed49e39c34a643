"""Whatever is wrong, the command line says it in one line with the right exit code, and the thread works afterwards."""

from __future__ import annotations

import io
import json
import os
import re
import sqlite3
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.cli import main
from checkpoints import HoldfastSaver, open_checkpointer
from graph.tools import Shop
from tests.e2e.test_cli import run
from tests.stub_openai import KEY, Reply, breaks_off, hangs, refuses, says, stub_openai
from tests.terminal import environment

ASKED = "Please refund order 1001."


class Cli:
    """`holdfast` in this process, in an empty folder and a clean environment."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str, said: bytes = b"") -> tuple[int, str, str]:
        stdin = SimpleNamespace(buffer=io.BytesIO(said), isatty=lambda: False)
        self._monkeypatch.setattr(sys, "stdin", stdin)
        code = main(arguments)
        out, err = self._capsys.readouterr()
        return code, out, err

    def refused(self, *arguments: str, said: bytes = b"", code: int = 2) -> str:
        """The one line with which something is refused."""
        found, out, err = self(*arguments, said=said)
        *before, line = err.splitlines()
        assert found == code, (found, err)
        assert all(text.startswith(("Thread ", "Model: ")) for text in before), err
        assert "Traceback" not in out + err
        assert "defect" not in line
        return line

    def works(self, thread_id: str = "ada-1") -> None:
        code, out, _ = self(
            "chat", f"--thread={thread_id}", "--model=offline", said=b"My name is Ada.\nWhat is my name?\n"
        )
        assert (code, out.splitlines()[-1]) == (0, "Your name is Ada.")


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    monkeypatch.chdir(tmp_path)
    for name in set(os.environ) - set(environment()):
        monkeypatch.delenv(name)
    return Cli(tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["chat", "--thraed", "x"], "No such option: --thraed.*See: holdfast chat --help"),
        (["chat", "--thread"], "Option '--thread' requires an argument"),
        (["chat", "and", "more"], "unexpected extra argument"),
        (["chat", "--model", "gpt-5"], "--model cannot be used: There is no chat model 'gpt-5'"),
        (["chat", "--model", "openai:gpt-5"], "needs an API key and there is none. Set OPENAI_API_KEY"),
        (["chat", "--database", "nonsense"], "--database cannot be used: No database URL: found 'nonsense'"),
        (["chat", "--database", ""], "--database cannot be used"),
        (["chat", "--database", "mysql://ada:secret@db/x"], "Unknown kind of database 'mysql'"),
        (["chat", "--database", "sqlite://chat.db"], "three slashes.*Did you mean sqlite:///chat.db"),
        (["chat", "--database", "sqlite:///x.db?timeout=secret"], "timeout is a number of seconds"),
        (["chat", "--thread", ""], "The thread_id '' cannot be used"),
        (["chat", "--thread", "x" * 10_000], "1 to 1024 bytes of text without NUL"),
        (["chat", "--thread", "a\0b"], r"The thread_id 'a\\x00b' cannot be used"),
        (["chat", "--thread", "\udcff"], "Argument 3 is not UTF-8"),
        (["chat", "--retry", "--thread", "new"], "nothing to retry in thread 'new'"),
        (["approvals", "list", "--thread", "unknown"], "There is no thread 'unknown' in this database"),
        (["approvals", "list", "--limit", "0"], "Invalid value for '--limit'"),
        (["approvals", "approve"], "Nothing waits now"),
        (["approvals", "show", "3f9a"], "No call waits under '3f9a': it was answered or closed already"),
        (["approvals", "edit", "3f9a"], "Missing option '--args'"),
        (["approvals", "edit", "--args", "{"], "--args is not JSON: .*It takes a JSON object"),
        (["approvals", "edit", "--args", "[1]"], r"--args takes a JSON object.*; found \[1\]"),
        (["approvals", "respond"], "Missing option '--message'"),
        (["demo", "--database", "memory://"], "memory:// ends with its process"),
        (["demo", "--database", "nonsense"], "No database URL"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(cli: Cli, arguments: list[str], said: str) -> None:
    line = cli.refused(*arguments)
    assert re.search(said, line), line
    assert "secret" not in line
    cli.works()


@pytest.mark.parametrize(
    "thread_id", ["../../etc/passwd", "o'br\"ien; DROP TABLE checkpoints", "\u200fright", "%s", "-x"]
)
def test_an_odd_thread_id_is_just_a_name(cli: Cli, thread_id: str) -> None:
    cli.works(thread_id)
    assert {path.name.split("-")[0] for path in cli.folder.iterdir()} <= {"holdfast.db", "shop.db"}


@pytest.mark.parametrize(
    "text",
    ["NUL \0 here", "\u202eright to left", "\x1b[2J\x1b]0;title\x07 and [bold red]markup[/]", "5MB" * 1_700_000],
)
def test_an_odd_text_is_kept_as_it_is_and_shown_without_effect(cli: Cli, text: str) -> None:
    code, out, _ = cli("chat", "--thread=ada-1", said=f"{text}\nWhat did I say first?\n".encode())
    assert code == 0
    assert not set(out) & {"\0", "\x1b", "\x07", "\u202e"}
    assert re.sub(r"[\0\x1b\x07\u202e]", lambda sign: f"<U+{ord(sign[0]):04X}>", text) in out
    code, out, _ = cli("chat", "--thread=ada-1", "--json", said=b"What did I say first?")
    assert json.loads(out.splitlines()[-1])["text"] == f'The first thing you wrote was: "{text}"'


def test_input_that_is_not_text_is_refused_by_its_line(cli: Cli) -> None:
    assert cli.refused("chat", "--thread=ada-1", said=b"Hello\n\xed\xa0\x80 lone\n") == (
        "Line 2 of the input is not UTF-8, so it was not said."
    )
    cli.works()
    _, out, _ = cli("chat", "--thread=ada-1", said=b"What did I say first?")
    assert '"Hello"' in out


# --- databases


def test_a_database_that_is_a_folder_or_something_else(cli: Cli) -> None:
    (cli.folder / "folder.db").mkdir()
    assert "folder.db" in cli.refused("chat", "--database=sqlite:///folder.db", code=1)
    (cli.folder / "letter.db").write_text("Dear Grace,\n" * 100)
    assert "letter.db" in cli.refused("approvals", "list", "--database=sqlite:///letter.db", code=1)
    assert "missing" in cli.refused("chat", "--database=sqlite:///missing/chat.db", code=1)
    cli.works()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_database_that_is_read_only(cli: Cli) -> None:
    cli.works()
    (cli.folder / "holdfast.db").chmod(0o400)
    assert "holdfast.db" in cli.refused("chat", "--thread=ada-1", said=b"Hello", code=1)
    (cli.folder / "holdfast.db").chmod(0o600)
    cli.works()


def test_a_database_from_the_future_is_not_touched(cli: Cli) -> None:
    cli.works()
    with sqlite3.connect(cli.folder / "holdfast.db") as database:
        database.execute("UPDATE holdfast_schema SET min_reader = 999 WHERE version = 1")
    database.close()
    assert "999" in cli.refused("chat", "--thread=ada-1", said=b"Hello", code=1)


def test_a_postgres_that_does_not_answer_is_said_within_seconds_and_without_the_password(cli: Cli) -> None:
    url = "postgresql://ada:sesame@127.0.0.1:1/none"
    begun = time.monotonic()
    line = cli.refused("approvals", "list", f"--database={url}", code=1)
    assert time.monotonic() - begun < 5
    assert "postgresql://ada:***@127.0.0.1:1/none" in line
    code, out, err = cli("chat", "--debug", f"--database={url}")
    assert code == 1
    assert "Traceback" in err
    assert "sesame" not in line + out + err


def test_a_driver_that_is_not_installed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "checkpoints.postgres", raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert "pip install 'holdfast[postgres]'" in cli.refused("chat", "--database=postgresql://db/x")


def test_a_model_client_that_is_not_installed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "graph.endpoint", raising=False)
    monkeypatch.setitem(sys.modules, "openai", None)
    assert "pip install 'holdfast[openai]'" in cli.refused("chat", "--model=openai:gpt-5")


# --- settings


def test_a_bad_setting_is_named_and_its_value_is_not(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    (cli.folder / ".env").write_text("HOLDFAST_MODEL_TIMEOUT=sk-secret\nHOLDFAST_DATABASE=sk-secret-too\n")
    line = cli.refused("chat")
    assert "HOLDFAST_MODEL_TIMEOUT cannot be used" in line
    assert "HOLDFAST_DATABASE cannot be used" in line
    assert "secret-too" not in line
    (cli.folder / ".env").write_bytes(b"HOLDFAST_MODEL=\xff")
    assert "The file .env is not text in UTF-8" in cli.refused("approvals", "list")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://ada:sesame@localhost/v1")
    (cli.folder / ".env").unlink()
    assert "Set HOLDFAST_MODEL=openai:NAME" in cli.refused("chat")
    line = cli.refused("chat", "--model=openai:x")
    assert "without a user or a password" in line
    assert "sesame" not in line


# --- approvals


def test_an_id_may_be_shortened_while_it_is_clear_which_call_is_meant(cli: Cli) -> None:
    for thread_id, text in [("a", "Refund order 1001. Refund order 1002."), ("b", "Refund order 1003.")]:
        assert cli("chat", f"--thread={thread_id}", said=text.encode())[0] == 0
    _, out, _ = cli("approvals", "list", "--json")
    ids = {item["args"]["order_id"]: item["interrupt_id"] for item in json.loads(out)}
    assert list(ids) == [1003, 1001, 1002]
    assert "Which call is meant? Give more of its id, or --thread" in cli.refused("approvals", "approve")
    assert "Which call is meant?" in cli.refused("approvals", "approve", "--thread=a")
    assert "No call waits under 'nonsense'" in cli.refused("approvals", "approve", "nonsense")
    assert "No call waits under" in cli.refused("approvals", "approve", ids[1003], "--thread=a")

    code, out, err = cli("approvals", "show", ids[1003][:10])
    assert (code, err) == (0, "")
    assert "you    Refund order 1003." in out
    assert f"holdfast approvals approve {ids[1003][:8]}" in out

    code, _, err = cli("approvals", "reject", ids[1001][:10], "--reason=Too late")
    assert code == 0
    assert "Waits for a person: Refund order 1002 in full?" in err
    assert "order_id" in cli.refused("approvals", "edit", ids[1002], '--args={"order_id": "blue"}')
    code, out, _ = cli("approvals", "edit", "--thread=a", '--args={"order_id": 1004}', "--json")
    assert (code, json.loads(out)["decision"], json.loads(out)["waiting"]) == (0, "edit", [])
    assert "answered or closed already" in cli.refused("approvals", "approve", ids[1002])
    code, out, _ = cli("approvals", "respond", "--message=Done by hand.")
    assert (code, "Done by hand." in out) == (0, True)
    assert Shop(cli.folder / "shop.db").count("refunds") == 1
    assert cli("approvals", "list")[1] == "Nothing waits for a person.\n"


def test_looking_needs_no_key(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("chat", said=ASKED.encode())
    monkeypatch.setenv("HOLDFAST_MODEL", "openai:gpt-5")
    assert cli("approvals", "list")[0] == cli("approvals", "show")[0] == 0
    assert "OPENAI_API_KEY" in cli.refused("approvals", "approve")
    monkeypatch.delenv("HOLDFAST_MODEL")
    assert cli("approvals", "approve")[0] == 0


def test_a_decision_is_kept_when_the_model_fails_after_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("chat", "--thread=ada-1", said=ASKED.encode())
    with stub_openai(refuses(429), says("It is refunded.")) as endpoint:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        monkeypatch.setenv("HOLDFAST_MODEL_RETRIES", "0")
        line = cli.refused("approvals", "approve", "--model=openai:gpt-stub", code=1)
        assert "takes no more requests for now (429)" in line
        assert line.endswith(
            "The decision is kept. To go on: holdfast chat --thread ada-1 --retry --model openai:gpt-stub"
        )
        assert KEY not in line
        assert "Nothing waits now" in cli.refused("approvals", "approve", "--model=offline")
        code, out, _ = cli("chat", "--thread=ada-1", "--retry", "--model=openai:gpt-stub")
        assert (code, out) == (0, "It is refunded.\n")
    assert Shop(cli.folder / "shop.db").count("refunds") == 1


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (refuses(401), "does not accept the API key (401)"),
        (refuses(429), "takes no more requests for now (429)"),
        (refuses(500), "failed (500)"),
        (hangs("one two "), "did not answer in time"),
        (breaks_off("one two ", rudely=True), "broke the connection off"),
        (breaks_off("one two ", rudely=False), "gave an answer that cannot be used"),
    ],
)
def test_a_model_that_fails_is_one_line_and_the_message_is_kept(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, reply: Reply, said: str
) -> None:
    with stub_openai(reply, says("Here I am.")) as endpoint:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        monkeypatch.setenv("HOLDFAST_MODEL_RETRIES", "0")
        monkeypatch.setenv("HOLDFAST_MODEL_TIMEOUT", "0.3")
        line = cli.refused("chat", "--thread=ada-1", "--model=openai:stub", said=b"Hello?", code=1)
        assert said in line
        assert KEY not in line
        retry = "Your message is kept. To try again: holdfast chat --thread ada-1 --retry --model openai:stub"
        assert line.endswith(retry)
        code, out, _ = cli("chat", "--thread=ada-1", "--model=openai:stub", "--retry")
        assert (code, out) == (0, "Here I am.\n")
        assert [message["role"] for message in endpoint.requests[-1]["messages"]] == ["system", "user"]
    cli.works()


def test_a_line_from_a_pipe_closes_what_waited_and_says_so(cli: Cli) -> None:
    cli("chat", "--thread=ada-1", said=ASKED.encode())
    code, _, err = cli("chat", "--thread=ada-1", said=b"What is my name?")
    assert code == 0
    assert err.splitlines()[-1] == "Nobody decided, so it is closed as not run: Refund order 1001 in full"
    assert cli("approvals", "list")[1] == "Nothing waits for a person.\n"


def test_who_decides_is_not_whose_conversation_it_is(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "grace")
    cli("chat", "--thread=ada-1", "--user=ada", said=ASKED.encode())
    cli("approvals", "approve")
    with open_checkpointer("sqlite:///holdfast.db") as saver:
        found = saver.get_tuple({"configurable": {"thread_id": "ada-1"}})
    assert found is not None
    assert found.metadata.get("user_id") == "ada"
    [decided] = [m for m in found.checkpoint["channel_values"]["messages"] if getattr(m, "name", "") == "refund_order"]
    assert decided.additional_kwargs["approval"]["by"] == "grace"


def test_one_damaged_thread_does_not_hide_the_others(cli: Cli) -> None:
    for thread_id in ("a", "b"):
        cli("chat", f"--thread={thread_id}", said=ASKED.encode())
    with sqlite3.connect(cli.folder / "holdfast.db") as database:
        database.execute("DELETE FROM holdfast_messages WHERE thread_id = 'b' AND seq = 1")
    database.close()
    code, out, err = cli("approvals", "list")
    assert (code, "thread a" in out) == (0, True)
    assert "Thread 'b' is damaged" in err
    assert "Thread 'b' is damaged" in cli.refused("chat", "--thread=b", said=b"Hello", code=1)


# --- what is broken, and defects


def test_a_shop_that_cannot_be_opened_costs_no_message(cli: Cli) -> None:
    code, out, err = cli("chat", "--thread=ada-1", f"--shop={cli.folder}", said=b"List the orders of Ada")
    assert "Traceback" not in out + err
    assert code in (0, 1)
    cli.works()


def test_a_busy_thread_is_said_with_who_holds_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graph.conversation.Conversation.__init__.__kwdefaults__", {"wait": 0.0})
    with open_checkpointer("sqlite:///holdfast.db") as saver, saver.lease("ada-1", owner="Grace"):
        line = cli.refused("chat", "--thread=ada-1", said=b"Hello", code=1)
    assert "is busy: Grace has held it" in line
    assert line.endswith("Your message was not saved.")
    cli.works()


def test_a_defect_is_one_line_too_and_debug_shows_where(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("by zero, with sk-secret-key")

    monkeypatch.setattr(HoldfastSaver, "paused", broken)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-key")
    code, _, err = cli("approvals", "list")
    assert (code, len(err.splitlines())) == (1, 1)
    assert "This is a defect of Holdfast; --debug shows where" in err
    assert "sk-secret-key" not in err
    for arguments in (["--debug", "approvals", "list"], ["approvals", "list", "--debug"]):
        code, _, err = cli(*arguments)
        assert code == 1
        assert "in broken" in err
        assert "sk-secret-key" not in err


def test_a_missing_extra_is_said(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError(\"No module named 'typer'\", name='typer')")
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import app.cli"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        2,
        "The command line needs 'typer'. Install it: pip install 'holdfast[cli]'\n",
    )


def test_a_real_process_ends_with_the_same_codes(tmp_path: Path) -> None:
    refused = run("chat", "--database", "nonsense", cwd=tmp_path)
    assert (refused.returncode, refused.stdout, len(refused.stderr.splitlines())) == (2, "", 1)
