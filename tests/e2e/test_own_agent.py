"""The command line and the server with an agent of the user's own, and the threads that the shop's leaves alone."""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.agents import load_agent
from holdfast.checkpoints import open_checkpointer
from holdfast.graph import Conversation
from tests.support.cli_kit import Cli
from tests.support.cli_kit import run as run_command
from tests.support.kit import echo_graph, rows, thread
from tests.support.own_agent import effects, install
from tests.support.serving import PATIENCE, Server, served
from tests.support.terminal import terminal

URL = "sqlite:///holdfast.db"


@pytest.fixture
def module(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The module of a program in the working directory."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = install(cli.folder)
    yield name
    sys.modules.pop(name, None)


@pytest.fixture
def own(module: str) -> str:
    return f"--agent={module}:agent"


# --- which agents there are


@pytest.mark.sweep(every=6)
@pytest.mark.parametrize(
    "name", ["agent", "builder", "make", "make_builder", "make_with", "make_with_config", "make_later"]
)
def test_an_agent_is_a_graph_or_a_function_that_makes_one(cli: Cli, module: str, name: str) -> None:
    code, out, err = cli("chat", "--thread=ada-1", f"--agent={module}:{name}", said=b"Hello")
    assert (code, f"Agent: {module}:{name}" in err) == (0, True)
    assert out == "You said: Hello\n" or "Waiting for a decision: Your name?" in err


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("{}:number", "is of the type int. Needed: a compiled graph"),
        ("{}:make_nothing", "is of the type int"),
        ("{}:gone", "has no 'gone'. Its graphs: agent, builder, counting, stopping."),
        ("{}:make_of_two", "needs model, tools, and is given the checkpointer only"),
        ("{}:counting", "The state of this agent has no 'messages'; it has 'numbers'."),
        ("{}:fails", "fails with OSError: the disk is gone"),
        ("no_such_module:agent", "There is no module 'no_such_module'"),
        ("{}.py:agent", "is not module:name"),
        ("agent", "is not module:name"),
    ],
)
def test_an_agent_that_cannot_be_used_is_refused_in_one_line(cli: Cli, module: str, name: str, said: str) -> None:
    assert said in cli.refused("chat", f"--agent={name.format(module)}", said=b"Hello")


def test_the_environment_names_the_agent_as_well(cli: Cli, module: str) -> None:
    (cli.folder / ".env").write_text(f"HOLDFAST_AGENT={module}:agent\n")
    assert cli("chat", "--thread=ada-1", said=b"Hello")[1] == "You said: Hello\n"
    assert f"and the agent is {module}:agent" in cli.refused("chat", "--shop=shop.db", said=b"Hello")


def test_the_model_of_the_shop_is_no_option_of_another_agent(cli: Cli, own: str) -> None:
    assert "--model is of the example shop's agent" in cli.refused("chat", own, "--model=offline", said=b"Hello")


# --- requests about several calls


def test_the_calls_of_a_request_are_shown_with_what_is_allowed(cli: Cli, own: str) -> None:
    _, _, err = cli("chat", "--thread=ada-1", own, said=b"Refund 1 and 2")
    assert "holdfast approvals approve" in err
    _, out, _ = cli("approvals", "show", own)
    assert '  2. refund {"order": 2}\n     approve, edit, reject\n' in out
    assert "--call N --others approve|reject" in out
    [asked] = json.loads(cli("approvals", "list", "--json")[1])
    assert [action["args"] for action in asked["actions"]] == [{"order": 1}, {"order": 2}]


@pytest.mark.sweep(every=6)
@pytest.mark.parametrize(
    ("words", "made"),
    [
        (["approve"], ["refund 1", "refund 2", "refund 3"]),
        (["reject"], []),
        (["approve", "--call=2", "--others=reject"], ["refund 2"]),
        (["reject", "--call=1", "--call=3", "--others=approve"], ["refund 2"]),
        (["edit", "--call=1", '--args={"order": 9}', "--others=reject"], ["refund 9"]),
        (["answer", '--value=[{"type": "approve"}, {"type": "reject"}, {"type": "reject"}]'], ["refund 1"]),
    ],
)
def test_a_person_decides_about_one_of_several_calls(cli: Cli, own: str, words: list[str], made: list[str]) -> None:
    cli("chat", "--thread=ada-1", own, said=b"Refund 1 and 2 and 3")
    assert cli("approvals", *words, own)[0] == 0
    assert sorted(effects(cli.folder)) == made


