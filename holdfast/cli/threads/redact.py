"""`holdfast threads redact`: redact a message, or what patterns find, in one conversation or in many."""

from __future__ import annotations

import re
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import typer

from holdfast.cli.db.open import open_existing
from holdfast.cli.errors import BROKEN, Mistake
from holdfast.cli.options import (
    By,
    CommonOptions,
    complete_thread,
    decider_name,
    no_default,
    with_database_options,
)
from holdfast.cli.output import print_json, print_notice
from holdfast.cli.output.question import confirm
from holdfast.cli.output.text import counted

if TYPE_CHECKING:
    from holdfast.checkpoints import Redacted

EXAMPLE: Final = (
    'Example: holdfast threads redact ada-1 --named card,email --reason "asked for"; or: holdfast threads redact '
    "--everywhere --pattern 'sk-[a-z0-9]{20,}' --dry-run"
)


@with_database_options
def redact(
    options: CommonOptions,
    thread: Annotated[
        str | None,
        typer.Argument(metavar="[THREAD]", help="Id of the conversation.", autocompletion=complete_thread),
    ] = None,
    message: Annotated[str | None, no_default("--message", "ID", "Redact this message as a whole.")] = None,
    number: Annotated[
        int | None, typer.Option("--number", metavar="N", min=1, help="The same, by its number.", show_default=False)
    ] = None,
    pattern: Annotated[str | None, no_default("--pattern", "RE", "Redact what a regular expression matches.")] = None,
    named: Annotated[
        str | None, no_default("--named", "NAMES", "Redact card, email, iban, phone: some of them, with commas.")
    ] = None,
    user: Annotated[
        str | None,
        no_default(
            "--user", "NAME", "With THREAD: act as this user. Without it: all conversations of this user.", "-u"
        ),
    ] = None,
    everywhere: Annotated[bool, typer.Option("--everywhere", help="All conversations.")] = False,
    reason: Annotated[str | None, no_default("--reason", "TEXT", "Why, for the record.")] = None,
    by: By = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be redacted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Redact many conversations without asking.")] = False,
) -> None:
    """Redact a message, or what patterns find, for good.

    A placeholder takes the place of each text, in messages, copies, older states, titles, prompts, requests, answers
    and the search. What is recorded is who did it and why, without the text. Conversations that are in use are named,
    and can be redacted again later. The exit code is 1 if one was left out, or something could not be read.
    """
    if message is not None and number is not None:
        raise Mistake("--message and --number were given together. Needed: one of them.")
    with open_existing(options) as database:
        run = partial(
            database.redact,
            thread,
            message=message if number is None else number,
            patterns=[*_names(named), *_expressions(pattern)],
            user_id=user,
            everywhere=everywhere,
            reason=reason,
            by=decider_name(by, user),
        )
        try:
            if thread is None and not dry_run and not yes:
                _confirm(run(dry_run=True))
            done = run(dry_run=dry_run)
        except ValueError as error:
            raise Mistake(str(error)) from None
    _report(done, as_json=options.as_json)


def _names(named: str | None) -> list[str]:
    return [name.strip() for name in named.split(",")] if named else []


def _expressions(pattern: str | None) -> list[re.Pattern[str]]:
    try:
        return [] if pattern is None else [re.compile(pattern)]
    except re.error as error:
        raise Mistake(f"--pattern is no regular expression: {error.msg} at position {error.pos}.") from None


def _confirm(found: Redacted) -> None:
    """Ask before several conversations are redacted.

    Raises:
        Mistake: the user does not say yes.
    """
    if not found.threads:
        return
    confirm(f"{_summary(found)} Redact", "redacted", "redacts")


def _report(done: Redacted, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(done))
    else:
        typer.echo(_summary(done))
        for place, number in sorted(done.places.items()):
            typer.echo(f"  {place}: {number:,}")
    for thread_id in done.busy:
        print_notice(f"Not redacted, because it is in use: {thread_id}")
    for what in done.unread:
        print_notice(f"Not redacted, because it cannot be read: {what}")
    if done.busy or done.unread:
        raise typer.Exit(BROKEN)


def _summary(found: Redacted) -> str:
    rows = counted(sum(found.places.values()), "row")
    if not found.threads:
        return "Nothing to redact was found."
    verb = "would be redacted" if found.is_dry_run else "were redacted"
    return f"{rows} of {counted(len(found.threads), 'conversation')} {verb}."
