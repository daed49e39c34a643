"""`holdfast db new-key`, `encrypt`, `rotate-keys` and `copy --plain`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.checkpoints import open_checkpointer
from tests.support.cli_kit import Cli
from tests.support.encryption_kit import KEY, NEWER_KEY, encrypted
from tests.support.kit import say, texts

SAID = "the eagle lands at noon"


@pytest.mark.sweep
def test_a_database_is_encrypted_and_its_key_changed_on_the_command_line(
    cli: Cli, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = f"--database={sqlite_url}"
    with open_checkpointer(sqlite_url) as saver:
        say(saver, SAID)
    code, key, _ = cli("db", "new-key", "summer")
    assert (code, key[:7], len(key)) == (0, "summer:", 7 + 44 + 1)
    code, _, error = cli("db", "encrypt", at)
    assert (code, "No keys are set" in error, "holdfast db new-key" in error) == (2, True, True)

    keys = tmp_path / "keys.txt"
    keys.write_text(f"# newest first\n{KEY}\n")
    monkeypatch.setenv("HOLDFAST_KEYS_FILE", str(keys))
    code, _, error = cli("threads", "list", at)
    assert (code, "`holdfast db encrypt` encrypts it" in error) == (1, True)
    assert "Start them anew" in cli("db", "encrypt", "--prepare", at)[1]
    code, out, _ = cli("db", "encrypt", at)
    assert (code, out) == (0, "1 conversation encrypted. The database is encrypted now.\n")
    files = Path(sqlite_url.removeprefix("sqlite:///")).parent.glob("holdfast.db*")
    assert not [file for file in files if f"You said: {SAID}".encode() in file.read_bytes()]
    assert "Encrypted with the master keys first (2 data keys)" in cli("db", "stats", at)[1]
    assert SAID in cli("threads", "show", "ada-1", at)[1]
    code, _, error = cli("threads", "search", "eagle", at)
    assert (code, "full-text search is off" in error) == (1, True)

    keys.write_text(f"{NEWER_KEY}\n{KEY}\n")
    assert cli("db", "rotate-keys", at)[1].startswith("2 keys wrapped anew.")
    _, out, _ = cli("db", "stats", at, "--json")
    assert json.loads(out)["keys"] == {"second": 2}
    plain, sealed = (f"sqlite:///{tmp_path / name}.db" for name in ("plain", "sealed"))
    assert cli("db", "copy", sqlite_url, sealed)[0] == cli("db", "copy", "--plain", sqlite_url, plain)[0] == 0
    monkeypatch.delenv("HOLDFAST_KEYS_FILE")
    with open_checkpointer(plain) as saver, encrypted(sealed, NEWER_KEY) as other:
        assert texts(saver) == texts(other) == [SAID, f"You said: {SAID}"]
    code, _, error = cli("threads", "list", at)
    assert (code, "no keys were given" in error) == (1, True)