@pytest.mark.sweep(every=6)
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["approve", "--call=2"], "about 2 calls, and its agent takes one answer for all of them. Say what becomes"),
        (["approve", "--call=3", "--others=reject"], "There is no call 3 in this request"),
        (["approve", "--others=reject"], "no --call was given"),
        (["edit", '--args={"order": 9}'], "about 2 calls (refund, refund), and 'edit' fits one"),
        (["respond", "--message=no", "--call=1", "--others=reject"], "refund can be answered with 'approve', 'edit'"),
        (["answer", "--text=yes"], "This answer does not fit"),
        (["answer"], "one of --text TEXT and --value JSON"),
        (["answer", "--value=yes"], "--value is not JSON"),
    ],
)
def test_a_decision_that_leaves_something_open_is_refused(cli: Cli, own: str, words: list[str], said: str) -> None:
    cli("chat", "--thread=ada-1", own, said=b"Refund 1 and 2")
    assert said in cli.refused("approvals", *words, own)
    assert len(json.loads(cli("approvals", "list", "--json")[1])) == 1


def test_a_question_of_a_graph_is_answered(cli: Cli, module: str) -> None:
    cli("chat", "--thread=ada-1", f"--agent={module}:builder", said=b"Hello")
    _, out, _ = cli("approvals", "show", f"--agent={module}:builder")
    assert "Your name?\n" in out
    assert "approvals answer" in out
    assert cli("approvals", "answer", "--text=Ada", f"--agent={module}:builder")[1] == "You said: Ada\n"


@pytest.mark.sweep
def test_a_recorded_answer_is_carried_out(cli: Cli, own: str) -> None:
    cli("chat", "--thread=ada-1", own, said=b"Refund 1")
    with open_checkpointer(URL) as saver:
        [asked] = saver.interrupts.waiting()
        saver.interrupts.answer("ada-1", asked.interrupt_id, {"decisions": [{"type": "approve"}]}, by="Grace")
    code, out, _ = cli("approvals", "resume", own)
    assert (code, out) == (0, "thread ada-1: Done: order 1 refunded\n")
    assert effects(cli.folder) == ["refund 1"]


def test_a_chat_says_where_a_graph_has_stopped_and_retry_goes_on(cli: Cli, module: str) -> None:
    agent = f"--agent={module}:stopping"
    _, _, err = cli("chat", "--thread=ada-1", agent, said=b"Refund 1")
    assert "The agent stops before tools, as its graph says. To go on: holdfast chat --thread ada-1 --retry" in err
    assert effects(cli.folder) == []
    assert "Done: order 1 refunded\n" in cli("chat", "--thread=ada-1", agent, "--retry")[1]


@pytest.mark.sweep
def test_calls_and_questions_are_decided_in_the_chat(cli: Cli, module: str) -> None:
    with terminal("chat", "--thread=ada-1", f"--agent={module}:agent", cwd=cli.folder) as talk:
        talk.says("Refund 1 and 2")
        talk.expect("2 calls, which are decided together:")
        talk.says("a", after=r"or \[l\]ater\? ")
        talk.says("r", after=r"or \[l\]ater\? ")
        talk.says("no", after=r"reason, for the agent \(optional\)> ")
        talk.expect("<- order 1 refunded")
        talk.says("/quit")
        assert talk.ends() == 0
    assert effects(cli.folder) == ["refund 1"]
    with terminal("chat", "--thread=ada-2", f"--agent={module}:builder", cwd=cli.folder) as talk:
        talk.says("Hello")
        talk.expect(r"Your name\?")
        talk.says("Ada", after=r"answer \(empty for later\)> ")
        talk.expect("agent  You said: Ada")


# --- threads of another agent


