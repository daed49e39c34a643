"""`holdfast db`: a database as a whole, and how one gets in and out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.db import transfer
from holdfast.cli.db.open import Allow, location_of, opened
from holdfast.cli.errors import BROKEN, Mistake
from holdfast.cli.options import (
    Database,
    Debug,
    Given,
    Json,
    Thread,
    help_if_bare,
)

if TYPE_CHECKING:
    from holdfast.cli.db.convert import Convert

app = typer.Typer(
    help="See what a database holds, make one of LangGraph's own savers compact, give one back, copy, upgrade, check.",
    epilog="Example: holdfast db stats --database sqlite:///chat.db",
    rich_markup_mode=None,
    invoke_without_command=True,
)
app.callback()(help_if_bare)
app.command("copy", epilog=transfer.COPY_EXAMPLE)(transfer.copy)

Vacuum = Annotated[
    bool,
    typer.Option(
        "--vacuum",
        help="Give the space back to the disk afterwards. Others wait as long, and it needs as much space again.",
    ),
]


@app.command("compact", epilog="Example: holdfast db compact --database sqlite:///chat.db --vacuum")
def compact(
    context: typer.Context,
    thread: Thread = None,
    allow: Allow = None,
    vacuum: Vacuum = False,
    database: Database = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Store the old checkpoints of LangGraph's own savers compactly.

    A database of theirs opens as it is and goes on compactly; this gives the messages of what was there before rows as
    well. Thread by thread, and each is compared with what it was before it is committed. It may be stopped at any time;
    the same command goes on. What is not understood stays as it is, and checkpoints of LangGraph's older formats keep
    their format.
    """
    given = Given(database)
    _convert(context, given, "compact", thread, allow, as_json=as_json, vacuum=vacuum)


