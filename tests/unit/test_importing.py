"""Importing Holdfast leaves LangGraph as it is: a program may import it and use other checkpointers.

What only reads a database does not import LangGraph's graphs, nor the driver of another database.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from holdfast.checkpoints import open_checkpointer, open_database
from tests.support.kit import echo_graph, say

# Notes what every module of LangGraph and LangChain holds once it is loaded, and its classes; then imports every module
# of ours but for the one that only LangGraph's server loads, which reads settings; then prints what has changed.
# What they add to each other is no change, nor is what pydantic completes.
IMPORT: Final = """
import importlib, importlib.machinery, os, pkgutil, sys

os.environ |= {"REDIS_URI": "fake", "DATABASE_URI": ":memory:"}  # as `langgraph dev` sets them, before it loads ours
loaded = {}

class Noting(importlib.machinery.SourceFileLoader):
    def exec_module(self, module):
        super().exec_module(module)
        if self.name.split(".")[0].startswith(("langgraph", "langchain")):
            loaded[self.name] = holds(module)

def holds(module):
    found = dict(vars(module))
    for name, value in vars(module).items():
        if isinstance(value, type) and value.__module__ == module.__name__:
            found.update({f"{name}.{part}": inner for part, inner in vars(value).items()})
    return found

extensions = (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES)
sys.path_hooks.insert(0, importlib.machinery.FileFinder.path_hook(extensions, (Noting, [".py"])))
sys.path_importer_cache.clear()

for root in ("holdfast",):
    package = importlib.import_module(root)
    for found in pkgutil.walk_packages(package.__path__, f"{root}."):
        if found.name not in {"holdfast.server.entrypoint", "holdfast.__main__"}:
            importlib.import_module(found.name)

print("langgraph._internal._serde" in loaded)
for name, before in loaded.items():
    now = holds(sys.modules[name])
    for place, value in before.items():
        if now.get(place) is not value and "__pydantic_" not in place:
            print(name, place)
"""

COMPILE: Final = """
from dataclasses import dataclass
from typing import TypedDict
from langgraph.graph import StateGraph

@dataclass
class Parcel:
    weight: int

class State(TypedDict):
    parcel: Parcel

builder = StateGraph(State)
builder.add_node("pack", lambda state: {"parcel": Parcel(3)})
builder.set_entry_point("pack")

from holdfast.checkpoints import open_checkpointer
from langgraph._internal import _serde

print(_serde.STRICT_MSGPACK_ENABLED)
with open_checkpointer("memory://") as saver:
    print(_serde.STRICT_MSGPACK_ENABLED)
    graph = builder.compile(checkpointer=saver)
    config = {"configurable": {"thread_id": "ada"}}
    graph.invoke({}, config)
    print(graph.get_state(config).values["parcel"])
"""

READ: Final = """
import shlex, sys
from holdfast.cli import main

for command in sys.argv[2:]:
    assert main([*shlex.split(command), "--database", sys.argv[1]]) == 0, command
assert main(["threads", "show", "another", "--database", sys.argv[1]]) == 2
graphs = ("langgraph.types", "langgraph.pregel", "langchain_core.tools", "psycopg")
print(*(name for name in graphs if name in sys.modules))
"""

READING: Final = (
    "threads list",
    "threads show ada-1",
    "threads search Hello",
    "threads export ada-1",
    "approvals list",
    "db stats",
    "db check --deep",
)


def run(program: str, *arguments: str) -> list[str]:
    command = [sys.executable, "-W", "ignore", "-c", program, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=50).stdout.splitlines()


def test_commands_that_only_read_do_not_import_the_graphs_of_langgraph(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/chat.db"
    with open_checkpointer(url) as saver:
        say(saver, "Hello")

    assert run(READ, url, *READING)[-1] == ""


def test_a_database_without_a_checkpointer_is_not_taken_for_one() -> None:
    with open_database("memory://") as database, pytest.raises(TypeError):
        echo_graph(database)


@pytest.mark.sweep
def test_importing_changes_no_attribute_of_langgraph_or_langchain() -> None:
    first, *changed = run(IMPORT)

    assert first == "True", "the module that used to be changed was not looked at"
    assert not changed


@pytest.mark.sweep
def test_an_opened_checkpointer_learns_the_types_of_a_state_when_a_graph_is_compiled() -> None:
    assert run(COMPILE) == ["False", "True", "Parcel(weight=3)"]