def everything() -> list[Any]:
    with open_checkpointer(URL) as saver:
        return [rows(saver, f"SELECT * FROM {table}") for table in ("checkpoints", "writes", "holdfast_messages")]


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("words", [["chat", "--thread=ada-1"], ["approvals", "approve"], ["approvals", "reject"]])
def test_the_agent_of_the_shop_writes_to_no_thread_of_another_agent(cli: Cli, own: str, words: list[str]) -> None:
    cli("chat", "--thread=ada-1", own, said=b"Refund 1")
    before = everything()
    line = cli.refused(*words, said=b"Hello")
    assert "Thread ada-1 was begun by another agent (its steps are model, HumanInTheLoopMiddleware" in line
    assert "--agent module:name, or HOLDFAST_AGENT" in line
    assert everything() == before


def test_a_thread_of_a_graph_with_the_same_names_is_another_agents(cli: Cli) -> None:
    with open_checkpointer(URL) as saver:
        echo_graph(saver).invoke({"messages": [("user", "Hello")]}, thread())  # its node is "model", as ours
    assert "was begun by another agent (its steps are model)" in cli.refused("chat", "--thread=ada-1", said=b"Hello")


def test_a_decision_of_another_agent_is_not_carried_out_by_the_shops(cli: Cli, own: str) -> None:
    cli("chat", "--thread=ada-1", own, said=b"Refund 1")
    with open_checkpointer(URL) as saver:
        [asked] = saver.interrupts.waiting()
        saver.interrupts.answer("ada-1", asked.interrupt_id, {"decisions": [{"type": "approve"}]})
    code, _, err = cli("approvals", "resume")
    assert (code, "was begun by another agent" in err, effects(cli.folder)) == (1, True, [])


@pytest.mark.sweep
def test_a_decision_about_a_call_of_the_shop_is_not_carried_out_by_another_agent(cli: Cli, own: str) -> None:
    cli("chat", "--thread=ada-1", said=b"Please refund order 1001.")
    with open_checkpointer(URL) as saver:
        [asked] = saver.interrupts.waiting()
        saver.interrupts.answer("ada-1", asked.interrupt_id, {"type": "approve"})
    code, _, err = cli("approvals", "resume", own)
    assert (code, "was skipped: no step of this agent waits for the answer" in err) == (1, True)
    assert cli("approvals", "resume")[0] == 0


@pytest.mark.sweep
def test_the_agent_of_the_shop_goes_on_with_its_own_threads(cli: Cli) -> None:
    assert cli("chat", "--thread=ada-1", said=b"My name is Ada.\nWhat is my name?")[0] == 0
    with open_checkpointer(URL) as saver:
        asked, answered, *_ = [entry.message_id for entry in saver.transcript("ada-1") if entry.kind == "message"]
    for command in (
        ["fork", "ada-1", "--to=ada-2"],
        ["fork", "ada-1", "--to=ada-3", f"--message={asked}"],  # before the model was asked
        ["fork", "ada-1", "--to=ada-4", f"--message={answered}"],  # when the prompt was noted
        ["copy", "ada-4", "--to=ada-5"],
        ["undo", "ada-2"],
        ["restart", "ada-1"],
    ):
        code, _, err = cli("threads", *command)
        assert code == 0, (command, err)
    for number in range(1, 6):
        assert cli("chat", f"--thread=ada-{number}", said=b"Hello")[0] == 0


