"""A graph that is named by a file is named by its module where that is the same file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from holdfast.server.modules import by_module


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    for package in ("pack_1", "broken_1"):
        monkeypatch.delitem(sys.modules, package, raising=False)
    for name in ("ours_1.py", "json.py", "with-dash.py", "pack_1/__init__.py", "pack_1/graph.py", "src/ours_2.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    (tmp_path / "broken_1").mkdir()
    (tmp_path / "broken_1" / "__init__.py").write_text("raise SystemError")
    (tmp_path / "broken_1" / "graph.py").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "module"),
    [("ours_1.py", "ours_1"), ("pack_1/graph.py", "pack_1.graph"), ("pack_1/__init__.py", "pack_1")],
)
def test_a_file_that_can_be_imported_is_named_by_its_module(folder: Path, file: str, module: str) -> None:
    assert by_module(f"{folder}/{file}:graph") == f"{module}:graph"
    assert by_module({"path": f"{folder}/{file}:graph", "description": "It helps."}) == {
        "path": f"{module}:graph",
        "description": "It helps.",
    }


def test_the_shortest_name_is_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert by_module(f"{folder}/src/ours_2.py:graph") == "src.ours_2:graph"
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder / "src")])
    assert by_module(f"{folder}/src/ours_2.py:graph") == "ours_2:graph"


@pytest.mark.parametrize("file", ["json.py", "with-dash.py", "broken_1/graph.py", "not_there.py"])
def test_a_file_whose_name_means_another_module_or_none_stays_a_file(folder: Path, file: str) -> None:
    assert by_module(f"{folder}/{file}:graph") == f"{folder}/{file}:graph"


@pytest.mark.parametrize("graph", ["holdfast.server.entrypoint:agent", {"description": "no path"}, 7])
def test_what_names_no_file_stays_as_it_is(graph: object) -> None:
    assert by_module(graph) == graph
