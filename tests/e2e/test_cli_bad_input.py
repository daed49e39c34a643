"""Whatever is wrong, the command line says it in one line with the right exit code, and the thread works afterwards."""

from __future__ import annotations

import inspect
import json
import os
import re
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from holdfast.checkpoints import HoldfastSaver, Interrupts, open_checkpointer
from holdfast.checkpoints.extras import install_command
from holdfast.cli import chat
from holdfast.cli.errors import Mistake
from tests.support.cli_kit import Cli, run
from tests.support.forked import environment
from tests.support.stub_openai import KEY, Reply, breaks_off, hangs, refuses, says, stub_openai

ASKED = "Please refund order 1001."


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
        (["chat", "--database", "oracle://ada:secret@db/x"], "Unknown kind of database 'oracle'"),
        (["chat", "--database", "sqlite://chat.db"], "three slashes.*Did you mean sqlite:///chat.db"),
        (["chat", "--database", "sqlite:///x.db?timeout=secret"], "timeout is a number of seconds"),
        (["chat", "--thread", ""], "The thread_id '' cannot be used"),
        (["chat", "--thread", "x" * 10_000], "1 to 1024 bytes of text without NUL"),
        (["chat", "--thread", "a\0b"], r"The thread_id 'a\\x00b' cannot be used"),
        (["chat", "--thread", "\udcff"], "Argument 3 is not UTF-8"),
        (["chat", "--retry", "--thread", "new"], "nothing to retry in thread 'new'"),
        (["approvals", "list", "--limit", "0"], "Invalid value for '--limit'"),
        (["approvals", "edit", "3f9a"], "Missing option '--args'"),
        (["approvals", "edit", "--args", "{"], "--args is not JSON: .*Needed: a JSON object"),
        (["approvals", "edit", "--args", "[1]"], r"--args is not a JSON object: found \[1\]. Needed: a JSON object"),
        (["approvals", "respond"], "Missing option '--message'"),
        (["demo", "--database", "memory://"], "memory:// is deleted when its process ends"),
        (["demo", "--database", "nonsense"], "No database URL"),
        (["threads", "export", "ada-1", "--format=pdf"], "Invalid value for '--format': 'pdf' is not one of"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(cli: Cli, arguments: list[str], said: str) -> None:
    line = cli.refused(*arguments)
    assert re.search(said, line), line
    assert "secret" not in line
    if any(cli.folder.iterdir()):  # else nothing was touched
        cli.works()


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["approvals", "list", "--thread", "unknown"], "There is no thread 'unknown' in this database"),
        (["approvals", "approve"], "Nothing waits now"),
        (
            ["approvals", "show", "3f9a"],
            "No call waits under the id '3f9a': it was decided or closed, or never existed",
        ),
    ],
)
def test_a_mistake_about_what_waits_is_one_line_and_exit_code_2(cli: Cli, arguments: list[str], said: str) -> None:
    cli.works()
    line = cli.refused(*arguments)
    assert re.search(said, line), line


@pytest.mark.sweep(every=8)
@pytest.mark.parametrize(
    "thread_id", ["../../etc/passwd", "o'br\"ien; DROP TABLE checkpoints", "\u200fright", "%s", "-x"]
)
def test_an_odd_thread_id_is_just_a_name(cli: Cli, thread_id: str) -> None:
    cli.works(thread_id)
    assert {path.name.split("-")[0] for path in cli.folder.iterdir()} <= {"holdfast.db", "shop.db"}


