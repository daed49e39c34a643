"""The bytes on disk and the time of a turn as a conversation grows, as two plots, for a light and for a dark page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

Found = Mapping[str, list[dict[str, Any]]]
Line = tuple[str, list[int], list[float]]
"""The label of a line, and its points."""


class Ink(NamedTuple):
    """The colours of a plot."""

    text: str
    faint: str
    lines: tuple[str, str, str]
    """That of Holdfast, of the stock saver, and of the stock saver with its `DeltaChannel`."""


INKS: Final = {
    "light": Ink("#24292f", "#d0d7de", ("#00796b", "#8250df", "#bc4c00")),
    "dark": Ink("#e6edf3", "#3d444d", ("#4db6ac", "#b392f0", "#ffa657")),
}

_APART: Final = 0.09
"""How far apart two labels are at least, as a share of the height."""


def plots(found: Found, folder: Path) -> None:
    """Write `bytes-light.svg`, `bytes-dark.svg`, and the same of `time`: one panel for each database."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "holdfast"  # equal figures make equal files
    mpl.rcParams["svg.fonttype"] = "none"
    panels: dict[str, list[dict[str, Any]]] = {}
    for row in found.get("long", []):
        if row["database"] != "memory":
            panels.setdefault(row["database"], []).append(row)
    for name, label, points in (("bytes", "MB on disk", _curve), ("time", "ms a turn", _smooth)):
        lines = {database: [(_label(row), *points(row)) for row in rows] for database, rows in panels.items()}
        for scheme, ink in INKS.items():
            _plot(folder / f"{name}-{scheme}.svg", label, lines, ink)


def _plot(path: Path, label: str, panels: Mapping[str, Sequence[Line]], ink: Ink) -> None:
    from matplotlib import pyplot

    figure, several = pyplot.subplots(1, len(panels), figsize=(9.6, 3.2), layout="constrained", squeeze=False)
    for axes, (database, lines) in zip(several[0], panels.items(), strict=True):
        top = 1.05 * max(max(values) for _, _, values in lines)
        ends = _spread([values[-1] / top for _, _, values in lines])
        for (text, turns, values), colour, end in zip(lines, ink.lines, ends, strict=False):
            axes.plot(turns, values, color=colour, linewidth=2.4 if colour == ink.lines[0] else 1.4)
            axes.text(1.02, end, text, transform=axes.transAxes, color=colour, fontsize=9, va="center")
        axes.set_title(database, color=ink.text, fontsize=10, loc="left")
        axes.set_xlabel("turn", color=ink.text, fontsize=9)
        axes.set_ylabel(label, color=ink.text, fontsize=9)
        axes.set(xlim=(0, lines[0][1][-1]), ylim=(0, top))
        axes.tick_params(colors=ink.text, labelsize=8, length=0)
        axes.grid(axis="y", color=ink.faint, linewidth=0.6)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(ink.faint)
    figure.savefig(path, metadata={"Date": None}, transparent=True)
    pyplot.close(figure)


def _label(row: Mapping[str, Any]) -> str:
    return str(row["name"]).removeprefix(f"{row['database']}, ").replace("stock with DeltaChannel", "DeltaChannel")


def _spread(heights: Sequence[float]) -> list[float]:
    """Return the heights of labels, moved up where two would overlap."""
    placed: dict[int, float] = {}
    above = -_APART
    for number in sorted(range(len(heights)), key=heights.__getitem__):
        above = placed[number] = max(heights[number], above + _APART)
    return [placed[number] for number in range(len(heights))]


def _curve(row: Mapping[str, Any]) -> tuple[list[int], list[float]]:
    return [turn for turn, _ in row["curve"]], [taken / 1e6 for _, taken in row["curve"]]


def _smooth(row: Mapping[str, Any], width: int = 20) -> tuple[list[int], list[float]]:
    """Return the median of each 20 turns."""
    times = row["times_ms"]
    ends = range(width, len(times) + 1, width)
    return list(ends), [sorted(times[end - width : end])[width // 2] for end in ends]
