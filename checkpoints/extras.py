"""What to install for a part of Holdfast whose packages are missing."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

_OPTIONAL: Final = re.compile(r"(?P<package>[^;]+?)\s*;\s*extra == ['\"](?P<extra>[\w-]+)['\"]")
_OWN: Final = re.compile(r"holdfast\[(?P<extra>[\w-]+)\]")


def install_command(extra: str) -> str:
    """Return the command that installs what an extra of Holdfast needs.

    It names the packages of the extra. An index need not know Holdfast, which may come from a folder or a repository.

    Args:
        extra: the name of the extra in `pyproject.toml`.
    """
    from importlib.metadata import PackageNotFoundError, requires  # only read when something is missing

    try:
        packages = _packages(extra, requires("holdfast") or [])
    except PackageNotFoundError:
        packages = []
    # Without them the code runs from a repository, and was not installed, or before the extra was there.
    return shlex.join(["pip", "install", *(packages or [f"{Path(__file__).resolve().parents[1]}[{extra}]"])])


def _packages(extra: str, requirements: list[str]) -> list[str]:
    found: list[str] = []
    for requirement in requirements:
        optional = _OPTIONAL.fullmatch(requirement)
        if optional and optional["extra"] == extra:
            own = _OWN.fullmatch(optional["package"])
            found += _packages(own["extra"], requirements) if own else [optional["package"]]
    return found
