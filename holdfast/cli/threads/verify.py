"""Check an exported transcript, or the receipt of an erasure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from holdfast.cli.db.open import open_existing
from holdfast.cli.options import CommonOptions, with_database_options
from holdfast.cli.output import print_json
from holdfast.cli.output.text import one_line

if TYPE_CHECKING:
    from holdfast.checkpoints import HoldfastDatabase
    from holdfast.checkpoints.transcript.export import Difference, Verification

EXAMPLE: Final = "Example: holdfast threads verify ada-1.html --database sqlite:///holdfast.db"

# Differences that are listed. The rest is counted.
_MOST_LISTED: Final = 20


@with_database_options
def verify(
    options: CommonOptions,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A file of threads export, or a receipt of threads delete.")
    ],
) -> None:
    """Check an exported transcript.

    Says whether the file is as it was written. With --database, also whether the conversation there still says the
    same, and which entries differ, by number; of the receipt of an erasure, whether it is on record there. Exit code 1:
    the file was changed, the conversation differs, or the receipt is not on record.
    """
    from holdfast.checkpoints.erasure import is_receipt

    with ExitStack() as stack:
        saver = None if options.database is None else stack.enter_context(open_existing(options))
        if is_receipt(file):
            return _verify_receipt(file, saver, as_json=options.as_json)
        from holdfast.checkpoints.transcript import export

        found = export.verify(file, saver)
    if options.as_json:
        print_json({**asdict(found), "is_intact": found.is_intact, "is_same": found.is_same})
    else:
        for line in _lines(found):
            typer.echo(one_line(line))
    if not found.is_intact or found.is_same is False:
        raise typer.Exit(1)
    return None


def _verify_receipt(file: Path, database: HoldfastDatabase | None, *, as_json: bool) -> None:
    """Check the receipt of an erasure by itself, and against the one that the database has on record."""
    from holdfast.checkpoints.erasure import read_receipt

    found = read_receipt(file)
    receipt, is_same = found.receipt, None
    if database is not None:
        is_same = database.has_receipt(receipt)
    if as_json:
        print_json({**receipt.facts(), "is_intact": found.is_intact, "is_same": is_same})
    else:
        typer.echo(one_line(f"{file}: receipt of erasure {receipt.erasure_id}, {receipt.digest}."))
        typer.echo("It is as it was written." if found.is_intact else "It is NOT as it was written.")
        if is_same is not None:
            typer.echo("The database has it on record." if is_same else "The database does NOT have it on record.")
    if not found.is_intact or is_same is False:
        raise typer.Exit(1)


def _lines(found: Verification) -> Iterator[str]:
    from holdfast.checkpoints.transcript.export import when

    yield f"{found.path}: thread {found.thread_id}, {_entries(found.entries)}, exported {when(found.exported_at)}."
    yield f"Digest of the content: {found.digest}"
    if found.is_intact:
        yield f"The file is as it was written: SHA-256 {found.seal} before its last line."
    for problem in found.problems:
        yield f"NOT as it was written: {problem}."
    if found.compared is None:
        yield "It was not compared with a conversation. To do so: --database URL"
        return
    same = "The conversation still says the same" if found.is_same else "The conversation does NOT say the same"
    yield f"{same}, and has {_entries(found.added)} more since." if found.added else f"{same}."
    if found.compared == "digest":
        yield "The file is of another version of Holdfast, so only the digest that it names was compared."
    for difference in found.differences[:_MOST_LISTED]:
        yield _difference(difference)
    if len(found.differences) > _MOST_LISTED:
        yield f"And {len(found.differences) - _MOST_LISTED:,} more."


def _entries(number: int) -> str:
    return f"{number:,} {'entry' if number == 1 else 'entries'}"


def _difference(difference: Difference) -> str:
    fields = f": {', '.join(difference.fields)}" if difference.fields else ""
    return f"#{difference.number} is {difference.kind}{fields}"
