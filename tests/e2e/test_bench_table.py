"""The figures in the documentation are those of the last run of the bench."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import pytest

from bench import lines, table
from bench.lines import Line


@pytest.mark.parametrize("page", table.PAGES, ids=lambda page: page.name)
def test_a_page_has_the_figures_of_the_results(page: Path) -> None:
    text, found = page.read_text("utf-8"), json.loads(table.RESULTS.read_text("utf-8"))
    assert text == table.write(text, table.PAGES[page](found)), "Run make table."


def test_a_figure_that_changes_changes_a_page_alone_between_the_marks() -> None:
    page, found = table.HOUSE / "docs" / "performance.md", json.loads(table.RESULTS.read_text("utf-8"))
    text = page.read_text("utf-8")
    found["growth"][0]["ratio"] = 7.77
    changed = table.write(text, table.tables(found))
    assert "| bytes that turn 2,000 adds ÷ turn 20 | 7.77 |" in changed
    for mark, part in ((table.BEGIN, 0), (table.END, 2)):
        assert changed.partition(mark)[part] == text.partition(mark)[part]
    with pytest.raises(ValueError, match="The page needs the lines"):
        table.write("no marks", "")


def test_the_readme_says_what_the_checkpointers_of_other_databases_lose() -> None:
    said = " ".join((table.HOUSE / "README.md").read_text("utf-8").split())
    assert table.others_summary(json.loads(table.RESULTS.read_text("utf-8"))) in said


@pytest.mark.parametrize(
    ("sign", "figures", "verdict"),
    [
        ("≤", {"SQLite": 1.004, "PostgreSQL": 0.5}, "1.00 | 0.50 | ≤ 1, ≤ 2 | yes"),
        ("≤", {"SQLite": 1.006, "PostgreSQL": 0.5}, "1.01 | 0.50 | ≤ 1, ≤ 2 | not on SQLite"),
        ("≥", {"SQLite": 0.9, "PostgreSQL": 1.9}, "0.90 | 1.90 | ≥ 1, ≥ 2 | no"),
        ("≥", {"PostgreSQL": 2.5}, " | 2.50 | ≥ 2 | yes"),
    ],
)
def test_a_target_is_reached_by_the_figure_that_is_shown(sign: str, figures: dict[str, float], verdict: str) -> None:
    line = Line("key", "time", figures, sign, {"SQLite": 1, "PostgreSQL": 2})
    assert str(line) == f"| time | {verdict} |"


def test_the_reason_stands_below_the_table_until_the_target_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lines.REASONS, "growth", "pages are large")
    rows = [{"database": "SQLite", "ratio": 1.2}]
    assert "- *bytes that turn 2,000 adds ÷ turn 20*: pages are large" in table.tables({"growth": rows})
    assert "pages are large" not in table.tables({"growth": [{"database": "SQLite", "ratio": 1.0}]})


def test_each_reason_belongs_to_a_line() -> None:
    found = json.loads(table.RESULTS.read_text("utf-8"))
    of_tables = (lines.turn_lines, lines.state_lines, lines.own_lines, lines.record_lines, lines.serving_lines)
    keys = {line.key for line in chain.from_iterable(of(found) for of in of_tables)}
    assert set(lines.REASONS) <= keys
