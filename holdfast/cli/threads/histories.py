"""The command that imports conversations: of Holdfast's own archives, and of other systems."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

import typer

from holdfast.cli.db import transfer
from holdfast.cli.db.open import locate, open_database
from holdfast.cli.errors import BROKEN, Mistake
from holdfast.cli.options import CommonOptions, hide_secrets, no_default, with_database_options
from holdfast.cli.output import print_json
from holdfast.cli.output.text import counted

if TYPE_CHECKING:
    from holdfast.histories import Columns, History, Imported

EXAMPLE: Final = (
    "Examples: holdfast threads import threads.jsonl.gz; holdfast threads import postgresql://ada@db/shop "
    "--table chat_messages --columns thread=session_id,user=user_id,role=role,content=content,time=created_at,id=id"
)

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE",
        help="A file of threads export (holdfast or jsonl), of LangChain's messages, of sessions, of OpenAI's export, "
        "or of messages line by line; or the URL of a database with a table of messages.",
        show_default=False,
    ),
]
Table = Annotated[
    str | None, no_default("--table", "NAME", "Table of messages. Default: that of LangChain's SQLChatMessageHistory.")
]
Query = Annotated[str | None, no_default("--query", "SQL", "Query whose rows are messages, in place of a table.")]
ColumnNames = Annotated[
    str | None,
    no_default(
        "--columns",
        "NAMES",
        "What the source calls the parts of a message: thread=…,role=…,content=…, and user=…,time=…,id=… if it has "
        "them, or thread=…,message=… for LangChain's JSON.",
    ),
]
ForUser = Annotated[
    str | None,
    no_default("--user", "NAME", "User whose conversations they become. Default: the first that each one names.", "-u"),
]
Zone = Annotated[str, typer.Option("--timezone", metavar="NAME", help="Time zone of times without an offset.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be imported.")]


@dataclass
class Totals:
    """The totals of an import."""

    added: int = 0
    there: int = 0
    messages: int = 0
    problems: dict[str, str] = field(default_factory=dict)
    """Why a conversation was left, by its id."""

    def add(self, imported: Imported) -> None:
        """Add the outcome of one conversation."""
        if imported.problem is not None:
            self.problems[imported.thread_id] = imported.problem
        elif imported.outcome == "there":
            self.there += 1
        else:
            self.added += 1
            self.messages += imported.messages

    @property
    def done(self) -> int:
        return self.added

    def line(self, place: object, *, dry_run: bool) -> str:
        """Return the totals for people."""
        verb = "would be imported into" if dry_run else "imported into"
        line = f"{counted(self.added, 'conversation')} {verb} {place}, {counted(self.messages, 'message')}."
        if self.there:
            line += f" {self.there:,} {'was' if self.there == 1 else 'were'} there already."
        if self.problems:
            line += f" Not imported: {counted(len(self.problems), 'conversation')}."
        return line


class _Counted:
    """The conversations of several sources, and how many there are, as far as that is known."""

    def __init__(self, sources: Iterator[Iterator[History]], count: int) -> None:
        self._sources = sources
        self.total = count  # a source that was not opened yet counts for one

    def __iter__(self) -> Iterator[History]:
        for source in self._sources:
            self.total -= 1
            opened = 0
            for number, history in enumerate(source, 1):
                opened, before = max(number, history.of or 1), opened
                self.total += opened - before
                yield history


@dataclass(frozen=True)
class _Secrets:
    """The passwords in the URLs of sources."""

    secrets: frozenset[str]


@with_database_options
def import_threads(
    options: CommonOptions,
    sources: Sources,
    table: Table = None,
    query: Query = None,
    columns: ColumnNames = None,
    user: ForUser = None,
    timezone: Zone = "UTC",
    dry_run: DryRun = False,
) -> None:
    """Import conversations from files or from a database.

    The form of a file is found out. Each conversation is one transaction and is compared with what was read before it
    commits. Those that the database already has are skipped, so the command can be stopped at any time; run it again to
    continue. One that is not understood is named, nothing of it is written, and the exit code is 1.

    A file that threads export --format holdfast has written is checked as a whole first. Approvals in it count as
    given, so import only such files that you trust.
    """
    passwords = {urlsplit(source).password or "" for source in sources if "://" in source}
    hide_secrets(options.context, _Secrets(frozenset(passwords | {unquote(word) for word in passwords})))
    named = _columns(columns)
    zone = _zone(timezone)
    if table is not None and query is not None:
        raise Mistake("Both --table and --query are given. Needed: one of them.")
    for source in sources:
        if "://" not in source and not Path(source).exists():
            raise Mistake(f"{source}: there is no such file. Needed: a file of conversations, or a database's URL.")
    archives = [source for source in sources if _is_archive(source)]
    if archives:
        if len(sources) > 1 or dry_run or any(given is not None for given in (table, query, columns, user)):
            raise Mistake(
                f"{archives[0]} is a file of threads export --format holdfast. It is imported alone, and as it is: "
                "without --table, --query, --columns, --user and --dry-run."
            )
        transfer.import_archive(options, Path(archives[0]))
        return
    from holdfast.histories import import_histories, read_file, read_sql

    def read(source: str) -> Iterator[History]:
        if "://" in source:
            return read_sql(source, table=table, query=query, columns=named, zone=zone)
        return read_file(Path(source), named, zone)

    histories = _Counted(map(read, sources), len(sources))
    place = locate(options.context, options.settings().database)
    with open_database(options) as saver:
        imported = import_histories(saver, histories, user_id=user, dry_run=dry_run)
        totals = Totals()
        transfer.add_each(imported, totals, "Importing", lambda: histories.total, silent=options.as_json)
    if options.as_json:
        print_json({"target": str(place), "dry_run": dry_run, **totals.__dict__})
    else:
        typer.echo(totals.line(place, dry_run=dry_run))
    if totals.problems:
        raise typer.Exit(BROKEN)


def _is_archive(source: str) -> bool:
    from holdfast.checkpoints.transfer import archive

    return "://" not in source and archive.is_archive(Path(source))


def _columns(text: str | None) -> Columns | None:
    if text is None:
        return None
    from holdfast.histories import Columns

    parts = [part.partition("=") for part in text.split(",")]
    known = [one.name for one in fields(Columns)]
    for name, _, column in parts:
        if name.strip() not in known or not column.strip():
            raise Mistake(f"--columns has {name.strip()!r}. Needed: PART=NAME, with a part of {', '.join(known)}.")
    return Columns(**{name.strip(): column.strip() for name, _, column in parts})


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise Mistake(f"There is no time zone {name!r}. Needed: a name such as UTC or Europe/Berlin.") from None
