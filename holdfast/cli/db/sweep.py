"""`holdfast db sweep`: delete what a retention policy no longer keeps."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from holdfast.cli.db.open import locate_database, open_database
from holdfast.cli.db.prune import Vacuum
from holdfast.cli.errors import BROKEN, Interrupted, Mistake
from holdfast.cli.options import CommonOptions, with_database_options
from holdfast.cli.output import print_json, print_notice
from holdfast.cli.output.text import counted

if TYPE_CHECKING:
    from holdfast.checkpoints import RetentionPolicy, Swept

EXAMPLE: Final = "Example: holdfast db sweep --policy retention.toml --dry-run"

Policy = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        "-p",
        metavar="FILE",
        help="The policy, in TOML: how long to keep conversations. Default: HOLDFAST_RETENTION.",
        show_default=False,
    ),
]


@with_database_options
def sweep(
    options: CommonOptions,
    policy: Policy = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be deleted.")] = False,
    vacuum: Vacuum = False,
) -> None:
    """Delete what a retention policy no longer keeps.

    Conversations that wait for a person, have a call in doubt or a run that has not ended stay, unless the policy says
    how long that may take. Those in use always stay. Conversations can go on meanwhile. It can be stopped at any time,
    and run by several machines at once: made for cron. The exit code is 1 if a conversation could not be pruned.
    """
    location = locate_database(options)
    found = _policy(options, policy)
    from holdfast.checkpoints import maintenance

    try:
        with open_database(options) as database:
            swept = database.sweep(found, dry_run=dry_run)
    except KeyboardInterrupt as interrupt:
        raise Interrupted.after(interrupt, "Stopped. Run the command again to continue.") from None
    if vacuum and not dry_run:
        maintenance.vacuum(location)
    for problem in swept.failed.values():
        print_notice(problem)
    if options.as_json:
        print_json(asdict(swept))
    else:
        typer.echo(_line(swept))
    if swept.failed:
        raise typer.Exit(BROKEN)


def _policy(options: CommonOptions, path: Path | None) -> RetentionPolicy:
    """Read the policy that the option or the settings name.

    Raises:
        Mistake: there is none, or it cannot be used.
    """
    from holdfast.checkpoints import RetentionPolicy

    path = path or options.settings().retention
    if path is None:
        raise Mistake("No retention policy is given. Needed: --policy FILE, or HOLDFAST_RETENTION=FILE.")
    try:
        return RetentionPolicy.from_file(path)
    except ValueError as error:
        raise Mistake(str(error)) from error


def _line(swept: Swept) -> str:
    """Return what a sweep has done, in one line."""
    from holdfast.cli.db.convert import sized

    emptied = f", the state of {counted(swept.emptied, 'other')}" if swept.emptied else ""
    gone = (
        f"{counted(swept.threads, 'conversation')} with {counted(swept.messages, 'message')}{emptied} and "
        f"{counted(swept.checkpoints, 'checkpoint')} {'would be' if swept.is_dry else 'were'} deleted, about "
        f"{sized(swept.bytes)}."
    )
    left = f" {counted(swept.pending, 'conversation')} left: pending or in use." if swept.pending else ""
    return gone + left + (" Nothing was changed." if swept.is_dry else "")
