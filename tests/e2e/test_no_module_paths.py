"""Databases and archives name no module of Holdfast, so that modules can be moved and they still open."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.support.cli_kit import Cli

DATABASE: Final = "--database=sqlite:///chat.db"

# A path of a module, under the names that the packages have or had.
OURS: Final = re.compile(rb"\b(?:holdfast|checkpoints|graph|app)\.[A-Za-z_]")


@pytest.fixture
def used(cli: Cli) -> Path:
    """Make a database with turns, approvals, a search, a fork and an undo; then an archive, and a database from it."""
    said = b"Look up order 1001\nRefund order 1001\n"
    assert cli("chat", DATABASE, "--thread=ada-1", "--user=ada", said=said)[0] == 0
    assert cli("approvals", "approve", DATABASE, "--by=Grace")[0] == 0
    assert cli("chat", DATABASE, "--thread=ada-1", "--user=ada", said=b"Refund order 1002\n")[0] == 0
    assert cli("threads", "search", "calculator", DATABASE)[0] == 0
    assert cli("threads", "export", DATABASE, "--format=holdfast", "--output=all.jsonl")[0] == 0
    assert cli("threads", "fork", "ada-1", DATABASE, "--to=ada-2")[0] == 0
    assert cli("approvals", "reject", DATABASE, "--thread=ada-1", "--reason=No")[0] == 0
    assert cli("threads", "undo", "ada-1", DATABASE)[0] == 0
    code, _, err = cli("threads", "import", "all.jsonl", "--database=sqlite:///imported.db")
    assert code == 0, err
    return cli.folder


@pytest.mark.sweep
@pytest.mark.parametrize("name", ["chat.db", "imported.db", "all.jsonl"])
def test_a_stored_file_names_no_module_of_ours(used: Path, name: str) -> None:
    # As bytes: rows that were deleted, and the write-ahead log, are part of what is kept.
    data = b"".join(file.read_bytes() for file in used.glob(f"{name}*"))
    assert b"brass calculator" in data  # it is not compressed
    assert OURS.findall(data) == []


def test_a_module_path_is_found_in_the_forms_in_which_a_type_is_written() -> None:
    for value in (b"\xb4holdfast.graph.state\xa5State", b'["checkpoints.interrupts", "Waiting"]', b'"app.settings"'):
        assert OURS.search(value)
