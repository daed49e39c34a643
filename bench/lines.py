"""The lines of the tables: what was measured, its target, and whether it was reached."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final

Found = Mapping[str, Any]
"""The rows of each measure, by its name, as `results.json` has them."""
Rows = list[dict[str, Any]]
Figures = dict[str, float]
"""A figure for each database."""

DATABASES: Final = ("SQLite", "PostgreSQL")

_PYTHON: Final = "a save is more than 200 calls of Python, which take longer than its statements"
REASONS: Final[dict[str, str]] = {
    "short-time": _PYTHON,
    "short-cpu": _PYTHON,
    "log": "a short message shares its page with others, and each of the five saves of a turn writes it again",
    "crowd": _PYTHON,
    "distance": "the saves of a thread in one process follow each other, and the stock saver's overlap",
    "late": "each save compares every message of the state with what it was, and a load makes each of them anew",
    "approval": "an approval has two more transactions, those of the record; between runs it was 1.47 to 1.58",
    "growing-time": "the same as for short threads: the dict itself costs what it costs with the stock saver",
    "files-time": "the same as for short threads",
    "channels-time": _PYTHON,
    "dicts-bytes": "the row of the thread",
    "channels-bytes": "the row of the thread",
    "http-0": "HTTP and an event loop take most of it, as the plainest route shows; then the turn is on record before "
    "it begins and when it has ended, and its text is streamed to whoever asks for it",
    "bytes": "a page of 4 KB holds one message of 2,000 characters; with 8 KB it was 2.13, and the log twice as large",
}
"""By the key of a line: why its target was not reached. docs/performance.md names it until it is."""


@dataclass(frozen=True)
class Line:
    """One line of a table: a figure for each database, beside its target."""

    key: str
    what: str
    figures: Figures
    sign: str = "≤"
    targets: Mapping[str, float] = field(default_factory=dict)
    """By database; empty if the figure is only for information."""
    unit: str = ""
    digits: int = 2

    def __str__(self) -> str:
        cells = (self._shown(self.figures.get(database)) for database in DATABASES)
        return f"| {self.what} | {' | '.join(cells)} | {self._wanted()} | {self._verdict()} |"

    @property
    def missed(self) -> list[str]:
        """The databases whose figure, as it is shown, does not reach the target."""
        return [
            database
            for database, figure in self.figures.items()
            if (target := self.targets.get(database)) is not None and not self._reaches(figure, target)
        ]

    def _reaches(self, figure: float, target: float) -> bool:
        shown = round(figure, self.digits)
        return shown <= target if self.sign == "≤" else shown >= target

    def _shown(self, figure: float | None) -> str:
        return "" if figure is None else f"{figure:.{self.digits}f}{self.unit}"

    def _wanted(self) -> str:
        wanted = [f"{self.sign} {self.targets[name]:g}{self.unit}" for name in self.figures if name in self.targets]
        return ", ".join(dict.fromkeys(wanted))

    def _verdict(self) -> str:
        if not self._wanted():
            return ""
        if not self.missed:
            return "yes"
        return "no" if len(self.missed) == len(self.figures) else f"not on {self.missed[0]}"


def _both(target: float) -> Figures:
    return dict.fromkeys(DATABASES, target)


def _by_database(rows: Rows, get: Callable[[dict[str, Any]], float | None]) -> Figures:
    found = {row["database"]: get(row) for row in rows if row["database"] in DATABASES}
    return {database: figure for database, figure in found.items() if figure is not None}


def turn_lines(found: Found) -> Iterator[Line]:
    """Yield the lines about the time of a turn, beside the stock savers."""
    short, log = found.get("short", []), found.get("log", [])
    for field_, what, targets in (
        ("time", "time of a turn", _both(1.0)),
        ("cpu", "CPU time of the process, a turn", _both(1.0)),
        ("all_cpu", "CPU time of all processes, a turn", {}),
    ):
        for characters, rows in _by_length(short):
            figures = _by_database(rows, itemgetter(field_))
            text = f"turns 1 to 10, {characters:,} characters a message: {what}"
            yield Line(f"short-{field_}", text, figures, targets=targets)
    for characters, rows in _by_length(log):
        figures = _by_database(rows, itemgetter("ratio"))
        yield Line(
            "log", f"the same, {characters:,} characters: bytes in the write-ahead log", figures, "≤", _both(1.0)
        )
    crowd = found.get("crowd", [])
    at_once = " and ".join(f"{row['at_once']}" for row in crowd)
    figures = _by_database(crowd, itemgetter("turns_per_second"))
    targets = {"SQLite": 1.5, "PostgreSQL": 1.3}
    yield Line("crowd", f"{at_once} short threads at once: turns a second", figures, "≥", targets)
    figures = _by_database(crowd, itemgetter("all_cpu"))
    yield Line("crowd-cpu", "the same: CPU time of all processes, a turn", figures)
    figures = _by_database(found.get("distance", []), itemgetter("time"))
    yield Line("distance", "a network of 1 ms each way: time of a turn", figures, targets=_both(0.8))
    approvals = found.get("approval", [])
    figures = _by_database(approvals, itemgetter("time"))
    what = "an approval (pause, answer, effect, reply) ÷ the same without ledger: time"
    yield Line("approval", what, figures, targets=_both(1.5))
    figures = _by_database(approvals, lambda row: row["conversation"]["time"])
    yield Line("approval-conversation", "the same through a `Conversation`, ours with lease", figures)
    long = found.get("long", [])
    turns = max((row.get("turns", 400) for row in long), default=0)
    targets = {"SQLite": 5.0, "PostgreSQL": 6.0}
    yield Line("late", f"turn {turns:,}: time, **stock ÷ ours**", _late(long, "times_ms"), "≥", targets)
    yield Line("late-cpu", "the same: CPU time of the process, **stock ÷ ours**", _late(long, "cpu_ms"))


def _by_length(rows: Rows) -> Iterator[tuple[int, Rows]]:
    for characters in dict.fromkeys(row["characters"] for row in rows):
        yield characters, [row for row in rows if row["characters"] == characters]


def _late(long: Rows, times: str, last: int = 20) -> Figures:
    """Return the median of the ratios of the last turns, stock ÷ ours."""
    by_name = {row["name"]: row.get(times, []) for row in long}
    figures = {}
    for database in DATABASES:
        ours, stock = (by_name.get(f"{database}, {name}") for name in ("Holdfast", "stock"))
        if ours and stock:
            shared = min(last, len(ours), len(stock))
            both = zip(ours[-shared:], stock[-shared:], strict=True)
            figures[database] = statistics.median(theirs / our for our, theirs in both)
    return figures


def own_lines(found: Found) -> Iterator[Line]:
    """Yield the lines about Holdfast beside itself."""
    bounded = found.get("bounded", [])
    what = next((f"bounded context: turn {row['far']:,} ÷ turn {row['near']:,}" for row in bounded), "")
    yield Line("bounded", f"{what}, time", _by_database(bounded, itemgetter("time")), targets=_both(1.1))
    yield Line("bounded-cpu", "the same, CPU time", _by_database(bounded, itemgetter("cpu")))
    figures = _by_database(bounded, itemgetter("bytes"))
    yield Line("bounded-bytes", "the same, bytes that it adds", figures, targets=_both(1.1))
    guarded = found.get("middleware", [])
    what = "a turn of `create_agent` with the middleware ÷ without, no tool declared: CPU time of the process"
    yield Line("middleware", what, _by_database(guarded, itemgetter("cpu")), targets=_both(1.05))
    figures = _by_database(guarded, lambda row: row["loop"]["cpu"])
    yield Line("middleware-loop", "the same on an event loop", figures, targets=_both(1.05))
    sealed = found.get("encrypting", [])
    what = "a turn in an encrypted database ÷ without encryption: time"
    yield Line("encrypted", what, _by_database(sealed, itemgetter("time")), targets=_both(1.25))
    yield Line("encrypted-cpu", "the same, CPU time of the process", _by_database(sealed, itemgetter("cpu")))
    yield Line("encrypted-bytes", "the same, bytes", _by_database(sealed, itemgetter("bytes")), targets=_both(1.2))
    ours = [row for row in found.get("long", []) if row["ours"]]
    turns = max((row.get("turns", 400) for row in ours), default=0)
    figures = _by_database(ours, itemgetter("bytes_per_text"))
    targets = {"SQLite": 2.6, "PostgreSQL": 3.3}
    yield Line("bytes", f"bytes on disk ÷ bytes of text after {turns:,} turns", figures, targets=targets)
    figures = _by_database(found.get("growth", []), itemgetter("ratio"))
    yield Line("growth", "bytes that turn 2,000 adds ÷ turn 20", figures, targets=_both(1.1))
    figures = _by_database(found.get("memory", []), itemgetter("ratio"))
    yield Line("memory", "memory after 10,000 turns over 1,000 threads ÷ after 1,000", figures, targets=_both(1.1))


_STATES: Final = {
    "dicts": ("2,000 plain dicts with role and content", 1.5),
    "growing": ("a list that grows by a dict of 20 KB a turn", 1.0),
    "files": ("{files_mb} MB of files, one of them changed a turn", 1.0),
    "files-untouched": ("{files_mb} MB of files, none changed", 1.0),
    "channels": ("50 channels, six of them changed a turn", 1.0),
}
"""By kind: what the state is, and the target of its time."""


def state_lines(found: Found) -> Iterator[Line]:
    """Yield the lines about states that are not lists of messages, beside the stock savers."""
    for kind, (text, target) in _STATES.items():
        rows = [row for row in found.get("states", []) if row["kind"] == kind]
        what = text.format(files_mb=next((row["files_mb"] for row in rows), 50))
        figures = _by_database(rows, itemgetter("time"))
        yield Line(f"{kind}-time", f"{what}: time of a turn", figures, targets=_both(target))
        yield Line(f"{kind}-cpu", "the same: CPU time of the process", _by_database(rows, itemgetter("cpu")))
        figures = _by_database(rows, itemgetter("bytes"))
        yield Line(f"{kind}-bytes", "the same: bytes on disk", figures, targets=_both(1.0))
    figures = _by_database(found.get("tools", []), itemgetter("ratio"))
    yield Line("tools", "`create_react_agent`, 100 turns with tools: bytes", figures, targets=_both(0.05))


def serving_lines(found: Found) -> Iterator[Line]:
    """Yield the lines about the servers."""
    served = found.get("serving", [])
    for thinks, rows in _by(served, "thinks", "plain"):
        model = f"a model of {thinks:g} s" if thinks else "a model that answers at once"
        what = f"a turn over HTTP ÷ a turn in the process, {model}: time"
        yield Line(f"http-{thinks}", what, _by_database(rows, itemgetter("time")), targets=_both(1.3))
        yield Line(
            f"http-cpu-{thinks}", "the same: CPU time of all processes", _by_database(rows, itemgetter("all_cpu"))
        )
    instant = [row for row in served if "plain" in row and not row["thinks"]]
    figures = _by_database(instant, lambda row: row["plain"]["time"])
    yield Line("http-plain", "the plainest FastAPI route, which keeps nothing ÷ a turn in the process, time", figures)
    many = [row for row in served if "streams" in row]
    what = next((f"{row['streams']} streams at once, a model of {row['thinks']:g} s" for row in many), "")
    yield Line("streams", f"{what}: failed", _by_database(many, itemgetter("failed")), targets=_both(0), digits=0)
    yield Line(
        "streams-time", "the same: until the last one has ended", _by_database(many, itemgetter("wall_s")), unit=" s"
    )
    full = [row for row in served if "lists_ms" in row]
    threads = next((f"{row['threads']:,} threads" for row in full), "")
    for name, server in (("router", "`holdfast serve --router`"), ("langgraph", "`holdfast serve`")):
        figures = _by_database(full, itemgetter(f"{name}_ready"))
        yield Line(f"{name}-ready", f"{server} is ready with {threads} ÷ with none", figures, targets=_both(1.5))
    for name in dict.fromkeys(name for row in full for name in row["lists_ms"]):
        figures = _by_database(full, lambda row, name=name: row["lists_ms"][name]["median"])
        what = f"{threads}, over HTTP: {name.replace('_', ' ')}, median"
        yield Line(f"served-{name}", what, figures, targets=_both(20), unit=" ms", digits=1)


def _by(rows: Rows, field_: str, other: str) -> Iterator[tuple[Any, Rows]]:
    """Yield the rows that have another field by the value of a field."""
    chosen = [row for row in rows if other in row]
    for value in dict.fromkeys(row[field_] for row in chosen):
        yield value, [row for row in chosen if row[field_] == value]


def record_lines(found: Found) -> Iterator[Line]:
    """Yield the lines about lists of threads, search, sweeps and imports."""
    listed, search = found.get("listing", []), found.get("search", [])
    figures = _by_database(listed, itemgetter("many_ms"))
    what = "the newest 20 threads of a user among 100,000 threads, median"
    yield Line("listing", what, figures, targets=_both(5), unit=" ms", digits=1)
    figures = _by_database(listed, lambda row: row["many_ms"] / row["few_ms"])
    yield Line("listing-growth", "the same ÷ among 1,000 threads", figures, targets=_both(2))
    what = next((f"{row['messages'] // 100:,} messages among {row['messages']:,}" for row in search), "")
    figures = _by_database(search, itemgetter("median_ms"))
    yield Line("search", f"a search of a user's {what}, median", figures, targets=_both(50), unit=" ms", digits=1)
    figures = _by_database(search, lambda row: row["index_seconds"] / row["messages"] * 1e3)
    yield Line("index-time", "to add a message to the search index", figures, unit=" ms")
    figures = _by_database(search, lambda row: row["index_bytes"] / row["text_bytes"])
    yield Line("index-bytes", "the search index: bytes a byte of text", figures)
    swept = found.get("sweeping", [])
    what = next((f"{row['threads']:,} old threads" for row in swept), "")
    figures = _by_database(swept, lambda row: row["beside_ms"]["longest"])
    what = f"eight conversations beside a sweep that deletes {what}, longest save"
    yield Line("sweep", what, figures, targets=_both(100), unit=" ms", digits=0)
    figures = _by_database(swept, lambda row: row["alone_ms"]["longest"])
    yield Line("sweep-alone", "the same without the sweep", figures, unit=" ms", digits=0)
    yield Line("sweep-time", "the sweep", _by_database(swept, itemgetter("sweep_s")), unit=" s", digits=0)
    figures = _by_database(swept, itemgetter("idle_ms"))
    yield Line("sweep-idle", "a sweep that finds nothing but 1,000 threads that wait", figures, unit=" ms", digits=0)
    rotated = found.get("rotating", [])
    what = next((f"{row['threads']:,} threads with {row['messages']:,} messages" for row in rotated), "")
    figures = _by_database(rotated, itemgetter("rotation_s"))
    yield Line("rotation", f"to change the master key of {what}", figures, unit=" s", digits=1)
    figures = _by_database(rotated, lambda row: row["beside_ms"]["longest"])
    yield Line("rotation-beside", "eight conversations beside it, longest save", figures, unit=" ms", digits=0)
    imported = found.get("importing", [])
    what = next((f"{row['messages']:,} messages in {row['sessions']:,} conversations" for row in imported), "")
    figures = _by_database(imported, itemgetter("wall_s"))
    yield Line("import", f"to import {what}", figures, targets={"SQLite": 60}, unit=" s", digits=1)
    figures = _by_database(imported, itemgetter("all_cpu_s"))
    yield Line("import-cpu", "the same: CPU time of all processes", figures, unit=" s", digits=1)
