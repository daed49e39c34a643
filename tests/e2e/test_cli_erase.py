"""`holdfast threads delete` with a receipt, and `holdfast threads verify` of it."""

from __future__ import annotations

import json
from pathlib import Path

from holdfast import open_store
from holdfast.checkpoints import open_checkpointer
from tests.support.cli_kit import Cli
from tests.support.kit import echo_graph, thread


def test_a_user_is_erased_with_a_receipt_that_can_be_verified(cli: Cli, sqlite_url: str, tmp_path: Path) -> None:
    with open_checkpointer(sqlite_url) as saver, open_store(sqlite_url) as store:
        for user, thread_id in (("ada", "ada-1"), ("ada", "ada-2"), ("bob", "bob-1")):
            echo_graph(saver).invoke({"messages": [("user", "zqsecretqz")]}, thread(thread_id, user_id=user))
        store.put(("ada", "facts"), "colour", {"is": "blue"})
        saver.threads.delete("bob-1")
    on, files = f"--database={sqlite_url}", [tmp_path / "receipt.json", tmp_path / "receipt.txt"]

    def run(*words: str, code: int = 0) -> str:
        found, out, err = cli("threads", *words)
        assert found == code, err
        return out

    erase = ("delete", on, "--user=ada", "--yes", "--vacuum", "--reason=asked for", "--by=eve")
    assert run(*erase, f"--receipt={files[0]}") == "2 conversations and 17 rows erased.\n"
    receipt = json.loads(files[0].read_text())
    assert (receipt["by"], receipt["reason"], receipt["rows"]["store"]) == ("eve", "asked for", 1)
    assert b"zqsecretqz" not in b"".join(path.read_bytes() for path in tmp_path.glob("holdfast.db*"))
    run(*erase, f"--receipt={files[0]}")  # which replaces it
    run(*erase, f"--receipt={files[1]}")
    assert json.loads(run("verify", str(files[1]), on, "--json"))["is_same"] is True
    assert "as it was written" in run("verify", str(files[0]))
    assert "The database has it on record" in run("verify", str(files[0]), on)  # also if there is a later one
    files[1].write_text(files[1].read_text().replace("eve", "bob"))
    assert "It is NOT as it was written." in run("verify", str(files[1]), code=1)
    assert json.loads(run("verify", str(files[1]), on, "--json", code=1))["is_same"] is False


def test_a_conversation_is_erased_and_mistakes_erase_nothing(cli: Cli, sqlite_url: str, tmp_path: Path) -> None:
    with open_checkpointer(sqlite_url) as saver:
        echo_graph(saver).invoke({"messages": [("user", "Hello")]}, thread("ada-1", user_id="ada"))
        saver.threads.copy("ada-1", "copy-1")
    other = tmp_path / "notes.txt"
    other.write_text("not a receipt")
    command = ("threads", "delete", f"--database={sqlite_url}", "--yes")
    for words, said in (
        (["ada-1", f"--receipt={other}"], "exists already"),
        (["--until=1d", "--vacuum"], "--until"),
        (["--user=ada", "--copies"], "Needed: THREAD"),
        (["ada-1", "--redact-others"], "without THREAD"),
        (["none-1", "--vacuum"], "no thread 'none-1'"),
    ):
        assert said in cli.refused(*command, *words)
    code, out, _ = cli(*command, "ada-1", "--copies", "--json")
    assert (code, json.loads(out)["threads"]) == (0, ["ada-1", "copy-1"])
    code, out, _ = cli(*command, "ada-1", "--reason=again")
    assert code == 0
    assert out.startswith("# Receipt of an erasure\n")