@pytest.mark.sweep(every=8)
@pytest.mark.parametrize(
    "text",
    [
        "NUL \0 here",
        "\u202eright to left",
        "\x1b[2J\x1b]0;title\x07 and [bold red]markup[/]",
        pytest.param("5MB" * 1_700_000, marks=pytest.mark.sweep),
    ],
)
def test_an_odd_text_is_kept_as_it_is_and_shown_without_effect(
    cli: Cli, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_CONTEXT", "off")  # else only the two ends of a text that long are remembered
    code, out, _ = cli("chat", "--thread=ada-1", said=f"{text}\nWhat did I say first?\n".encode())
    assert code == 0
    assert not set(out) & {"\0", "\x1b", "\x07", "\u202e"}
    assert re.sub(r"[\0\x1b\x07\u202e]", lambda sign: f"<U+{ord(sign[0]):04X}>", text) in out
    code, out, _ = cli("chat", "--thread=ada-1", "--json", said=b"What did I say first?")
    assert json.loads(out.splitlines()[-1])["text"] == f'The first thing you wrote was: "{text}"'


def test_input_that_is_not_text_is_refused_by_its_line(cli: Cli) -> None:
    assert cli.refused("chat", "--thread=ada-1", said=b"Hello\n\xed\xa0\x80 lone\n") == (
        "Line 2 of the input is not UTF-8, so it was not sent."
    )
    cli.works()
    _, out, _ = cli("chat", "--thread=ada-1", said=b"What did I say first?")
    assert '"Hello"' in out


# --- databases


def test_a_mistyped_variable_is_told_and_the_command_does_its_work(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_DATABSE", "sqlite:///secret-name.db")
    cli("chat", said=b"Hello\n")
    code, out, err = cli("threads", "list")
    assert (code, "Hello" in out) == (0, True)
    assert err == "HOLDFAST_DATABSE is no setting, and changes nothing. Is HOLDFAST_DATABASE meant?\n"


@pytest.mark.sweep
def test_a_database_that_is_a_folder_or_something_else(cli: Cli) -> None:
    (cli.folder / "folder.db").mkdir()
    assert "folder.db" in cli.refused("chat", "--database=sqlite:///folder.db", code=1)
    (cli.folder / "letter.db").write_text("Dear Grace,\n" * 100)
    assert "letter.db" in cli.refused("approvals", "list", "--database=sqlite:///letter.db", code=1)
    assert "missing" in cli.refused("chat", "--database=sqlite:///missing/chat.db", code=1)
    cli.works()


def test_a_database_that_is_read_only(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.works()
    (cli.folder / "holdfast.db").chmod(0o400)
    with monkeypatch.context() as patch:
        if os.geteuid() == 0:  # nothing is read-only for root: answer as the system answers everybody else
            patch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
        line = cli.refused("chat", "--thread=ada-1", said=b"Hello", code=1)
    assert "holdfast.db" in line
    assert "read-only" in line
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
    monkeypatch.delitem(sys.modules, "holdfast.checkpoints.backends.postgres", raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert install_command("postgres") in cli.refused("chat", "--database=postgresql://db/x")


def test_a_model_client_that_is_not_installed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "holdfast.graph.models.openai", raising=False)
    monkeypatch.setitem(sys.modules, "openai", None)
    assert install_command("openai") in cli.refused("chat", "--model=openai:gpt-5")


# --- settings


def test_a_bad_setting_is_named_and_its_value_is_not(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    (cli.folder / ".env").write_text("HOLDFAST_MODEL_TIMEOUT=sk-secret\nHOLDFAST_DATABASE=sk-secret-too\n")
    line = cli.refused("chat")
    assert "HOLDFAST_MODEL_TIMEOUT cannot be used" in line
    assert "HOLDFAST_DATABASE cannot be used" in line
    assert "secret-too" not in line
    (cli.folder / ".env").write_bytes(b"HOLDFAST_MODEL=\xff")
    assert "The file .env is not UTF-8" in cli.refused("approvals", "list")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://ada:sesame@localhost/v1")
    (cli.folder / ".env").unlink()
    assert "Set HOLDFAST_MODEL=openai:NAME" in cli.refused("chat")
    line = cli.refused("chat", "--model=openai:x")
    assert "without a user or a password" in line
    assert "sesame" not in line


# --- models


@pytest.mark.sweep(every=8)
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
        retry = "Your message is saved. To try again: holdfast chat --thread ada-1 --retry --model openai:stub"
        assert line.endswith(retry)
        code, out, _ = cli("chat", "--thread=ada-1", "--model=openai:stub", "--retry")
        assert (code, out) == (0, "Here I am.\n")
        assert [message["role"] for message in endpoint.requests[-1]["messages"]] == ["system", "user"]
    cli.works()


# --- what is broken, and defects


def test_a_shop_that_cannot_be_opened_costs_no_message(cli: Cli) -> None:
    code, out, err = cli("chat", "--thread=ada-1", f"--shop={cli.folder}", said=b"List the orders of Ada")
    assert "Traceback" not in out + err
    assert code in (0, 1)
    cli.works()


def test_a_busy_thread_is_said_with_who_holds_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(inspect.unwrap(HoldfastSaver.alease).__kwdefaults__, "wait", 0.0)
    with open_checkpointer("sqlite:///holdfast.db") as saver, saver.lease("ada-1", owner="Grace"):
        line = cli.refused("chat", "--thread=ada-1", said=b"Hello", code=1)
    assert "is busy: Grace has held it" in line
    assert line.endswith("Your message was not saved.")
    cli.works()


def test_a_defect_is_one_line_too_and_debug_shows_where(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("by zero, with sk-secret-key")

    cli.works()
    monkeypatch.setattr(Interrupts, "waiting", broken)
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


@pytest.mark.sweep
def test_a_missing_extra_is_said(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError(\"No module named 'typer'\", name='typer')")
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import holdfast.cli"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        2,
        f"The command line needs 'typer'. Install it: {install_command('cli')}\n",
    )


def test_a_chat_on_a_terminal_says_which_package_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("holdfast.cli.chat.interactive", "holdfast.cli.chat.editor"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "prompt_toolkit", None)

    with pytest.raises(Mistake, match=r"A chat on a terminal needs 'prompt_toolkit'\. Install it: pip install "):
        chat._interactive()


@pytest.mark.sweep
def test_a_real_process_ends_with_the_same_codes(tmp_path: Path) -> None:
    refused = run("chat", "--database", "nonsense", cwd=tmp_path, anew=True)
    assert (refused.returncode, refused.stdout, len(refused.stderr.splitlines())) == (2, "", 1)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["threads", "list", "--limit", "many"], "'--limit': it is 'many', and has to be a whole number"),
        (["threads", "list", "--limit", "0"], "'--limit': it is '0', and has to be at least 1"),
        (["serve", "--port", "http"], "'--port': it is 'http', and has to be a whole number"),
        (["threads", "list", "--status", "asleep"], "'asleep' is not one of 'running', 'paused'"),
    ],
)
def test_an_option_of_a_wrong_type_is_said_without_the_words_of_a_library(cli: Cli, words: list[str], why: str) -> None:
    line = cli.refused(*words)
    assert why in line
    assert line.endswith(f"See: holdfast {' '.join(words[: words.index(words[-2])])} --help")
