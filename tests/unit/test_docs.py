"""The documentation names only files that are there, and its links lead somewhere."""

from __future__ import annotations

import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from tests.support.forked import HOUSE

PAGES = sorted([*HOUSE.glob("*.md"), *HOUSE.glob("docs/**/*.md")])

# `checkpoints/saver.py`, `graph/nodes/`, or `core/queue`, but not `checkpoints/backends/<name>/`.
NAMED = re.compile(r"`((?!\.venv)[\w.-]+(?:/[\w.-]+)+/?)`")
ROOTS = ("", "checkpoints", "graph", "holdfast")
LINK = re.compile(r"\]\(([^)#:\s]*)(?:#([\w-]+))?\)")
PICTURE = re.compile(r"src(?:set)?=\"([^\":]+)\"")


def is_there(name: str) -> bool:
    """Return whether a file or folder has this name, from the repository's folder or from a package's."""
    return any((HOUSE / root / f"{name}{ending}").exists() for root in ROOTS for ending in ("", ".py"))


def headings(page: Path) -> set[str]:
    """The anchors of a page, as the usual renderers of Markdown make them."""
    titles = re.findall(r"(?m)^#+ (.*)$", re.sub(r"(?s)```.*?```", "", page.read_text("utf-8")))
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(HOUSE)))
def test_a_page_names_only_files_that_are_there(page: Path) -> None:
    named = NAMED.findall(re.sub(r"(?s)```.*?```", "", page.read_text("utf-8")))
    assert [name for name in named if not is_there(name)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(HOUSE)))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for picture in PICTURE.findall(page.read_text("utf-8")):
        assert (page.parent / picture).exists(), picture
    for target, anchor in LINK.findall(page.read_text("utf-8")):
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), target
        assert not anchor or anchor in headings(found), f"{target}#{anchor}"


def test_the_table_of_extras_has_all_that_are_for_users() -> None:
    page = (HOUSE / "docs" / "README.md").read_text("utf-8")
    rows = re.findall(r"(?m)^\| (`[^|]*`) \|", page.split("## Pages")[0])
    extras = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    parts_of_others = {"observed"}
    assert {name.strip("`") for row in rows for name in row.split(", ")} == extras.keys() - parts_of_others


def test_the_site_has_every_page_in_its_navigation_but_single_decisions() -> None:
    listed = set(re.findall(r"(?m)^ +- (?:[\w ]+: )?([\w/-]+\.md)$", (HOUSE / "mkdocs.yml").read_text("utf-8")))
    pages = {str(page.relative_to(HOUSE)) for page in PAGES if not page.name.startswith("0")}
    assert listed == pages


def test_the_reference_names_members_that_are_there() -> None:
    page = (HOUSE / "docs" / "reference.md").read_text("utf-8")
    for name, members in re.findall(r"(?m)^::: ([\w.]+)\n(?: {4,6}\w+:.*\n)*? {6}members: \[(.*)\]$", page):
        module, _, public = name.rpartition(".")
        of = getattr(import_module(module), public)
        assert [member for member in members.split(", ") if not hasattr(of, member)] == [], name


def test_every_decision_is_in_the_list() -> None:
    folder = HOUSE / "docs" / "decisions"
    listed = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text("utf-8"))
    assert listed == sorted(page.name for page in folder.glob("0*.md"))
    for name in listed:
        title = (folder / name).read_text("utf-8").splitlines()[0].removeprefix("# ").removeprefix(f"{name[:4]}: ")
        assert f"[{name[:4]}]({name}) | {title} |" in (folder / "README.md").read_text("utf-8")
