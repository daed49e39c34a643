"""The programs in `examples/` work as they stand, and the guides show them as they are."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from inspect import CO_COROUTINE
from pathlib import Path
from time import monotonic
from types import ModuleType
from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage

from holdfast import Conversation, build_graph, open_checkpointer
from holdfast.graph.shop import Shop
from holdfast.server import create_app
from tests.support import forked
from tests.support.forked import HOUSE, PATIENCE, environment
from tests.support.kit import one_node
from tests.support.reader import commands_of, run_command
from tests.support.retention_kit import talk

EXAMPLES = HOUSE / "examples"
GUIDES = {
    "fastapi_sse.py": "fastapi.md",
    "streamlit_app.py": "streamlit.md",
    "notebook.ipynb": "notebooks.md",
    "create_agent_approvals.py": "create-agent.md",
    "deep_agent.py": "deepagents.md",
    "replicas.py": "replicas.md",
}
needs_streamlit = pytest.mark.skipif(find_spec("streamlit") is None, reason="needs streamlit: pip install streamlit")
needs_deepagents = pytest.mark.skipif(
    find_spec("deepagents") is None, reason="needs deepagents: pip install deepagents"
)


def programs(example: str) -> list[str]:
    """Return the text of an example; of a notebook, that of each cell with code."""
    text = (EXAMPLES / example).read_text("utf-8")
    if not example.endswith(".ipynb"):
        return [text]
    return ["".join(cell["source"]) + "\n" for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]


def shown(guide: str) -> list[str]:
    """Return the programs of a guide."""
    return re.findall(r"```python\n(.*?)```", (HOUSE / "docs" / "guides" / guide).read_text("utf-8"), re.DOTALL)


def example(name: str) -> ModuleType:
    """Import an example."""
    spec = spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # FastAPI looks up annotations there
    spec.loader.exec_module(module)
    return module


def run(*words: str, cwd: Path, anew: bool = False) -> list[str]:
    done = forked.run(str(EXAMPLES / words[0]), *words[1:], cwd=cwd, env=environment(), anew=anew)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_each_example_is_in_the_list_and_its_guide_shows_it_as_it_is() -> None:
    assert sorted(path.name for path in EXAMPLES.iterdir() if path.suffix in {".py", ".ipynb"}) == sorted(GUIDES)
    listed = (EXAMPLES / "README.md").read_text("utf-8")
    for name, guide in GUIDES.items():
        assert f"[{name}]({name})" in listed
        assert [program for program in programs(name) if program not in shown(guide)] == [], guide


# --- FastAPI


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.chdir(tmp_path)
    return example("fastapi_sse")


def events_of(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """Read server-sent events, as a browser does."""
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


class Served:
    """An application that uvicorn serves on a socket, in a thread."""

    def __init__(self, app: Any) -> None:
        import uvicorn

        self._socket = socket.create_server(("127.0.0.1", 0))
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self._socket.getsockname()[1]}", timeout=PATIENCE, headers={"user": "ada"}
        )
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))

    def connections(self) -> int:
        return len(self._server.server_state.connections)

    def __enter__(self) -> Served:
        self._thread.start()  # the socket listens already, so a client waits until it is served
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._server.should_exit = True
        self._thread.join(PATIENCE)
        self._socket.close()


def test_a_turn_over_http_is_streamed_paused_and_approved_by_its_own_user_only(api: ModuleType) -> None:
    with Served(api.app) as served:
        said = {"text": "I am Ada. Please refund order 1001."}
        with served.client.stream("POST", "/threads/ada-1/messages/stream", json=said) as response:
            events = list(events_of(response.iter_lines()))
        assert events[-1][1]["text"] == "I ask for the refund of order 1001."
        names = [name for name, _ in events if name != "text"]
        called = ["message", "tool_called"]
        assert names == ["run", *called, "tool_answered", *called, "paused", "done"]
        [request] = served.client.get("/threads/ada-1/pending").json()
        path = f"/threads/ada-1/pending/{request['interrupt_id']}/wait"
        assert served.client.get("/threads/ada-1/pending", headers={"user": "eve"}).status_code == 404
        assert served.client.post(path, json={"answer": {"type": "nonsense"}}).status_code == 422
        approved = served.client.post(path, json={"answer": {"type": "approve"}})
        assert approved.json()["text"] == "Order 1001 is refunded: 49.00 EUR go back to Ada."
        late = served.client.post(path, json={"answer": {"type": "approve"}})
        assert (late.status_code, late.json()["detail"][:26]) == (409, "ada has answered this alre")
        assert texts(served)[-1] == approved.json()["text"]
        assert served.client.post("/threads/ada-1/messages", json=said, headers={"user": "eve"}).status_code == 404
        complaints = [served.client.post("/orders/1002/complaint").json() for _ in "ab"]
        assert complaints[0] == complaints[1]


@pytest.mark.sweep
def test_a_browser_that_goes_away_does_not_lose_its_turn(api: ModuleType) -> None:
    began, gone = threading.Event(), threading.Event()

    def answer(_: Any) -> dict[str, Any]:
        began.set()
        assert gone.wait(PATIENCE)
        return {"messages": [AIMessage("You are still heard.")]}

    with Served(create_app(one_node(api.checkpointer, answer), user=api.user_of)) as served:
        with served.client.stream("POST", "/threads/ada-1/messages/stream", json={"text": "Hello"}):
            assert began.wait(PATIENCE)
        assert _wait_for(0, served.connections) == 0
        gone.set()
        said = _wait_for(["Hello", "You are still heard."], lambda: texts(served))
    assert said == ["Hello", "You are still heard."]


def texts(served: Served) -> list[str]:
    return [message["text"] for message in served.client.get("/threads/ada-1/messages").json()]


def _wait_for(wanted: Any, look: Callable[[], Any]) -> Any:
    """Return what is seen as soon as it is what is wanted, or what is seen when no patience is left."""
    end = monotonic() + PATIENCE
    while (seen := look()) != wanted and monotonic() < end:
        pass
    return seen


# --- the others


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore")
@needs_streamlit
def test_the_streamlit_page_shows_a_turn_and_takes_an_approval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from streamlit.testing.v1 import AppTest

    monkeypatch.chdir(tmp_path)
    page = AppTest.from_file(str(EXAMPLES / "streamlit_app.py"), default_timeout=PATIENCE).run()
    page.chat_input[0].set_value("I am Ada. Please refund order 1001.").run()
    assert [button.label for button in page.button] == ["Approve", "Reject"]
    page.button[0].click().run()
    assert not page.exception
    assert page.chat_message[-1].markdown[0].value == "Order 1001 is refunded: 49.00 EUR go back to Ada."


@pytest.mark.sweep
def test_the_cells_of_the_notebook_run_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for program in programs("notebook.ipynb"):
        code = compile(program, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if code.co_flags & CO_COROUTINE:
            asyncio.run(eval(code, names))  # noqa: S307 - ours
        else:
            exec(code, names)  # noqa: S102 - ours
    names["checkpointer"].close()
    assert capsys.readouterr().out.splitlines() == [
        "I ask for the refund of order 1001.",
        "Refund order 1001 in full {'order_id': 1001}",
        "Order 1001 is refunded: 49.00 EUR go back to Ada.",
        "6 0",
        "Your name is Ada.",
    ]


@pytest.mark.sweep
def test_the_agent_of_create_agent_asks_in_one_process_and_is_approved_in_another(tmp_path: Path) -> None:
    asked = run("create_agent_approvals.py", "Refund order 1001", cwd=tmp_path)
    request = "Refund order 1001 in full? refund_order {'order_id': 1001}"
    assert asked == ["I ask for the refund of order 1001.", request]
    assert run("create_agent_approvals.py", "approve", cwd=tmp_path) == [request, "Order 1001 is refunded."]
    assert run("create_agent_approvals.py", "approve", cwd=tmp_path) == []
    assert (tmp_path / "refunds.txt").read_text() == "1001\n"


@pytest.mark.sweep
def test_the_command_line_runs_the_agent_of_create_agent(tmp_path: Path) -> None:
    (tmp_path / "create_agent_approvals.py").write_text(*programs("create_agent_approvals.py"), "utf-8")
    asked, waiting = [run_command(command, tmp_path) for command in commands_of("guides/create-agent.md")]
    assert "I ask for the refund of order 1002." in asked
    assert "Refund order 1002 in full?" in waiting


@pytest.mark.sweep
@needs_deepagents
def test_the_deep_agent_asks_and_refunds(tmp_path: Path) -> None:
    printed = run("deep_agent.py", cwd=tmp_path)
    assert printed == ["I ask for the refund of order 1001.", "refund_order(order_id=1001)?", "Order 1001 is refunded."]


@pytest.mark.sweep
def test_the_commands_of_the_guide_sweep_delete_and_prune(tmp_path: Path) -> None:
    with open_checkpointer(f"sqlite:///{tmp_path / 'holdfast.db'}") as saver:
        Conversation(build_graph(checkpointer=saver), "ada-1", "ada").send("Hello")
        talk(saver, "bob-1", days=366)
    guide = (HOUSE / "docs" / "guides" / "retention.md").read_text("utf-8")
    (tmp_path / "retention.toml").write_text(*re.findall(r"```toml\n(.*?)```", guide, re.DOTALL))
    planned, swept, looked, old, pruned, ada = [
        run_command(command, tmp_path) for command in commands_of("guides/retention.md")
    ]
    assert planned.startswith("1 conversation with 2 messages and 3 checkpoints would be deleted, about ")
    assert swept == planned.replace("would be", "were").replace(" Nothing was changed.", "")
    assert (looked, old) == (
        "No conversations would be deleted. Nothing was deleted.\n",
        "No conversations deleted.\n",
    )
    assert "checkpoints deleted; 1 stay." in pruned
    assert ada == "1 conversation with 2 messages deleted.\n"


@pytest.mark.sweep
def test_the_programs_of_the_guide_sweep_and_delete_what_a_user_has_said(tmp_path: Path) -> None:
    run("create_agent_approvals.py", "Refund order 1001", cwd=tmp_path)
    with open_checkpointer(f"sqlite:///{tmp_path / 'support.db'}") as saver:
        Conversation(build_graph(checkpointer=saver), "grace-1", "grace").send("Hello")
        saver.threads.share("grace-1", "ada")
    swept, pruned, deleted = shown("retention.md")
    for name, program, printed in (("sweep", swept, ["0 0 0 0 0"]), ("prune", pruned, []), ("delete", deleted, ["[]"])):
        (tmp_path / f"{name}.py").write_text(program, "utf-8")
        assert run(str(tmp_path / f"{name}.py"), cwd=tmp_path) == printed
    with open_checkpointer(f"sqlite:///{tmp_path / 'support.db'}") as saver:
        assert [thread.thread_id for thread in saver.threads.all()] == ["grace-1"]


@pytest.mark.sweep
def test_two_replicas_lose_no_message_and_answer_once(url: str, tmp_path: Path) -> None:
    for refunded_on_another_page in (1001, 1002, 1004):
        Shop(tmp_path / "shop.db").refund(refunded_on_another_page, "as a reader does")
    said, asked, *answers = run("replicas.py", url, cwd=tmp_path, anew=True)
    assert (said[:23], said[-4:]) == ("6 messages of two repli", "True")
    assert asked == "I ask for the refund of order 1003."
    assert len(answers) == 2
    assert len([line for line in answers if "is refunded" in line]) == 1