@app.command("expand", epilog="Example: holdfast db expand --database sqlite:///chat.db")
def expand(
    context: typer.Context,
    thread: Thread = None,
    allow: Allow = None,
    drop: Annotated[
        bool,
        typer.Option(
            "--drop",
            help="Remove Holdfast's own tables as well, with the transcript. Stop every program that uses them first.",
        ),
    ] = False,
    vacuum: Vacuum = False,
    database: Database = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Give a database back to LangGraph's own savers.

    Every checkpoint and every write gets its messages back, so that those savers read it and go on; it grows
    accordingly. Thread by thread, each compared before it is committed, and it may be stopped at any time. Message rows
    stay unless --drop is given, and Holdfast can open the database again and go on.
    """
    if drop and thread is not None:
        raise Mistake("--drop is about the whole database, and --thread about one conversation. Give one of them.")
    _convert(context, Given(database), "expand", thread, allow, as_json=as_json, vacuum=vacuum, drop=drop)


@app.command("stats", epilog="Example: holdfast db stats --json")
def stats(
    context: typer.Context,
    largest: Annotated[
        int, typer.Option("--largest", min=0, max=100_000, help="How many of the largest conversations to name.")
    ] = 10,
    database: Database = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what takes the space: tables, indexes, the largest conversations; and how that compares to what was said."""
    given = Given(database)
    location_of(context, given)
    from holdfast.checkpoints import maintenance
    from holdfast.cli.db import convert as converting

    with opened(context, given) as saver:
        found = maintenance.collect_stats(saver.database, largest=largest)
    if as_json:
        parts = [part._asdict() for part in found.parts]
        threads = [size._asdict() for size in found.largest]
        _print_json({**found._asdict(), "ratio": found.ratio, "parts": parts, "largest": threads})
        return
    for line in converting.stats_lines(found):
        typer.echo(line)


@app.command("upgrade", epilog="Example: holdfast db upgrade --database postgresql://holdfast@localhost/holdfast")
def upgrade(context: typer.Context, database: Database = None, as_json: Json = False, debug: Debug = False) -> None:
    """Bring the tables to what this version needs, or make them.

    Opening a database does the same. This is for deployments that migrate before they roll out, perhaps with a user who
    may make tables where the program's own may not. Forward only: each migration commits with its record, or not at
    all. Then every conversation that an older version or LangGraph's own savers have saved comes into the list of
    threads.
    """
    given = Given(database)
    location = location_of(context, given, must_be_there=False)
    from holdfast.checkpoints import maintenance, open_checkpointer

    before = maintenance.read_schema(location)
    with open_checkpointer(given.settings(context).database) as saver:
        after = maintenance.read_schema(location)
        from holdfast.cli.threads.manage import index

        listed, damaged = index(saver, silent=as_json)
    if as_json:
        found = {"found": before.version, "version": after.version, "applied": before.pending}
        _print_json({**found, "listed": listed, "damaged": damaged})
        return
    for name in before.pending:
        typer.echo(f"Applied {name}.")
    was = f"It was {before.version}." if before.pending else "There was nothing to do."
    typer.echo(f"{location} has schema version {after.version}. {was}")
    if listed:
        typer.echo(f"New in the list of threads: {listed:,}.")
    for why in damaged.values():
        typer.echo(f"Not in the list: {why}", err=True)


@app.command("check", epilog="Example: holdfast db check --deep")
def check(
    context: typer.Context,
    deep: Annotated[
        bool, typer.Option("--deep", help="Load every checkpoint of every conversation, and name what is damaged.")
    ] = False,
    thread: Thread = None,
    allow: Allow = None,
    database: Database = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say which schema a database has, which one this version knows, and whether something is to be done.

    Changes nothing. With --deep the exit code is 1 if a conversation is damaged.
    """
    given = Given(database)
    location = location_of(context, given)
    from holdfast.checkpoints import maintenance

    schema = maintenance.read_schema(location)
    said: dict[str, Any] = {"found": schema.version, "known": schema.known, "pending": schema.pending}
    if not as_json:
        typer.echo(f"{location}: schema version {schema.version} found, {schema.known} known.")
        if schema.pending:
            names = ", ".join(schema.pending)
            typer.echo(f"To be applied: {names}. Opening it does so, or {given.again('db', 'upgrade')}")
        elif schema.version > schema.known:
            typer.echo("It is newer, and this version can still work with it.")
        else:
            typer.echo("Nothing is to be done.")
    if (deep or thread is not None) and schema.pending:
        first = given.again("db", "upgrade")
        raise Mistake(f"Conversations are looked at when the tables are up to date. First: {first}")
    damaged: dict[str, str] = {}
    if deep or thread is not None:
        from holdfast.checkpoints import convert as work
        from holdfast.cli.db import convert as converting

        with opened(context, given, allow) as saver:
            found = (
                (id_, work.find_damage(saver.database, id_)) for id_ in converting.chosen(saver, thread, "Looking at")
            )
            damaged = {id_: why for id_, why in found if why is not None}
        said["damaged"] = damaged
    if as_json:
        _print_json(said)
    elif deep or thread is not None:
        for why in damaged.values():
            typer.echo(why)
        typer.echo(
            "Everything can be loaded."
            if not damaged
            else f"Damaged: {converting.counted(len(damaged), 'conversation')}."
        )
    if damaged:
        raise typer.Exit(BROKEN)


@app.command("index", epilog="Example: holdfast db index --database sqlite:///chat.db")
def index(context: typer.Context, database: Database = None, as_json: Json = False, debug: Debug = False) -> None:
    """Bring the index of full text up to date, for holdfast threads search.

    Every search does so first, for what is new; in an old database that has never been searched it takes a while. Turns
    go on meanwhile. It may be stopped at any time; the same command goes on.
    """
    given = Given(database)
    location_of(context, given)
    from holdfast.cli.db import convert as converting
    from holdfast.cli.threads import search

    with opened(context, given) as saver:
        done = search.index(saver, None, silent=as_json)
    if as_json:
        _print_json({"indexed": done})
    else:
        typer.echo(f"{converting.counted(done, 'new message')} in the index.")


def _convert(
    context: typer.Context,
    given: Given,
    name: str,
    thread: str | None,
    allow: list[str] | None,
    *,
    as_json: bool,
    vacuum: bool,
    drop: bool = False,
) -> None:
    location = location_of(context, given)
    from holdfast.checkpoints import convert as work
    from holdfast.checkpoints import maintenance
    from holdfast.cli.db import convert as converting

    convert: Convert = work.compact_thread if name == "compact" else work.expand_thread
    with opened(context, given, allow) as saver:
        done = converting.convert(saver, convert, thread, as_json=as_json)
        if drop and not done.problems:
            work.drop_tables(saver.database)
    if vacuum:
        maintenance.vacuum(location)
    if as_json:
        _print_json({**done.facts(), "dropped": drop and not done.problems, "vacuumed": vacuum})
    else:
        for line in done.lines(name):
            typer.echo(line)
        if drop and not done.problems:
            typer.echo("Holdfast's tables are removed.")
        if (done.bytes_before > done.bytes_after or drop) and not vacuum:
            again = given.again("db", name, "--vacuum")
            typer.echo(f"The space is free for what comes next. To give it back to the disk: {again}")
    if done.problems:
        raise typer.Exit(BROKEN)


def _print_json(facts: dict[str, Any]) -> None:
    typer.echo(json.dumps(facts, default=str))