@pytest.mark.sweep
def test_a_turn_that_failed_before_its_first_answer_is_finished_by_the_shops_agent(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from holdfast.graph.models.offline import OfflineModel

    with monkeypatch.context() as patch:
        patch.setattr(OfflineModel, "_stream", lambda *_, **__: 1 / 0)
        assert cli("chat", "--thread=ada-1", said=b"My name is Ada.")[0] == 1
    code, out, _ = cli("chat", "--thread=ada-1", "--retry")
    assert (code, "Hello, Ada." in out) == (0, True)


# --- served


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def served_agent(place: Path) -> str:
    return f"{install(place)}:make"


@pytest.fixture(scope="module")
def recorded(place: Path, served_agent: str) -> str:
    """A thread with an answer that is recorded before the server starts."""
    thread_id = str(uuid.uuid4())
    with pytest.MonkeyPatch.context() as patch, open_checkpointer(f"sqlite:///{place}/chat.db") as saver:
        patch.syspath_prepend(place)
        ada = Conversation(load_agent(served_agent, saver), thread_id)
        [asked] = ada.send("Refund 7").pending
        saver.interrupts.answer(thread_id, asked.interrupt_id, {"decisions": [{"type": "approve"}]}, by="Grace")
    return thread_id


@pytest.fixture(scope="module")
def server(place: Path, served_agent: str, recorded: str) -> Iterator[Server]:
    words = ["-m", "holdfast", "serve", "--agent", served_agent]
    with served(place, words, HOLDFAST_DATABASE=f"sqlite:///{place}/chat.db") as server:
        yield server


def new_thread(server: Server) -> str:
    return str(server.client.threads.create()["thread_id"])


def asked_of(state: dict[str, Any]) -> str:
    [pause] = state["__interrupt__"]
    return str(pause["id"])


@pytest.mark.sweep
def test_a_served_agent_pauses_and_goes_on_over_http(server: Server, place: Path) -> None:
    thread_id = new_thread(server)
    asked = asked_of(server.say(thread_id, "Refund 1"))
    state = server.answer(thread_id, asked, {"decisions": [{"type": "approve"}]})
    assert state["messages"][-1]["content"] == "Done: order 1 refunded"
    assert "refund 1" in effects(place)
    with open_checkpointer(f"sqlite:///{place}/chat.db") as saver:
        recorded = saver.interrupts.recorded(thread_id, asked)
    assert recorded is not None
    assert recorded.answer == {"decisions": [{"type": "approve"}]}


@pytest.mark.sweep
def test_an_answer_that_does_not_fit_is_refused_over_http_and_the_request_waits(server: Server) -> None:
    thread_id = new_thread(server)
    asked = asked_of(server.say(thread_id, "Refund 2"))
    status, words = server.refusal(thread_id, command={"resume": {asked: {"type": "approve"}}})
    assert (status, "This answer does not fit" in words) == (422, True)
    state = server.answer(thread_id, asked, {"decisions": [{"type": "reject"}]})
    assert "rejected" in state["messages"][-1]["content"]


@pytest.mark.sweep
def test_a_message_over_http_closes_the_call_that_waits(server: Server) -> None:
    thread_id = new_thread(server)
    server.say(thread_id, "Refund 3")
    state = server.say(thread_id, "Never mind")
    assert [message["type"] for message in state["messages"]] == ["human", "ai", "tool", "human", "ai"]
    assert state["messages"][-1]["content"] == "You said: Never mind"


@pytest.mark.sweep
def test_an_answer_recorded_before_the_server_started_is_carried_out_by_it(
    server: Server, place: Path, recorded: str
) -> None:
    until = time.monotonic() + PATIENCE
    while "refund 7" not in effects(place):
        assert time.monotonic() < until, server.said
        time.sleep(0.05)  # it gives no signal when it has done so


@pytest.mark.sweep
def test_the_command_line_decides_about_a_thread_of_the_server(server: Server, place: Path, served_agent: str) -> None:
    thread_id = new_thread(server)
    server.say(thread_id, "Refund 4 and 5")
    words = ["approvals", "approve", "--call=2", "--others=reject", f"--agent={served_agent}", f"--thread={thread_id}"]
    done = run_command(*words, cwd=place, HOLDFAST_DATABASE=f"sqlite:///{place}/chat.db")
    assert done.returncode == 0, done.stderr
    assert ("refund 4" in effects(place), "refund 5" in effects(place)) == (False, True)
    assert server.client.threads.get(thread_id)["status"] == "idle"


@pytest.mark.sweep
def test_the_server_of_the_shop_writes_to_no_thread_of_another_agent(tmp_path: Path) -> None:
    url, thread_id = f"sqlite:///{tmp_path}/chat.db", str(uuid.uuid4())
    with open_checkpointer(url) as saver:
        echo_graph(saver).invoke({"messages": [("user", "Hello")]}, thread(thread_id))
        before = rows(saver, "SELECT checkpoint_id FROM checkpoints")
        with served(tmp_path, HOLDFAST_DATABASE=url) as server:
            refused = server.say(thread_id, "Hello")
            assert "AnotherAgent" in str(refused["__error__"])
            assert "was begun by another agent" in str(refused["__error__"])
        assert rows(saver, "SELECT checkpoint_id FROM checkpoints") == before
