"""The picture of an approval: the real output of the command line, as SVG."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from docs.pictures.ink import Ink

COLUMNS: Final = 92

_BEFORE: Final = "chat --thread ada-1 --user ada", "Hello, my name is Ada."
_ASKED: Final = "chat --thread ada-1 --user ada", "Please refund order 1001."

_SVG: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">
<style>
.{unique_id}-matrix {{
  font: {char_height}px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace;
}}
{styles}
</style>
<rect width="100%" height="100%" rx="10" fill="BACKGROUND" stroke="EDGE"/>
<g transform="translate({terminal_x}, 18)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def output(folder: Path) -> str:
    """Run a conversation that waits for a person, and the commands that answer it, in an empty folder.

    Returns:
        The commands with what they print, in colours.
    """
    _run(folder, *_BEFORE)
    shown = [_prompt(*_ASKED), _run(folder, *_ASKED), _prompt("approvals list"), _run(folder, "approvals list")]
    [interrupt] = re.findall(r"id ([0-9a-f]{8})", shown[-1])
    for by in ("Grace", "Alan"):
        command = f"approvals approve {interrupt} --by {by}"
        shown += [_prompt(command), _run(folder, command)]
    return "".join(shown)


def picture(text: str, ink: Ink) -> str:
    """Draw what a terminal shows."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(text.rstrip("\n")))
    yellow, cyan = ink.warning, ink.accent
    colours = [ink.text, yellow, cyan, yellow, cyan, cyan, cyan, ink.text]  # black, red, green, yellow, blue, …
    theme = TerminalTheme(_rgb(ink.fill), _rgb(ink.text), [_rgb(colour) for colour in colours])
    svg = _SVG.replace("BACKGROUND", ink.fill).replace("EDGE", ink.line)
    return console.export_svg(theme=theme, code_format=svg, unique_id="t").replace("\N{NO-BREAK SPACE}", " ")


def _prompt(command: str, said: str = "") -> str:
    echo = f'echo "{said}" | ' if said else ""
    return f"\x1b[1;36m$\x1b[0m \x1b[1m{echo}holdfast {command}\x1b[0m\n"


def _run(folder: Path, command: str, said: str = "") -> str:
    """Run a command as a shell does, and return what it prints, with an empty line at the end."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "HOLDFAST_"))}
    environment = {**plain, "FORCE_COLOR": "1", "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-m", "holdfast", *shlex.split(command)],
        cwd=folder,
        env=environment,
        input=f"{said}\n" if said else "",
        capture_output=True,
        text=True,
        check=False,
    )
    printed = done.stdout or done.stderr
    return printed.strip("\n") + "\n\n"


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue
