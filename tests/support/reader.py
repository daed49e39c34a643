"""What a reader of the documentation does: type the commands of a page."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.support import forked
from tests.support.forked import HOUSE, environment

_WORDS = {"python": [], "holdfast": ["-m", "holdfast"]}


def commands_of(page: str, *, before_sections: bool = False) -> list[str]:
    """Return the commands of a page below `docs/`, or those before its first section, without their remarks."""
    text = (HOUSE / "docs" / page).read_text("utf-8")
    text = text.split("\n## ")[0] if before_sections else text
    text = re.sub(r" \\\n +", " ", text)  # a command of two lines
    return [line.partition("  #")[0].strip() for line in re.findall(r"(?m)^\$ (.*)$", text)]


def run_command(command: str, folder: Path) -> str:
    """Run `python …`, `holdfast …`, `echo … | …` or `cat …` as a shell does, and return what it prints."""
    *echo, (program, *words) = [shlex.split(part) for part in command.split(" | ")]
    if program == "cat":
        return (folder / words[0]).read_text("utf-8")
    said = "".join(f"{text}\n" for _, text in echo).encode()
    done = forked.run(*_WORDS[program], *words, cwd=folder, env=environment(), said=said)
    assert done.returncode == 0, done.stderr
    return done.stdout
