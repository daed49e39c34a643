"""`holdfast db prune`: delete the checkpoints that no conversation needs to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from holdfast.cli.db.open import check_thread, locate_database, open_database
from holdfast.cli.errors import BROKEN, Interrupted
from holdfast.cli.options import CommonOptions, Thread, with_database_options
from holdfast.cli.output import print_json, print_notice
from holdfast.cli.output.text import counted

if TYPE_CHECKING:
    from holdfast.checkpoints import HoldfastDatabase
    from holdfast.checkpoints.maintenance import Stats

EXAMPLE: Final = "Example: holdfast db prune --dry-run"

Vacuum = Annotated[
    bool,
    typer.Option(
        "--vacuum",
        help="Afterwards give the free space back to the disk. Other processes wait meanwhile, and it takes as much "
        "space again.",
    ),
]


@with_database_options
def prune(
    options: CommonOptions,
    thread: Thread = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the checkpoints.")] = False,
    vacuum: Vacuum = False,
) -> None:
    """Delete old checkpoints.

    Of each conversation the newest checkpoint stays, with what it needs to go on. All messages stay in the transcript.
    What ends is the way back: no undo, and no fork from a point before this. Conversations can go on meanwhile.
    """
    location = locate_database(options)
    from holdfast.checkpoints import maintenance

    problems: dict[str, str] = {}
    with open_database(options) as database:
        check_thread(database, thread, options)
        before = maintenance.collect_stats(database.database, largest=0)
        if dry_run:
            return _print_dry(before, as_json=options.as_json)
        problems = _prune(database, thread, silent=options.as_json)
        after = maintenance.collect_stats(database.database, largest=0)
    if vacuum:
        maintenance.vacuum(location)
    gone = before.checkpoints - after.checkpoints
    if options.as_json:
        print_json({"deleted": gone, "checkpoints": after.checkpoints, "vacuumed": vacuum, "failed": problems})
    else:
        typer.echo(f"{counted(gone, 'checkpoint')} deleted; {after.checkpoints:,} stay.")
        if gone and not vacuum:
            again = options.command("db", "prune", "--vacuum")
            typer.echo(f"The database will reuse the free space. To give it back to the disk: {again}")
    if problems:
        raise typer.Exit(BROKEN)
    return None


def _prune(database: HoldfastDatabase, thread: str | None, *, silent: bool) -> dict[str, str]:
    """Prune every thread, or one. Return why others could not be, by thread.

    Raises:
        Interrupted: Ctrl-C. The threads before it are pruned.
    """
    from holdfast.checkpoints.errors import DamagedThread
    from holdfast.cli.db.convert import thread_ids

    problems: dict[str, str] = {}
    try:
        for thread_id in thread_ids(database, thread, "Pruning", silent=silent):
            try:
                database.prune([thread_id])
            except DamagedThread as error:
                problems[thread_id] = str(error)
                print_notice(str(error))
    except KeyboardInterrupt as interrupt:
        raise Interrupted.after(interrupt, "Stopped. Run the command again to continue.") from None
    return problems


def _print_dry(stats: Stats, *, as_json: bool) -> None:
    if as_json:
        return print_json({"threads": stats.threads, "checkpoints": stats.checkpoints})
    typer.echo(
        f"{counted(stats.threads, 'conversation')} with {counted(stats.checkpoints, 'checkpoint')}. Pruning keeps the "
        "newest of each, and what it needs to go on. Nothing was deleted."
    )
    return None
