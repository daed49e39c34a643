"""LangGraph's undocumented names are used in one module, and the installed LangGraph has them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest
from langchain_core.tools import tool
from langgraph._internal import _constants, _serde
from langgraph.checkpoint.base import CheckpointMetadata
from langgraph.checkpoint.base import id as lg_id
from langgraph.checkpoint.serde import types as serde_types
from langgraph.errors import is_invalid_resume
from langgraph.graph import state as lg_state

from holdfast.checkpoints import langgraph_internals as internals
from holdfast.checkpoints.langgraph_internals import graphs

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("checkpoints", "graph", "holdfast")
HOME: Final = "checkpoints/langgraph_internals/"
SERVER: Final = "holdfast/server/langgraph/runtime.py"
"""The one file that may use the server's private modules."""

THEIRS: Final = ("langgraph", "langchain")
MAGIC: Final = re.compile(
    r"__pregel_|__(start|end|input|interrupt|resume|error|scheduled|tasks|no_writes|return|previous)__|branch:to:"
    r"|counters_since_delta_snapshot|00000000-0000-0000-0000-000000000000|^checkpoint_map$|^\|$|^_inner$"
    r"|STRICT_MSGPACK_ENABLED|_langgraph_invalid_resume"
)
# Of every named tuple.
PUBLIC: Final = frozenset({"_asdict", "_replace", "_fields", "_make"})


def offences(source: str, path: str) -> Iterator[str]:
    """Yield what a module says that only `langgraph_internals` may say, as file:line and what."""
    nodes = list(ast.walk(ast.parse(source)))
    of_theirs = {alias for node in nodes for alias in _imported(node)}
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            if found := MAGIC.search(node.value):
                yield f"{path}:{node.lineno}: the value {found[0]!r}"
        elif isinstance(node, ast.Attribute) and _is_private(node.attr) and _names(node.value) & of_theirs:
            yield f"{path}:{node.lineno}: the attribute {ast.unparse(node)}"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for name in _modules(node):
                parts = name.split(".")
                if (parts[0].startswith(THEIRS) and any(map(_is_private, parts))) or parts[
                    0
                ] == "langgraph_runtime_inmem":
                    yield f"{path}:{node.lineno}: the import of {name}"


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def _modules(node: ast.AST) -> list[str]:
    """Return the names that a statement imports."""
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module or ''}.{alias.name}" for alias in node.names]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def _imported(node: ast.AST) -> list[str]:
    """The names that stand for something of LangGraph or LangChain after this statement."""
    if not isinstance(node, ast.Import | ast.ImportFrom):
        return []
    pairs = zip(node.names, _modules(node), strict=True)
    return [alias.asname or alias.name.split(".")[0] for alias, module in pairs if module.startswith(THEIRS)]


def _names(node: ast.AST) -> set[str]:
    return {found.id for found in ast.walk(node) if isinstance(found, ast.Name)}


@pytest.mark.sweep
def test_no_other_module_names_what_is_private_to_langgraph() -> None:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    assert len(files) > 100

    found = [
        offence
        for file in files
        if (path := file.relative_to(ROOT).as_posix()) != SERVER and not path.startswith(HOME)
        for offence in offences(file.read_text("utf-8"), path)
    ]

    assert not found, "\n".join(["These belong into " + HOME, *found])


def test_the_package_imports_nothing_else_of_ours() -> None:
    trees = [ast.parse(file.read_text("utf-8")) for file in (ROOT / HOME).glob("*.py")]

    names = [name for tree in trees for node in ast.walk(tree) for name in _modules(node)]
    ours = [name for name in names if name.split(".")[0] in PACKAGES]
    assert not [name for name in ours if not name.startswith("holdfast.checkpoints.langgraph_internals.")]


@pytest.mark.parametrize(
    "source",
    [
        "key = '__pregel_resuming'",
        "ended = '__end__'",
        "from langgraph._internal import _serde",
        "from langgraph.checkpoint.serde.types import _DeltaSnapshot",
        "from langgraph import errors\nname = errors._INVALID_RESUME",
        "import langgraph.errors\nname = langgraph.errors._INVALID_RESUME",
        "def later():\n    from langgraph_runtime_inmem.ops import Threads",
    ],
)
def test_a_private_name_elsewhere_is_found(source: str) -> None:
    [found] = offences(source, "some.py")

    assert found.startswith(f"some.py:{source.count(chr(10)) + 1}: ")


