"""Erasure by `holdfast threads delete`: its options, and the receipt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.errors import BROKEN, Mistake
from holdfast.cli.options import decider_name, no_default
from holdfast.cli.output import print_json, print_notice

if TYPE_CHECKING:
    from holdfast.checkpoints import Erased, HoldfastDatabase

Receipt = Annotated[
    Path | None,
    no_default(
        "--receipt", "FILE", "Erase, and write a receipt: as JSON if the name ends with .json, else as text for people."
    ),
]
Vacuum = Annotated[
    bool,
    typer.Option(
        "--vacuum",
        help="Erase, and rewrite the files of the database without the erased bytes. Other processes wait meanwhile, "
        "and it takes as much space again.",
    ),
]
Copies = Annotated[
    bool, typer.Option("--copies", help="With THREAD: erase also what it was copied from, and all copies.")
]
RedactOthers = Annotated[
    bool,
    typer.Option(
        "--redact-others", help="With --user: erase, and redact what the user has said in conversations of others."
    ),
]
Reason = Annotated[str | None, no_default("--reason", "TEXT", "Why, for the receipt.")]


@dataclass(frozen=True)
class ErasureOptions:
    """What a command was told about an erasure. If nothing, it deletes."""

    receipt: Path | None
    vacuum: bool
    copies: bool
    redact_others: bool
    reason: str | None
    by: str | None

    @property
    def is_wished(self) -> bool:
        """Return whether to erase, and not only to delete."""
        return any(vars(self).values())

    def check(self, thread: str | None, until: str | None) -> None:
        """Refuse options that do not go together, and a file that cannot be written, before anything is erased.

        Raises:
            Mistake: they do not, or it cannot.
        """
        if until is not None:
            raise Mistake(
                "--until deletes by time, and a receipt is of a conversation or a user. Leave one of both out."
            )
        if self.copies and thread is None:
            raise Mistake("--copies is about one conversation. Needed: THREAD. Of a user all are erased.")
        if self.redact_others and thread is not None:
            raise Mistake("--redact-others is about a user. Needed: --user NAME, without THREAD.")
        if self.receipt is not None:
            from holdfast.checkpoints.erasure import is_receipt
            from holdfast.cli.threads.export import ExportFile

            # A receipt may be replaced: an erasure that was cut off is run again.
            replaces = self.receipt.is_file() and is_receipt(self.receipt)
            ExportFile(self.receipt, force=replaces, option="--receipt")

    def erase(self, database: HoldfastDatabase, thread: str | None, user: str | None) -> Erased:
        """Erase a conversation, or all of a user, and write the receipt."""
        receipt = database.erase(
            thread,
            user_id=user,
            copies=self.copies,
            others="redact" if self.redact_others else "list",
            vacuum=self.vacuum,
            reason=self.reason,
            by=decider_name(self.by),
        )
        if self.receipt is not None:
            from holdfast.cli.threads.export import ExportFile, print_written

            file = ExportFile(self.receipt, force=True, option="--receipt")
            file.write([receipt.json() if self.receipt.suffix == ".json" else receipt.text()])
            print_written(file, receipt.digest)
        return receipt

    def report(self, receipt: Erased, *, as_json: bool) -> None:
        """Print the receipt, if it went into no file, or what was erased."""
        if as_json:
            print_json(receipt.facts())
        elif self.receipt is None:
            typer.echo(receipt.text(), nl=False)
        else:
            threads, rows = len(receipt.threads), sum(receipt.rows.values())
            typer.echo(f"{threads:,} {'conversation' if threads == 1 else 'conversations'} and {rows:,} rows erased.")
        for name, reason in receipt.failed.items():
            print_notice(f"Not erased: {name}: {reason}")
        for what in receipt.remains if self.vacuum else ():
            print_notice(what)
        if not receipt.is_complete or (self.vacuum and receipt.remains):
            raise typer.Exit(BROKEN)
