"""`holdfast db check --agent`: the conversations that a new version of an agent cannot go on with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.agents import load_agent
from holdfast.checkpoints import open_checkpointer
from tests.support.cli_kit import Cli
from tests.support.kit import thread

PROGRAM = """
import operator
from typing import Annotated, TypedDict
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt

class State(TypedDict):
    said: Annotated[list, operator.add]

def build(name):
    def ask(state):
        return {"said": [interrupt("May I?")]}
    return StateGraph(State).add_node(name, ask).add_edge(START, name)

old = build("old").compile()
new = build("new")
number = 7

def make():
    return build("old")

def fails():
    import no_such_module
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module with graphs, in the folder of the program."""
    name = f"agents_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(PROGRAM, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_deploy_is_checked_on_the_command_line(cli: Cli, module: str, tmp_path: Path) -> None:
    at = f"--database=sqlite:///{tmp_path / 'chat.db'}"
    with open_checkpointer(at.removeprefix("--database=")) as saver:
        graph = load_agent(f"{module}:old").copy({"checkpointer": saver})
        for number in range(7):
            graph.invoke({"said": []}, thread(f"t-{number}"))

    code, out, err = cli("db", "check", at, f"--agent={module}:new")
    assert (code, err) == (1, "")
    assert out.splitlines()[2:] == [
        "node old: a thread stopped before it or in it, and the graph does not have it.",
        "  7 conversations: t-0, t-1, t-2, t-3, t-4 and 2 more",
        f"{module}:new cannot go on with 7 of 7 conversations as they are.",
    ]
    code, out, _ = cli("db", "check", at, f"--agent={module}:new", "--json", "--thread=t-3")
    [obstacle] = json.loads(out)["obstacles"]
    assert (code, obstacle["kind"], obstacle["count"], obstacle["thread_ids"]) == (1, "node", 1, ["t-3"])

    for agent, more in (("new", ["--renamed=old=new"]), ("old", []), ("make", [])):
        code, out, _ = cli("db", "check", at, f"--agent={module}:{agent}", *more)
        assert (code, out.splitlines()[-1]) == (0, f"{module}:{agent} can go on with all of 7 conversations.")


@pytest.mark.parametrize(
    ("agent", "more", "said"),
    [
        ("nowhere", [], "is not named. Needed: module:name"),
        ("no_such_module:graph", [], "There is no module 'no_such_module'"),
        ("{}:other", [], "has no 'other'. Its graphs: new, old."),
        ("{}:number", [], "is of the type int. Needed: a compiled graph"),
        ("{}:old", ["--renamed=old"], "names no two nodes. Needed: OLD=NEW"),
        ("{}:old", ["--renamed=new=other"], "has no node 'other'"),
    ],
)
def test_an_agent_that_cannot_be_checked_is_refused_in_one_line(
    cli: Cli, module: str, sqlite_url_with_tables: str, agent: str, more: list[str], said: str
) -> None:
    at = f"--database={sqlite_url_with_tables}"
    assert said in cli.refused("db", "check", at, f"--agent={agent.format(module)}", *more)


def test_renamed_needs_an_agent(cli: Cli, sqlite_url_with_tables: str) -> None:
    assert "--agent" in cli.refused("db", "check", f"--database={sqlite_url_with_tables}", "--renamed=a=b")


def test_a_module_that_lacks_another_one_says_so(module: str) -> None:
    with pytest.raises(ValueError, match="fails with ModuleNotFoundError: No module named 'no_such_module'"):
        load_agent(f"{module}:fails")
