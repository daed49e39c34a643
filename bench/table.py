"""`python -m bench.table`: write the figures in `bench/results/results.json` into the pages, and draw the plots.

The page about performance has all figures, between two marks, and the README has the first table. `--check` writes
nothing, and fails if a page has other figures.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Final

from bench.lines import REASONS, Found, Line, own_lines, record_lines, serving_lines, state_lines, turn_lines
from bench.plots import plots

HOUSE: Final = Path(__file__).resolve().parent.parent
RESULTS: Final = HOUSE / "bench" / "results" / "results.json"
BEGIN: Final = "<!-- These figures are written by `python -m bench.table`. -->"
END: Final = "<!-- The end of the figures. -->"

_TABLES: Final[tuple[tuple[str, Callable[[Found], Iterator[Line]]], ...]] = (
    ("Beside the stock savers, ours ÷ stock", turn_lines),
    ("Other states, ours ÷ stock", state_lines),
    ("Beside itself", own_lines),
    ("Lists, search, sweeps and imports", record_lines),
    ("Served over HTTP", serving_lines),
)


def first_table(found: Found) -> str:
    """Lay out the figures of the long conversation as a Markdown table."""
    return "\n".join(_long(found.get("long", []))) + "\n"


def tables(found: Found) -> str:
    """Lay all figures out as Markdown tables, with a note on when and where they were taken."""
    parts = [
        [*_long(found.get("long", []))],
        *([*_table(title, lines(found))] for title, lines in _TABLES),
        [*_others(found.get("others", []))],
        [*_missed(chain.from_iterable(lines(found) for _, lines in _TABLES))],
        [*_origin(found)],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _long(rows: list[dict[str, Any]]) -> Iterator[str]:
    if not rows:
        return
    yield "| | bytes on disk ÷ bytes of text | pruned and vacuumed | turns 1 to 10 | last 20 turns |"
    yield "|---|---:|---:|---:|---:|"
    for row in rows:
        stored = "" if row["database"] == "memory" else _shown(row["bytes_per_text"])
        first, last = _shown(row["first_turns_ms"], 1, " ms"), _shown(row["last_turns_ms"], 1, " ms")
        yield f"| {row['name']} | {stored} | {_shown(row['pruned_per_text'])} | {first} | {last} |"


def own_tables(found: Found) -> str:
    """Do as `tables`, without the checkpointers of other databases: docs/guides/databases.md has their figures."""
    runs = {name: run for name, run in found.get("runs", {}).items() if name != "others"}
    return tables({**{name: rows for name, rows in found.items() if name != "others"}, "runs": runs})


def others_table(found: Found) -> str:
    """Lay out what is lost with the checkpointers of other databases, with a note on when it was measured."""
    runs = {name: run for name, run in found.get("runs", {}).items() if name == "others"}
    return "\n".join([*_others(found.get("others", [])), "", *_origin({"runs": runs})]) + "\n"


def others_summary(found: Found) -> str:
    """Say in a few words, for the README, what the checkpointers of other databases lose."""
    rows = [row for row in found["others"] if "Holdfast" not in row["name"]]
    lost = _range(row["lost"] for row in rows)
    megabytes = _range(round(row["bytes"] / 1e6) for row in rows)
    twice, killed = sum(row["ran_twice"] for row in rows), sum(row["killed"] for row in rows)
    return (
        f"lose {lost} of {rows[0]['answered']} messages of two writers, take {megabytes} MB for "
        f"{rows[0]['text'] / 1e6:.1f} MB of text, and repeat {twice} of {killed} killed calls"
    )


def _range(figures: Iterable[int]) -> str:
    low, *_, high = sorted(2 * [*figures])
    return f"{low}" if low == high else f"{low} to {high}"


def _others(rows: list[dict[str, Any]]) -> Iterator[str]:
    if not rows:
        return
    first = rows[0]
    yield (
        f"| | stored for {first['text'] / 1e6:.1f} MB of text in {first['turns']} turns | lost of "
        f"{first['answered']} messages of two writers | approved calls that ran twice, of {first['killed']} killed |"
    )
    yield "|---|---:|---:|---:|"
    for row in rows:
        yield f"| {row['name']} | {row['bytes'] / 1e6:.1f} MB | {row['lost']} | {row['ran_twice']} |"


def _shown(figure: float | None, digits: int = 2, unit: str = "") -> str:
    return "" if figure is None else f"{figure:.{digits}f}{unit}"


def _table(title: str, lines: Iterable[Line]) -> Iterator[str]:
    shown = [line for line in lines if line.figures]
    if shown:
        yield f"| {title} | SQLite | PostgreSQL | target | reached |"
        yield "|---|---:|---:|---:|---|"
        yield from map(str, shown)


def _missed(lines: Iterable[Line]) -> Iterator[str]:
    """Say why a target was not reached, for each line that has a reason."""
    reasons: dict[str, str] = {}
    for line in lines:
        if line.missed and line.key in REASONS:
            reasons.setdefault(line.what, REASONS[line.key])
    if reasons:
        yield "Not reached:"
        yield ""
        yield from (f"- *{what}*: {reason}" for what, reason in reasons.items())


def _origin(found: Found) -> Iterator[str]:
    """Say when and where the figures were taken. Measures of the same kind of run on the same day share a line."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    runs = found.get("runs", {})
    for name, run in runs.items():
        kind = "a quick run" if run["quick"] else "a run"
        machine = f"{run['cores']} cores, {run['disk']}, Python {run['python']}"
        groups.setdefault((kind, run["at"][:10], machine), []).append(name)
    for (kind, day, machine), names in groups.items():
        loads = [load for name in names for load in runs[name]["load"]]
        load = f"a load of {min(loads):.1f} to {max(loads):.1f}"
        yield f"Taken in {kind} on {day} ({machine}, {load}): {', '.join(names)}."
    if earlier := [name for name in found if name != "runs" and name not in runs]:
        yield f"From earlier runs: {', '.join(earlier)}."


PAGES: Final[Mapping[Path, Callable[[Found], str]]] = {
    HOUSE / "docs" / "performance.md": own_tables,
    HOUSE / "README.md": first_table,
    HOUSE / "docs" / "guides" / "databases.md": others_table,
}
"""What each page has between the marks."""


def write(page: str, figures: str) -> str:
    """Return a page with these figures between the marks.

    Raises:
        ValueError: the page lacks the marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"The page needs the lines {BEGIN!r} and {END!r}.")
    return f"{before}{BEGIN}\n\n{figures}\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.table", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail if a page has other figures")
    options = parser.parse_args()
    found = json.loads(RESULTS.read_text("utf-8"))
    if not options.check:
        plots(found, RESULTS.parent)
    for page, laid_out in PAGES.items():
        before = page.read_text("utf-8")
        after = write(before, laid_out(found))
        if not options.check:
            page.write_text(after, "utf-8")
        elif before != after:
            sys.exit(f"{page.name} has other figures. Run python -m bench.table.")


if __name__ == "__main__":
    main()
