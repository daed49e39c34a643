"""`holdfast db new-key`, `encrypt` and `rotate-keys`: the encryption of a database."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from holdfast.cli.db.open import locate_database, open_database
from holdfast.cli.errors import BROKEN, Interrupted, Mistake
from holdfast.cli.options import CommonOptions, with_database_options
from holdfast.cli.output import print_json, print_notice
from holdfast.cli.output.text import counted

if TYPE_CHECKING:
    from holdfast.checkpoints.convert import EncryptedThreads

NEW_KEY_EXAMPLE: Final = "Example: holdfast db new-key >> keys.txt && export HOLDFAST_KEYS_FILE=keys.txt"
ENCRYPT_EXAMPLE: Final = "Example: holdfast db encrypt --database sqlite:///chat.db"
ROTATE_EXAMPLE: Final = "Example: holdfast db rotate-keys --database sqlite:///chat.db"

_AGAIN: Final = "Stopped. Run the command again to continue."


def new_key(
    key_id: Annotated[
        str | None,
        typer.Argument(
            metavar="ID", help="The id of the key, which is not secret. Default: the date.", show_default=False
        ),
    ] = None,
) -> None:
    """Make a master key, and print it as id:base64.

    Give it to the processes in HOLDFAST_KEYS, or in a file that HOLDFAST_KEYS_FILE names; newest first. Keep it where
    the backups are not: without it, nothing of the database can be read.
    """
    from holdfast.checkpoints.convert import new_key
    from holdfast.checkpoints.errors import InvalidKeys

    try:
        typer.echo(new_key(key_id or f"{datetime.now(UTC):%Y-%m-%d}"))
    except InvalidKeys as error:
        raise Mistake(str(error)) from error


@with_database_options
def encrypt(
    options: CommonOptions,
    prepare: Annotated[
        bool,
        typer.Option("--prepare", help="Only let processes with keys open the database, and encrypt what they write."),
    ] = False,
    vacuum: Annotated[
        bool,
        typer.Option(
            "--vacuum/--no-vacuum",
            help="Afterwards write the database anew: its free space still has the texts from before.",
        ),
    ] = True,
) -> None:
    """Encrypt a database, with the keys in HOLDFAST_KEYS or HOLDFAST_KEYS_FILE.

    Conversations can go on meanwhile, if their processes have the keys: run this with --prepare, start the processes
    anew with keys, then run it without. It can be stopped at any time; run it again to continue. The exit code is 1 if
    a conversation is damaged, and so is not encrypted.
    """
    location = locate_database(options)
    _require_keys(options)
    from holdfast.checkpoints import convert, maintenance
    from holdfast.cli.output.progress import progress_bar

    with open_database(options, takes_plain=True) as database:
        if prepare:
            convert.prepare_encryption(database.database)
            typer.echo(
                "Processes with keys can open the database now. Start them anew, then run this without --prepare."
            )
            return
        try:
            total = convert.count_plain(database.database)
            with progress_bar("Encrypting", total, silent=options.as_json) as bar:
                found = convert.encrypt_database(database.database, lambda done: bar.set(done, max(done, total)))
        except KeyboardInterrupt as interrupt:
            raise Interrupted.after(interrupt, _AGAIN) from None
    if vacuum and not found.failed:
        maintenance.vacuum(location)
    _report(found, vacuumed=vacuum and not found.failed, as_json=options.as_json)


@with_database_options
def rotate(options: CommonOptions) -> None:
    """Wrap all data keys with the newest master key.

    First give every process the new key, in front of the older ones. What is encrypted stays as it is, so this takes
    seconds, and conversations can go on meanwhile. Afterwards the older keys are needed only for backups from before.
    """
    locate_database(options)
    _require_keys(options)
    from holdfast.checkpoints import convert
    from holdfast.cli.output.progress import progress_bar

    with open_database(options) as database:
        in_use = convert.keys_in_use(database.database)
        try:
            with progress_bar("Wrapping", sum(in_use.values()), silent=options.as_json) as bar:
                found = convert.rotate_keys(
                    database.database, lambda done: bar.set(done, max(done, sum(in_use.values())))
                )
        except KeyboardInterrupt as interrupt:
            raise Interrupted.after(interrupt, _AGAIN) from None
    if options.as_json:
        print_json(asdict(found))
    else:
        typer.echo(
            f"{counted(found.keys, 'key')} wrapped anew. All are wrapped by the master key {found.master_id} now."
        )


def _require_keys(options: CommonOptions) -> None:
    if options.settings().master_keys() is None:
        raise Mistake(
            "No keys are set. Needed: a master key in HOLDFAST_KEYS, or in a file that HOLDFAST_KEYS_FILE names. To "
            "make one: holdfast db new-key"
        )


def _report(found: EncryptedThreads, *, vacuumed: bool, as_json: bool) -> None:
    for problem in found.failed.values():
        print_notice(problem)
    if as_json:
        print_json({**asdict(found), "vacuumed": vacuumed})
    elif found.failed:
        typer.echo(
            f"{counted(found.threads, 'conversation')} encrypted, {len(found.failed):,} not. Repair or delete these, "
            "and run the command again."
        )
    else:
        left = "" if vacuumed else " Its free space still has texts from before: holdfast db prune --vacuum"
        typer.echo(f"{counted(found.threads, 'conversation')} encrypted. The database is encrypted now.{left}")
    if found.failed:
        raise typer.Exit(BROKEN)
