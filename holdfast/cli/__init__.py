"""The command `holdfast`.

A module imports what is slow only when its command runs, so that `--help` and a mistyped option answer at once.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from functools import cache
from typing import Annotated

try:
    import typer
except ModuleNotFoundError as missing:
    from holdfast.checkpoints.extras import install_command

    sys.stderr.write(f"The command line needs {missing.name!r}. Install it: {install_command('cli')}\n")
    raise SystemExit(2) from None

from holdfast.cli import (
    approvals,
    chat,
    db,
    demo,
    errors,
    serve,
    threads,
    tokens,
)
from holdfast.cli.options import CommandState, Debug, help_without_command

app = typer.Typer(
    help="Talk to an agent whose conversations and approvals survive anything.",
    epilog="Example: holdfast chat --thread ada-1",
    # Plain help works in a pipe and with a screen reader, and is printed in a tenth of a second.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    # Help is as wide as the terminal.
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": shutil.get_terminal_size().columns},
)
app.command("chat", epilog=chat.EXAMPLE)(chat.chat)
app.add_typer(threads.app, name="threads")
app.add_typer(approvals.app, name="approvals")
app.add_typer(db.app, name="db")
app.command("serve", epilog=serve.EXAMPLE)(serve.serve)
app.add_typer(tokens.app, name="tokens")
app.command("demo", epilog=demo.EXAMPLE)(demo.demo)


@app.callback()
def holdfast(
    context: typer.Context,
    debug: Debug = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"holdfast {installed('holdfast')}")
        raise typer.Exit
    help_without_command(context)


# Typer inspects every parameter of every command, which takes longer than many commands do. A process that runs
# several commands does it once.
_command = cache(typer.main.get_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0; 1 for a breakage; 2 for the user's mistake; 130 for Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    errors.escape_unprintable()
    state = CommandState()
    try:
        errors.check_arguments(words)
        code = _command(app).main(words, prog_name="holdfast", standalone_mode=False, obj=state)
    except Exception as error:  # noqa: BLE001 - the one place where errors become lines
        return errors.report(error, debug=state.debug, secrets=state.secrets)
    if code == errors.INTERRUPTED:
        sys.stderr.write("Stopped.\n")
    return code if isinstance(code, int) else 0
