"""The bytes on disk and the time of a turn of a long conversation, as two plots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

Found = Mapping[str, list[dict[str, Any]]]


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