def test_a_docstring_and_a_public_name_are_no_private_names() -> None:
    source = '"""About `__pregel_tasks`."""\nfrom langgraph.types import Send\nSend("a", 1)._asdict()'

    assert not list(offences(source, "some.py"))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (internals.BRANCH_TO, lg_state._CHANNEL_BRANCH_TO.removesuffix("{}")),
        (internals.CHECKPOINT_MAP, _constants.CONFIG_KEY_CHECKPOINT_MAP),
        (internals.CONFIG_KEY_CHECKPOINTER, _constants.CONFIG_KEY_CHECKPOINTER),
        (internals.DURABILITY, _constants.CONFIG_KEY_DURABILITY),
        (internals.INTERRUPT, _constants.INTERRUPT),
        (internals.NS_END, _constants.NS_END),
        (internals.NS_SEP, _constants.NS_SEP),
        (internals.RESUME_MAP, _constants.CONFIG_KEY_RESUME_MAP),
        (internals.RESUMING, _constants.CONFIG_KEY_RESUMING),
        (internals.STRICT_RESUME, _constants.CONFIG_KEY_STRICT_RESUME),
        (internals.TASKS, _constants.TASKS),
        (internals.DeltaSnapshot, serde_types._DeltaSnapshot),
    ],
)
def test_a_value_is_what_the_installed_langgraph_has(ours: Any, theirs: Any) -> None:
    assert ours == theirs


def test_langgraphs_own_channels_begin_as_we_expect() -> None:
    channels = (internals.START, internals.INTERRUPT, internals.TASKS, _constants.ERROR, _constants.RESUME)

    assert all(channel.startswith(internals.RESERVED) for channel in channels)


def test_the_metadata_of_a_run_are_all_known() -> None:
    assert set(CheckpointMetadata.__annotations__) <= internals.OF_THE_RUN
    assert internals.DELTA_COUNTERS in CheckpointMetadata.__annotations__


def test_sql_names_no_channel_and_the_right_places_of_writes() -> None:
    files = list((ROOT / "checkpoints/sql").rglob("*.sql"))
    text = "\n".join(re.sub(r"--.*", "", file.read_text("utf-8")) for file in files)

    assert not re.search(r"__(start|end|interrupt|error|resume)__|__pregel_|branch:to:|counters_since", text)
    places = {int(place) for place in re.findall(r"\bidx\s*(?:=|<>)\s*(-\d+)", text)}
    assert places == {internals.WRITES_IDX_MAP[serde_types.ERROR], internals.WRITES_IDX_MAP[internals.INTERRUPT]}


def test_an_error_that_is_marked_is_an_invalid_resume() -> None:
    error = ValueError("no")
    assert not is_invalid_resume(error)

    graphs.mark_invalid_resume(error)

    assert is_invalid_resume(error)


def test_the_next_checkpoint_id_is_later_than_the_time_that_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lg_id, "_last_v6_timestamp", None)
    assert internals.last_uuid6_timestamp() is None
    later = lg_id.uuid6().time + 10**12

    internals.set_last_uuid6_timestamp(later)

    assert lg_id.uuid6().time > later
    assert internals.last_uuid6_timestamp() == later + 1


def test_state_types_are_passed_on_by_an_attribute_that_langgraph_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_serde, "STRICT_MSGPACK_ENABLED", False)

    graphs.pass_state_types()

    assert vars(_serde)["STRICT_MSGPACK_ENABLED"] is True


def test_only_the_adapter_of_the_server_has_an_inner_checkpointer() -> None:
    # The server cannot be imported without its environment, so its source is read.
    found = find_spec("langgraph_api")
    assert found is not None
    assert found.origin is not None
    source = (Path(found.origin).parent / "_checkpointer/_adapter.py").read_text("utf-8")

    assert "self._inner = inner" in source
    assert internals.inner_saver(object()) is None


def test_a_tool_has_code_for_event_loops_if_it_was_made_of_a_coroutine() -> None:
    @tool
    def blocking(text: str) -> str:
        """Return the text."""
        return text

    @tool
    async def awaited(text: str) -> str:
        """Return the text."""
        return text

    assert not internals.has_own_coroutine(blocking)
    assert internals.has_own_coroutine(awaited)


@pytest.mark.parametrize(("task", "graph"), [("model:1f", ""), ("agent:1f|model:2a", "agent:1f"), ("", "")])
def test_the_namespace_of_a_task_gives_that_of_its_graph(task: str, graph: str) -> None:
    assert internals.graph_ns(task) == graph
