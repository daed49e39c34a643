"""Every command of `holdfast`, with arguments that would do. `test_cli_mistyped.py` compares them with the parser."""

from __future__ import annotations

from typing import Final

MISTYPED: Final = "sqlite:///holdfats.db"

NEED_ONE: Final[dict[str, list[str]]] = {
    "approvals list": [],
    "approvals show": [],
    "approvals answer": ["3f9a", "--text=yes"],
    "approvals approve": ["3f9a"],
    "approvals edit": ["3f9a", "--args={}"],
    "approvals reject": ["3f9a"],
    "approvals respond": ["3f9a", "--message=Done by hand."],
    "approvals settle": ["3f9a", "--skip"],
    "approvals resume": [],
    "approvals expire": [],
    "threads list": [],
    "threads search": ["hello"],
    "threads show": ["ada-1"],
    "threads export": ["ada-1"],
    "threads verify": ["ada-1.html"],
    "threads redact": ["ada-1", "--named=card"],
    "threads rename": ["ada-1", "Title"],
    "threads restart": ["ada-1"],
    "threads undo": ["ada-1"],
    "threads fork": ["ada-1"],
    "threads copy": ["ada-1"],
    "threads share": ["ada-1", "grace"],
    "threads unshare": ["ada-1", "grace"],
    "threads delete": ["ada-1", "--yes"],
    "db stats": [],
    "db prune": [],
    "db check": [],
    "db compact": [],
    "db encrypt": [],
    "db rotate-keys": [],
    "db expand": [],
    "db index": [],
    "db sweep": ["--policy=retention.toml"],
    "db copy": [MISTYPED, "sqlite:///target.db"],
}
"""Commands about what exists, with arguments that would do."""

MAKE_ONE: Final[dict[str, list[str] | None]] = {
    "chat": ["--model=offline"],
    "db upgrade": [],
    "threads import": ["threads.jsonl.gz"],
    "serve": None,
    "demo": None,
}
"""Commands that begin something. `None`: it starts servers and processes, and has tests of its own."""

WITHOUT_DATABASE: Final = ("db new-key", "tokens add", "tokens list", "tokens revoke")
"""Commands that are not about a database."""
