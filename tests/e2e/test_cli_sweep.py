"""`holdfast db sweep`: by a policy, for cron."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.checkpoints import open_checkpointer
from tests.support.cli_kit import Cli
from tests.support.retention_kit import listed, talk


@pytest.fixture
def filled(cli: Cli, sqlite_url_with_tables: str) -> str:
    """The option --database of a file with an old conversation and a young one; and a policy in the folder."""
    with open_checkpointer(sqlite_url_with_tables) as saver:
        talk(saver, "old", "Hello", "Again", days=31)
        talk(saver, "young")
    (cli.folder / "retention.toml").write_text("[[rules]]\nkeep_days = 30\n", "utf-8")
    return f"--database={sqlite_url_with_tables}"


def test_a_dry_run_says_what_a_sweep_deletes(cli: Cli, filled: str, sqlite_url_with_tables: str) -> None:
    code, planned, _ = cli("db", "sweep", "--policy", "retention.toml", "--dry-run", filled)
    assert code == 0
    assert planned.startswith("1 conversation with 4 messages and 6 checkpoints would be deleted, about ")
    assert planned.endswith("KB. Nothing was changed.\n")
    code, swept, _ = cli("db", "sweep", "--policy", "retention.toml", "--json", filled)
    assert code == 0
    facts = json.loads(swept)
    assert (facts["threads"], facts["messages"], facts["checkpoints"], facts["is_dry"]) == (1, 4, 6, False)
    with open_checkpointer(sqlite_url_with_tables) as saver:
        assert listed(saver) == {"young"}


def test_the_policy_of_the_settings_is_used_and_a_bad_one_is_refused(
    cli: Cli, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.refused("db", "sweep", filled) == (
        "No retention policy is given. Needed: --policy FILE, or HOLDFAST_RETENTION=FILE."
    )
    monkeypatch.setenv("HOLDFAST_RETENTION", "retention.toml")
    assert cli("db", "sweep", filled)[1].startswith("1 conversation with 4 messages and 6 checkpoints were deleted")
    Path(cli.folder / "retention.toml").write_text("[[rules]]\nkeep_day = 30\n", "utf-8")
    refused = cli.refused("db", "sweep", filled)
    assert refused.startswith(
        "The retention policy retention.toml cannot be used. Rule 1 has the key 'keep_day'. Allowed"
    )
