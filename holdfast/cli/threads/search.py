"""`holdfast threads search`: what was said, in any conversation; and bringing its index up to date."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import moments
from holdfast.cli.db.open import there
from holdfast.cli.options import (
    Database,
    Debug,
    Given,
    Json,
    Thread,
)
from holdfast.cli.output.text import one_line, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.checkpoints import Hit, HoldfastSaver

EXAMPLE = """Example: holdfast threads search 'refund "brass calculator" -cancelled' --user ada --since 30d"""


def search(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            help='What to search for: words that must all be there, "a phrase", -not, begin*. Put it in single quotes.'
        ),
    ],
    user: Annotated[
        str | None,
        typer.Option("--user", metavar="NAME", help="Only in conversations of this user.", show_default=False),
    ] = None,
    thread: Thread = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar=moments.METAVAR, help=f"From then on. {moments.HELP}", show_default=False),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar=moments.METAVAR, help="Before then.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many hits at the most.")] = 20,
    database: Database = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Search what was said, best first.

    The first search brings an index up to date, which takes a while in an old database: holdfast db index does that
    alone.
    """
    from holdfast.checkpoints.search.query import parse_query
    from holdfast.cli.threads.manage import tell_of_unlisted

    given, text = Given(database), " ".join(words)
    parse_query(text)  # what makes no sense is refused before the index is looked at
    times = moments.seconds(since, "--since"), moments.seconds(until, "--until")
    with there(context, given) as saver:
        if thread is None:  # of one alone it is soon done by the search itself
            index(saver, user, silent=as_json)
        if user is not None:
            tell_of_unlisted(saver, given)
        found = saver.search.find(text, user_id=user, thread_id=thread, since=times[0], until=times[1], limit=limit)
    if as_json:
        typer.echo(json.dumps([hit._asdict() for hit in found]))
        return
    for hit in found:
        for line in _lines(hit):
            typer.echo(line)
    if not found:
        typer.echo("Nothing was found.")


def index(saver: HoldfastSaver, user: str | None, *, silent: bool) -> int:
    """Bring the index up to date, with a bar where somebody looks at a terminal. Gives how many messages were new."""
    from holdfast.cli.output.progress import bar

    with bar("Indexing", silent=silent) as going:
        return saver.search.refresh(user_id=user, progress=going.set)


def _lines(hit: Hit) -> Iterator[str]:
    """A hit, for people: where it is, and what was said."""
    from holdfast.checkpoints.transcript.export.text import when

    facts: list[Any] = [when(hit.at), f"thread {hit.thread_id}"]
    facts += [f"user {hit.user_id}"] if hit.user_id else []
    facts += [hit.title] if hit.title else []
    yield typer.style(one_line(", ".join(facts)), dim=True)
    yield f"  {one_line(hit.role)}: {_marked(hit)}"


def _marked(hit: Hit) -> str:
    """The snippet, with what was searched for in bold, or in brackets where nothing is bold. A terminal acts on nothing
    else in it."""
    parts, end, bold = [], 0, sys.stdout.isatty()
    for start, stop in hit.marks:
        found = visible(hit.snippet[start:stop])
        parts += [visible(hit.snippet[end:start]), typer.style(found, bold=True) if bold else f"[{found}]"]
        end = stop
    return "".join([*parts, visible(hit.snippet[end:])])
