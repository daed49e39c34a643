"""The figures as a Markdown table beside their targets, and as two plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Found = Mapping[str, list[dict[str, Any]]]

# The targets: of Holdfast itself, or of Holdfast divided by the stock saver of the same database.
TARGETS = {
    "bytes": {"SQLite": 2.2, "PostgreSQL": 3.0},
    "pruned": {"SQLite": 1.4, "PostgreSQL": 1.8},
    "last": {"SQLite": 1 / 4, "PostgreSQL": 1 / 5},
    "first": {"SQLite": 1.1, "PostgreSQL": 1.1},
    "tools": {"SQLite": 0.05, "PostgreSQL": 0.05},
    "at-once": {"SQLite": 1.5, "PostgreSQL": 1.0},
}


def table(found: Found) -> str:
    """Lay every measured figure out as Markdown."""
    return "\n".join([*_long(found.get("long", [])), *_ratios(found)])


def _long(rows: list[dict[str, Any]]) -> Iterator[str]:
    if not rows:
        return
    yield "| | bytes ÷ text | pruned ÷ text | turns 1 to 10 | last 20 turns |"
    yield "|---|---:|---:|---:|---:|"
    for row in rows:
        pruned = "" if row["pruned_per_text"] is None else f"{row['pruned_per_text']:.2f}"
        stored = "" if row["database"] == "memory" else f"{row['bytes_per_text']:.2f}"
        times = f"{row['first_turns_ms']:.1f} ms | {row['last_turns_ms']:.1f} ms"
        yield f"| {row['name']} | {stored} | {pruned} | {times} |"
    yield ""


def _ratios(found: Found) -> Iterator[str]:
    yield "| Holdfast compared with the stock saver, or with itself | measured | target |"
    yield "|---|---:|---:|"
    long = found.get("long", [])
    memory = next((row for row in long if row["database"] == "memory"), None)
    for ours in (row for row in long if row["ours"]):
        database = ours["database"]
        stock = next((row for row in long if row["name"] == f"{database}, stock"), None)
        yield _row(f"{database}: bytes ÷ bytes of text", ours["bytes_per_text"], "bytes", database)
        if ours["pruned_per_text"] is not None:
            yield _row(f"{database}: the same, pruned and vacuumed", ours["pruned_per_text"], "pruned", database)
        if stock:
            for key, what in (("last", "a turn at the end"), ("first", "turns 1 to 10")):
                ratio = ours[f"{key}_turns_ms"] / stock[f"{key}_turns_ms"]
                yield _row(f"{database}: time of {what}, ours ÷ stock", ratio, key, database)
        if memory:
            ratio = ours["last_turns_ms"] / memory["last_turns_ms"]
            yield f"| {database}: time of a turn at the end, ours ÷ InMemorySaver | {ratio:.2f} | < 1 |"
    for row in found.get("growth", []):
        yield f"| {row['name']}: bytes that turn 2,000 adds ÷ turn 20 | {row['ratio']:.2f} | ≤ 1.1 |"
    yield from _against_stock(
        found.get("tools", []), "bytes", "create_react_agent, 100 turns, bytes: ours ÷ stock", "tools"
    )
    yield from _against_stock(
        found.get("at-once", []), "turns_per_second", "turns a second, many at once: ours ÷ stock", "at-once"
    )
    for row in found.get("bounded", []):
        what = f"{row['name']}, context bounded: turn 5,000 ÷ turn 50"
        yield f"| {what}, time | {row['time']:.2f} | ≤ 1.25 |"
        yield f"| {what}, bytes that it adds | {row['bytes']:.2f} | ≤ 1.1 |"
    for row in found.get("listing", []):
        what = f"{row['name']}: the newest 20 threads of a user among 100,000"
        yield f"| {what}, median | {row['many_ms']:.2f} ms | ≤ 5 ms |"
        yield f"| {what} ÷ among 1,000 | {row['many_ms'] / row['few_ms']:.2f} | ≤ 2 |"
    for row in found.get("record", []):
        yield f"| {row['name']}: time of a turn with index and transcript ÷ without | {row['ratio']:.2f} | ≤ 1.1 |"
    for row in found.get("search", []):
        of = f"{row['name']}: search {row['messages'] // 100:,} messages of a user among {row['messages']:,}"
        yield f"| {of}, median | {row['median_ms']:.1f} ms | ≤ 50 ms |"
        yield f"| {of}, the slowest kind of words | {row['slowest_ms']:.1f} ms | |"
        per_text = row["index_bytes"] / row["text_bytes"]
        yield f"| {row['name']}: its index, bytes ÷ bytes of text | {per_text:.2f} | |"
        yield f"| {row['name']}: to index a message | {row['index_seconds'] / row['messages'] * 1e3:.2f} ms | |"
    for row in found.get("memory", []):
        yield f"| memory after 10,000 turns over 1,000 threads ÷ after 1,000 | {row['ratio']:.2f} | ≤ 1.1 |"


def _against_stock(rows: list[dict[str, Any]], key: str, what: str, target: str) -> Iterator[str]:
    for ours in (row for row in rows if row["ours"]):
        for stock in (row for row in rows if row["database"] == ours["database"] and not row["ours"]):
            yield _row(f"{ours['database']}: {what}", ours[key] / stock[key], target, ours["database"])


def _row(what: str, measured: float, target: str, database: str) -> str:
    sign = "≥" if target == "at-once" else "≤"
    wanted = TARGETS[target].get(database)
    return f"| {what} | {measured:.2f} | {'' if wanted is None else f'{sign} {wanted:g}'} |"


def plots(found: Found, folder: Path) -> None:
    """Write `bytes.svg` and `time.svg`: both figures as the conversation grows."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "holdfast"  # equal figures make equal files
    from matplotlib import pyplot

    rows = found.get("long", [])
    stored = [row for row in rows if row["database"] != "memory"]
    for name, label, series in (
        ("bytes", "MB on disk", [(row, *_curve(row)) for row in stored]),
        ("time", "ms a turn (median of 20)", [(row, *_smooth(row["times_ms"])) for row in rows]),
    ):
        figure, axes = pyplot.subplots(figsize=(7, 4))
        for row, turns, values in series:
            axes.plot(turns, values, label=row["name"], linewidth=2.2 if row["ours"] else 1.2)
        axes.set(xlabel="turn", ylabel=label, yscale="log")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
        pyplot.close(figure)


def _curve(row: Mapping[str, Any]) -> tuple[list[int], list[float]]:
    return [turn for turn, _ in row["curve"]], [taken / 1e6 for _, taken in row["curve"]]


def _smooth(times: list[float], width: int = 20) -> tuple[list[int], list[float]]:
    ends = range(width, len(times) + 1, width)
    return list(ends), [sorted(times[end - width : end])[width // 2] for end in ends]
