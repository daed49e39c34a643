"""`holdfast db`: a database as a whole."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.db import encryption, prune, sweep, transfer
from holdfast.cli.db.deploy import Agent, Renamed
from holdfast.cli.db.open import Allow, check_thread, locate, locate_database, open_database
from holdfast.cli.db.prune import Vacuum
from holdfast.cli.errors import BROKEN, Mistake
from holdfast.cli.options import (
    CommonOptions,
    Thread,
    make_group,
    with_database_options,
)
from holdfast.cli.output import print_json
from holdfast.cli.output.text import counted

if TYPE_CHECKING:
    from holdfast.cli.db.convert import Convert

app = make_group(
    "Inspect, check, upgrade, prune, sweep, copy and convert a database.",
    "holdfast db stats --database sqlite:///chat.db",
)


@app.command("stats", epilog="Example: holdfast db stats --json")
@with_database_options
def stats(
    options: CommonOptions,
    largest: Annotated[
        int,
        typer.Option(
            "--largest", metavar="N", min=0, max=100_000, help="How many of the largest conversations to list."
        ),
    ] = 10,
) -> None:
    """Show what takes the space in a database.

    Lists tables, indexes and the largest conversations, and compares the size with that of the text.
    """
    locate_database(options)
    from holdfast.checkpoints import maintenance
    from holdfast.cli.db.convert import stats_lines

    with open_database(options, takes_plain=True) as saver:
        found = maintenance.collect_stats(saver.database, largest=largest)
    if options.as_json:
        print_json({**asdict(found), "ratio": found.ratio})
        return
    for line in stats_lines(found):
        typer.echo(line)


@dataclass
class _Findings:
    """What a check has found while it loaded everything."""

    damaged: dict[str, str] = field(default_factory=dict)
    """Why a conversation cannot be loaded, by its id."""
    not_rebuilt: dict[str, str] = field(default_factory=dict)
    """Why the values of a type are loaded as what they consist of, by the type."""
    damaged_items: dict[str, str] = field(default_factory=dict)
    """Why an item of long-term memory cannot be read, by namespace and key."""

    def print(self) -> None:
        """Print the findings for people."""
        for reason in self.damaged.values():
            typer.echo(reason)
        for name, reason in self.damaged_items.items():
            typer.echo(
                f"The item {name} of long-term memory cannot be read: {reason}. Put it again, delete it, or restore it "
                "from a backup."
            )
        if self.damaged:
            typer.echo(f"{counted(len(self.damaged), 'conversation')} damaged.")
        elif not self.damaged_items:
            typer.echo("Everything can be loaded.")
        for name, reason in sorted(self.not_rebuilt.items()):
            typer.echo(
                f"Remark: values of the type {name.replace(':', '.')} are loaded here as what they consist of, because "
                f"{reason}. To try the type itself: --allow {name}"
            )


def _load_all(options: CommonOptions, thread: str | None, allow: list[str] | None) -> _Findings:
    """Load every checkpoint and every item of long-term memory, or the checkpoints of one thread."""
    from holdfast.checkpoints.convert import examine_thread
    from holdfast.checkpoints.store.items import damaged_items
    from holdfast.cli.db.convert import thread_ids

    findings = _Findings()
    with open_database(options, allow) as saver:
        check_thread(saver, thread, options)
        for id_ in thread_ids(saver, thread, "Checking"):
            found = examine_thread(saver.database, id_)
            findings.not_rebuilt.update(found.not_rebuilt)
            if found.damage is not None:
                findings.damaged[id_] = found.damage
        if thread is None:
            findings.damaged_items = damaged_items(saver.database.backend)
    return findings


@app.command("check", epilog="Example: holdfast db check --agent my_app.agents:support")
@with_database_options
def check(
    options: CommonOptions,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Load every checkpoint of every conversation, and all long-term memory, and list what is damaged.",
        ),
    ] = False,
    agent: Agent = None,
    renamed: Renamed = None,
    thread: Thread = None,
    allow: Allow = None,
) -> None:
    """Compare a database's schema with this version's, and its conversations with an agent.

    Changes nothing. With --deep or --thread, the exit code is 1 if something is damaged. With --agent, it is 1 if
    the agent cannot go on with a conversation.
    """
    location = locate_database(options)
    if renamed and agent is None:
        raise Mistake("--renamed is about the nodes of an agent. Give --agent MODULE:NAME as well.")
    from holdfast.checkpoints import maintenance

    schema = maintenance.read_schema(location)
    facts: dict[str, Any] = {"found": schema.version, "known": schema.known, "pending": schema.pending}
    if not options.as_json:
        typer.echo(f"{location} has schema version {schema.version}; this version of Holdfast knows {schema.known}.")
        if schema.pending:
            names = ", ".join(schema.pending)
            typer.echo(
                f"Not applied yet: {names}. Opening the database applies them, or {options.command('db', 'upgrade')}"
            )
        elif schema.version > schema.known:
            typer.echo("The database is newer, and this version can still use it.")
        else:
            typer.echo("The schema is up to date.")
    load = deep or (thread is not None and agent is None)
    if (load or agent is not None) and schema.pending:
        command = options.command("db", "upgrade")
        raise Mistake(f"The tables are not up to date, so conversations cannot be checked. First: {command}")
    found = _load_all(options, thread, allow) if load else _Findings()
    if load:
        facts |= asdict(found)
        if not options.as_json:
            found.print()
    obstacles = agent is not None and _check_agent(options, agent, renamed, thread, allow, facts)
    if options.as_json:
        print_json(facts)
    if found.damaged or found.damaged_items or obstacles:
        raise typer.Exit(BROKEN)


def _check_agent(
    options: CommonOptions,
    agent: str,
    renamed: list[str] | None,
    thread: str | None,
    allow: list[str] | None,
    facts: dict[str, Any],
) -> bool:
    """Compare an agent with the conversations, and return whether it cannot go on with one."""
    from holdfast.cli.db import deploy

    checked = deploy.check_agent(options, agent, renamed, thread, allow)
    facts |= {"threads": checked.threads, "obstacles": deploy.facts(checked)}
    if not options.as_json:
        deploy.print_obstacles(checked, agent)
    return bool(checked.obstacles)


@app.command("upgrade", epilog="Example: holdfast db upgrade --database postgresql://holdfast@localhost/holdfast")
@with_database_options
def upgrade(options: CommonOptions) -> None:
    """Create the tables, or bring them up to date.

    Opening a database does the same. Use this command to migrate before a deployment, for example with a database user
    that may create tables. A migration commits together with its record, or not at all, and cannot be undone. Then
    conversations that an older version or LangGraph's own savers have saved are added to the list of threads.
    """
    location = locate(options.context, options.settings().database)
    from holdfast.checkpoints import maintenance

    before = maintenance.read_schema(location)
    with open_database(options) as saver:
        after = maintenance.read_schema(location)
        from holdfast.cli.threads.manage import add_unlisted

        listed, damaged = add_unlisted(saver, silent=options.as_json)
    if options.as_json:
        facts = {"found": before.version, "version": after.version, "applied": before.pending}
        print_json({**facts, "listed": listed, "damaged": damaged})
        return
    for name in before.pending:
        typer.echo(f"Applied {name}.")
    was = f"It was {before.version}." if before.pending else "Nothing had to be applied."
    typer.echo(f"{location} has schema version {after.version}. {was}")
    if listed:
        typer.echo(f"Added to the list of threads: {listed:,}.")
    for reason in damaged.values():
        typer.echo(f"Not added to the list: {reason}", err=True)


@app.command("index", epilog="Example: holdfast db index --database sqlite:///chat.db")
@with_database_options
def index(options: CommonOptions) -> None:
    """Bring the search index up to date.

    Every `holdfast threads search` does so first. In a database that was never searched it takes a while. Conversations
    can go on meanwhile. It can be stopped at any time; run it again to continue.
    """
    locate_database(options)
    from holdfast.cli.threads.search import refresh_index

    with open_database(options) as saver:
        new = refresh_index(saver, None, silent=options.as_json)
    if options.as_json:
        print_json({"indexed": new})
    else:
        typer.echo(f"{counted(new, 'new message')} in the search index.")


app.command("prune", epilog=prune.EXAMPLE)(prune.prune)
app.command("sweep", epilog=sweep.EXAMPLE)(sweep.sweep)
app.command("new-key", epilog=encryption.NEW_KEY_EXAMPLE)(encryption.new_key)
app.command("encrypt", epilog=encryption.ENCRYPT_EXAMPLE)(encryption.encrypt)
app.command("rotate-keys", epilog=encryption.ROTATE_EXAMPLE)(encryption.rotate)
app.command("copy", epilog=transfer.COPY_EXAMPLE)(transfer.copy_database)


@app.command("compact", epilog="Example: holdfast db compact --database sqlite:///chat.db --vacuum")
@with_database_options
def compact(options: CommonOptions, thread: Thread = None, allow: Allow = None, vacuum: Vacuum = False) -> None:
    """Shrink what LangGraph's own savers have stored.

    A database of LangGraph's own savers opens as it is, and new checkpoints are stored compactly. This command rewrites
    the old ones: each message becomes one row. It converts thread by thread, and commits a thread only if everything in
    it still loads as before. It can be stopped at any time; run it again to continue. Values that it cannot rewrite
    stay as they are, and checkpoints in an older format of LangGraph keep that format.
    """
    _convert(options, "compact", thread, allow, vacuum=vacuum)


@app.command("expand", epilog="Example: holdfast db expand --database sqlite:///chat.db")
@with_database_options
def expand(
    options: CommonOptions,
    thread: Thread = None,
    allow: Allow = None,
    drop: Annotated[
        bool,
        typer.Option(
            "--drop",
            help="Also remove Holdfast's own tables, with the transcripts. First stop every program that uses them.",
        ),
    ] = False,
    vacuum: Vacuum = False,
) -> None:
    """Make a database readable for LangGraph's own savers.

    Writes the messages back into every checkpoint, so the database grows. It converts thread by thread, and commits a
    thread only if everything in it still loads as before. It can be stopped at any time; run it again to continue.
    Without --drop the message rows stay, and Holdfast can open the database again.
    """
    if drop and thread is not None:
        raise Mistake("--drop is about the whole database and --thread about one conversation. Give one of them.")
    _convert(options, "expand", thread, allow, vacuum=vacuum, drop=drop)


def _convert(
    options: CommonOptions,
    name: str,
    thread: str | None,
    allow: list[str] | None,
    *,
    vacuum: bool,
    drop: bool = False,
) -> None:
    location = locate_database(options)
    from holdfast.checkpoints import convert, maintenance
    from holdfast.cli.db.convert import convert_threads

    convert_one: Convert = convert.compact_thread if name == "compact" else convert.expand_thread
    verb = "Compacting" if name == "compact" else "Expanding"
    with open_database(options, allow) as saver:
        check_thread(saver, thread, options)
        totals = convert_threads(saver, convert_one, verb, thread, as_json=options.as_json)
        dropped = drop and not totals.problems
        if dropped:
            convert.drop_tables(saver.database)
    if vacuum:
        maintenance.vacuum(location)
    if options.as_json:
        print_json({**totals.facts(), "dropped": dropped, "vacuumed": vacuum})
    else:
        typer.echo(totals.line(name))
        if dropped:
            typer.echo("Holdfast's tables are removed.")
        if (totals.bytes_before > totals.bytes_after or drop) and not vacuum:
            again = options.command("db", name, "--vacuum")
            typer.echo(f"The database will reuse the free space. To give it back to the disk: {again}")
    if totals.problems:
        raise typer.Exit(BROKEN)
