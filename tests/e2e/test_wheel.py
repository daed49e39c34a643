"""The package as it is installed: one import name, whatever else a user has."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support import forked
from tests.support.forked import HOUSE

# A user's own folders, with the names that the repository's folders have.
OWN = ("app", "graph", "checkpoints", "holdfast_of_mine")

# A user's program: `app`, `graph` and `checkpoints` are packages of its own, as many programs have them.
PROGRAM = """
import sys
import app, graph, checkpoints
from holdfast import Conversation, build_graph, errors, open_checkpointer
with open_checkpointer("memory://") as checkpointer:
    print(Conversation(build_graph(checkpointer=checkpointer), "ada-1").send("Hello").text is not None)
print(app.MINE, graph.MINE, checkpoints.MINE)
for name, module in list(sys.modules.items()):
    print("module", name, getattr(module, "__file__", None))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    # From the source archive, as an index would build it: its links have become folders.
    for command in (["-t", "sdist"], ["-t", "wheel"]):
        where = HOUSE if command[1] == "sdist" else _unpacked(folder)
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-d", str(folder), *command],
            cwd=where,
            check=True,
            capture_output=True,
            timeout=50,
        )
    [found] = folder.glob("*.whl")
    return found


def _unpacked(folder: Path) -> Path:
    import tarfile

    [archive] = folder.glob("*.tar.gz")
    with tarfile.open(archive) as found:
        found.extractall(folder / "source", filter="data")
    [source] = (folder / "source").iterdir()
    return source


@pytest.mark.sweep
def test_it_brings_one_import_name(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"holdfast"}
    assert {"holdfast/checkpoints/saver.py", "holdfast/graph/agent.py", "holdfast/cli/__init__.py"} <= set(names)
    assert sum(name.endswith(".sql") for name in names) == sum(1 for _ in (HOUSE / "checkpoints").rglob("*.sql"))


@pytest.mark.sweep
def test_it_lives_beside_a_users_own_folders_of_the_same_names(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    site = Path(
        subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    )
    zipfile.ZipFile(wheel).extractall(site)  # noqa: S202 - the test has built it
    # What Holdfast depends on; an editable install that is there is not followed from here.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    for name in OWN:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("MINE = True\n")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # it may name this checkout
    done = subprocess.run(
        [python, "-c", PROGRAM], cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=50
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["True", "True True True"]
    files: dict[str, str] = {}
    for _, name, file in (line.split(" ", 2) for line in lines[2:]):
        if name.split(".")[0] == "holdfast" and file != "None":
            assert file.startswith(str(site)), f"{name} is {file}"
            assert file not in files, f"{file} is both {name} and {files[file]}"
            files[file] = name
    assert len(files) > 50


def test_no_module_of_a_checkout_exists_twice() -> None:
    program = (
        "import sys, os, holdfast.cli, holdfast.errors\n"
        "files = [os.path.realpath(m.__file__) for m in list(sys.modules.values()) if getattr(m, '__file__', None)]\n"
        f"ours = [file for file in files if file.startswith({str(HOUSE)!r}) and '.venv' not in file]\n"
        "assert ours and len(ours) == len(set(ours)), sorted(file for file in ours if ours.count(file) > 1)\n"
        "assert not {'checkpoints', 'graph', 'app'} & set(sys.modules)\n"
    )
    done = forked.run("-c", program, cwd=HOUSE, env=forked.environment())
    assert done.returncode == 0, done.stderr
