"""What an error tells to install works today: it names the packages of the extra, wherever Holdfast came from."""

from __future__ import annotations

import importlib.metadata
import shlex
import tomllib
from importlib.metadata import PackageNotFoundError
from typing import Any, NoReturn

import pytest

from holdfast.checkpoints.extras import install_command
from tests.support.forked import HOUSE

EXTRAS: dict[str, list[str]] = tomllib.loads((HOUSE / "pyproject.toml").read_text("utf-8"))["project"][
    "optional-dependencies"
]


def metadata(_: str) -> list[str]:
    """What an installed Holdfast says that it requires."""
    optional = [f'{package}; extra == "{extra}"' for extra, packages in EXTRAS.items() for package in packages]
    return ["langgraph<1.3,>=1.2.22", *optional]


def not_installed(name: str) -> NoReturn:
    raise PackageNotFoundError(name)


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_packages_of_each_extra_are_named_and_holdfast_is_not(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", metadata)
    pip, install, *packages = shlex.split(install_command(extra))
    assert (pip, install) == ("pip", "install")
    own = [package for package in EXTRAS[extra] if not package.startswith("holdfast[")]
    assert set(own) <= set(packages)
    assert not [package for package in packages if package.startswith("holdfast")]
    assert ("typer>=0.29" in packages) == (extra in {"cli", "server"})


@pytest.mark.parametrize("found", [not_installed, lambda _: None], ids=["not installed", "before there were extras"])
def test_code_that_runs_where_it_lies_names_its_folder(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", found)
    assert shlex.split(install_command("postgres"))[2] == f"{HOUSE}[postgres]"
