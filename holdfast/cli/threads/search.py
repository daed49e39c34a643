"""`holdfast threads search`: search the messages of all conversations."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.db.open import open_existing
from holdfast.cli.options import (
    TIME_HELP,
    TIME_METAVAR,
    CommonOptions,
    Thread,
    no_default,
    parse_time,
    with_database_options,
)
from holdfast.cli.output import print_json
from holdfast.cli.output.text import one_line, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.checkpoints import Hit, HoldfastDatabase

EXAMPLE = """Example: holdfast threads search 'refund "brass calculator" -cancelled' --user ada --since 30d"""


@with_database_options
def search(
    options: CommonOptions,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="WORDS...",
            help='What to search for: words that must all occur, "a phrase", -excluded, begin*. Put the whole query in '
            "single quotes.",
        ),
    ],
    user: Annotated[str | None, no_default("--user", "NAME", "Only conversations of this user.", "-u")] = None,
    thread: Thread = None,
    since: Annotated[
        str | None,
        no_default("--since", TIME_METAVAR, f"Only messages since WHEN. {TIME_HELP}"),
    ] = None,
    until: Annotated[str | None, no_default("--until", TIME_METAVAR, "Only messages before WHEN.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=1000, help="Number of results at most.")
    ] = 20,
) -> None:
    """Search messages, best match first.

    The first search builds an index, which takes a while in a large database. To build it alone: holdfast db index
    """
    from holdfast.checkpoints.search.query import parse_query
    from holdfast.cli.threads.manage import report_unlisted

    query = " ".join(words)
    parse_query(query)  # an invalid query is refused before the index is brought up to date
    since_at, until_at = parse_time(since, "--since"), parse_time(until, "--until")
    with open_existing(options) as saver:
        if thread is None:  # for one thread the search does it, which is fast
            refresh_index(saver, user, silent=options.as_json)
        if user is not None:
            report_unlisted(saver, options)
        hits = saver.search.find(query, user_id=user, thread_id=thread, since=since_at, until=until_at, limit=limit)
    if options.as_json:
        return print_json([asdict(hit) for hit in hits])
    for hit in hits:
        for line in _lines(hit):
            typer.echo(line)
    if not hits:
        typer.echo("Nothing was found.")
    return None


def refresh_index(saver: HoldfastDatabase, user: str | None, *, silent: bool) -> int:
    """Bring the search index up to date, with a progress bar. Return the number of new messages."""
    from holdfast.cli.output.progress import progress_bar

    with progress_bar("Indexing", silent=silent) as bar:
        return saver.search.refresh(user_id=user, progress=bar.set)


def _lines(hit: Hit) -> Iterator[str]:
    """Yield the lines of a hit for people: where it is, and the message."""
    from holdfast.checkpoints.transcript.export import source_label, when

    facts: list[Any] = [when(hit.at), f"thread {hit.thread_id}"]
    facts += [f"user {hit.user_id}"] if hit.user_id else []
    facts += [hit.title] if hit.title else []
    yield typer.style(one_line(", ".join(facts)), dim=True)
    yield f"  {one_line(source_label(hit.source) or hit.role)}: {_marked(hit)}"


def _marked(hit: Hit) -> str:
    """Return the snippet, safe to print. Its matches are bold, or in brackets if the output is not a terminal."""
    parts, end, bold = [], 0, sys.stdout.isatty()
    for start, stop in hit.marks:
        match = visible(hit.snippet[start:stop])
        parts += [visible(hit.snippet[end:start]), typer.style(match, bold=True) if bold else f"[{match}]"]
        end = stop
    return "".join([*parts, visible(hit.snippet[end:])])
