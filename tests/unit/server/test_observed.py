"""A server seen from outside: health, a line for each request, metrics; never a text, never a token."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any

import httpx
import pytest
import uvicorn
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import StreamingResponse

from holdfast import Conversation
from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.graph import build_graph
from holdfast.server.access import Principal, Role
from holdfast.server.observed import HealthGate, JsonFormatter, Metrics, MetricsGate, WatchGate, traces
from holdfast.server.observed.outcomes import told
from holdfast.server.observed.watch import route_of
from holdfast.server.web.draining import DrainingServer
from holdfast.server.web.streams.live import Live
from holdfast.worker import TurnWorker, Worker
from tests.support.graph_kit import calls

WORDS = "my-card-is-4111"


@pytest.fixture
def saver() -> Iterator[HoldfastSaver]:
    with open_checkpointer("memory://") as saver:
        yield saver


def client(gate: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(gate), base_url="http://127.0.0.1")


async def behind(scope: Any, receive: Any, send: Any) -> None:
    scope["holdfast.principal"] = Principal("ada")
    await StreamingResponse(iter([b"event: metadata\n\n", f"event: messages\ndata: {WORDS}\n\n".encode()]))(
        scope, receive, send
    )


async def test_the_database_is_asked_once_at_a_time_and_has_so_long_to_answer(saver: HoldfastSaver) -> None:
    asked, answered = [], Event()

    class Slow:
        def get_tuple(self, config: Any) -> None:
            asked.append(config)
            answered.wait()

    async def find() -> Any:
        return slow if slow is not None else saver

    slow: Slow | None = Slow()
    async with client(HealthGate(behind, find, patience=0.01)) as http:
        found = [(await http.get("/readyz")).status_code for _ in range(3)]
        assert (found, len(asked)) == ([503] * 3, 1)
        assert (await http.get("/healthz")).json() == {"status": "alive"}
        answered.set()
        slow = None
    async with client(HealthGate(behind, find, patience=30)) as http:
        assert (await http.get("/readyz")).json() == {"status": "ready"}
        saver.close()
        refused = await http.get("/readyz")
        assert (refused.status_code, refused.json()["problem"]) == (503, "The database cannot be used.")


async def test_a_server_that_is_about_to_stop_is_not_ready_and_still_alive(saver: HoldfastSaver) -> None:
    async def find() -> Any:
        return saver

    worker = Worker(build_graph(checkpointer=saver))
    async with client(HealthGate(behind, find, is_stopping=lambda: worker.is_stopping)) as http:
        assert (await http.get("/readyz")).status_code == 200
        worker.stop()
        refused = await http.get("/readyz")
        assert (refused.status_code, refused.json()["problem"]) == (503, "The server is stopping.")
        assert (await http.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    ("signal_", "drains"), [(signal.SIGTERM, True), (signal.SIGINT, False)], ids=["SIGTERM", "SIGINT"]
)
async def test_the_port_is_closed_some_seconds_after_sigterm_and_at_once_after_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, signal_: int, drains: bool
) -> None:
    seen: list[float | str] = []

    async def rest(seconds: float) -> None:
        seen.append(seconds)

    async def close(*_: object) -> None:
        seen.append("closed")

    monkeypatch.setattr(asyncio, "sleep", rest)
    monkeypatch.setattr(uvicorn.Server, "shutdown", close)
    server = DrainingServer(uvicorn.Config(behind), lambda: seen.append("begun"), seconds=0.2)
    server.handle_exit(signal_, None)
    await server.shutdown()
    assert seen == ["begun", *([0.1, 0.1] if drains else []), "closed"]


async def test_a_request_is_one_line_without_a_text_or_a_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "holdfast")
    headers = {"authorization": f"Bearer {WORDS}", "x-request-id": "abc-1"}
    async with client(WatchGate(behind)) as http:
        response = await http.post(f"/threads/ada-1/runs/stream?q={WORDS}", json={"text": WORDS}, headers=headers)
        assert response.headers["x-request-id"] == "abc-1"
        assert (await http.get("/", headers={"x-request-id": "a\tb" * 9})).headers["x-request-id"].isalnum()
    line = JsonFormatter().format(caplog.records[0])
    assert WORDS not in line
    told = json.loads(line)
    assert told.pop("duration_ms") >= told.pop("first_text_ms") >= 0
    assert (told["request"], told["route"], told["thread"]) == ("abc-1", "/threads/{thread_id}/runs/stream", "ada-1")
    assert (told["status"], told["message"], told["user"] != "ada") == (200, "request", True)


def test_what_another_library_or_an_error_says_is_not_logged() -> None:
    try:
        raise ValueError(WORDS)  # noqa: TRY301 - an error as any other
    except ValueError as error:
        given = (type(error), error, error.__traceback__)
    for name, message in (("holdfast.x", "It failed."), ("langgraph_api", WORDS)):
        record = logging.LogRecord(name, logging.ERROR, __file__, 1, message, (), given)
        line = JsonFormatter().format(record)
        assert (WORDS in line, json.loads(line)["error"]) == (False, "ValueError")


@pytest.mark.parametrize("fails", ["model", "tool", "arguments"])
def test_no_text_is_logged_whatever_fails(saver: HoldfastSaver, fails: str, caplog: pytest.LogCaptureFixture) -> None:
    lines = Lines()
    caplog.set_level(logging.INFO)
    with lines.of("holdfast"):
        agent = failing_agent(saver, fails)
        run = Conversation(agent, "ada-1").submit(WORDS)
        Worker(agent, turns=TurnWorker(agent, listener=Live())).run_once()
    assert WORDS not in caplog.text + "".join(lines.written)
    told = [json.loads(line) for line in lines.written]
    assert {(line["thread"], line["run"]) for line in told} == {("ada-1", run.run_id)}
    node = {"tool": "tools"}.get(fails, "model")
    assert [(line["node"], line["status"]) for line in told if line["message"] == "turn"] == [(node, "ValueError")]
    if fails == "tool":
        assert (told[0]["message"], told[0]["step"], told[0]["node"]) == ("in a tool", 2, "tools")


class Lines(logging.Handler):
    """What a server writes to its log."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(JsonFormatter())
        self.written: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.written.append(self.format(record))

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        logging.getLogger(name).addHandler(self)
        try:
            yield
        finally:
            logging.getLogger(name).removeHandler(self)


def failing_agent(saver: HoldfastSaver, fails: str) -> Any:
    """An agent that fails with an error that holds the text of its user."""

    @tool
    def pay(amount: int) -> str:
        """Pay."""
        logging.getLogger("holdfast.test").info("in a tool")
        raise ValueError(f"{WORDS} {amount}")

    def model(state: MessagesState) -> dict[str, Any]:
        if fails == "model" or len(state["messages"]) > 1:
            raise ValueError(state["messages"][0].text)
        return {"messages": [calls(("pay", {"amount": WORDS if fails == "arguments" else 1}))]}

    builder = StateGraph(MessagesState).add_node("model", model).add_node("tools", ToolNode([pay]))
    builder.add_edge(START, "model").add_edge("model", "tools").add_edge("tools", "model")
    return builder.compile(checkpointer=saver)


async def test_the_metrics_count_requests_turns_and_what_waits(saver: HoldfastSaver) -> None:
    metrics = Metrics()

    async def find() -> HoldfastSaver:
        return saver

    metrics.watch(saver)
    Conversation(build_graph(checkpointer=saver), "ada-1").send("Please refund order 1001.")
    with told():
        pass
    with pytest.raises(KeyError), told():
        raise KeyError(WORDS)
    async with client(WatchGate(MetricsGate(behind, metrics, find), metrics)) as http:
        await http.get("/threads/ada-1/state")
        text = (await http.get("/metrics")).text
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["holdfast_requests_total", "GET", "/threads/{thread_id}/state", "200"] == 1
    assert found["holdfast_approvals_waiting",] == 1
    assert found["holdfast_approvals_oldest_seconds",] >= 0
    assert (found["holdfast_turns_total", "done"], found["holdfast_turns_total", "KeyError"]) == (1, 1)
    assert found["holdfast_first_text_seconds_count",] == 1
    assert found["holdfast_database_seconds_count", "save_at_once"] > 0
    assert WORDS not in text


async def test_the_metrics_have_a_role_of_their_own(saver: HoldfastSaver) -> None:
    async def find() -> HoldfastSaver:
        return saver

    gate, caller = MetricsGate(behind, Metrics(), find), Principal("ada", frozenset({Role.AUDITOR}))

    async def called(scope: Any, receive: Any, send: Any) -> None:
        await gate({**scope, "holdfast.principal": caller}, receive, send)

    async with client(called) as http:
        assert (await http.get("/metrics")).status_code == 403
        caller = Principal("scraper", frozenset({Role.METRICS}))
        assert (await http.get("/metrics")).status_code == 200


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/threads/ada@example.org/messages", "/threads/{thread_id}/messages"),
        ("/threads/search", "/threads/search"),
        ("/requests/ada-1/3f9a", "/requests/{thread_id}/{interrupt_id}"),
        ("/threads/x/runs/01a22938-3a5e-75a4-872a-f6936b0163b9/join", "/threads/{thread_id}/runs/{id}/join"),
        (f"/{WORDS}", "other"),
        ("/", "/"),
    ],
)
def test_a_route_has_no_id(path: str, route: str) -> None:
    assert route_of(path) == route


async def test_a_request_is_a_span_without_an_id_or_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(traces, "_tracer", provider.get_tracer("test"))
    async with client(WatchGate(behind)) as http:
        await http.post(f"/threads/ada-1/runs?q={WORDS}", json={"text": WORDS})
    [span] = exporter.get_finished_spans()
    assert span.name == "POST /threads/{thread_id}/runs"
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/threads/{thread_id}/runs",
        "http.response.status_code": 200,
    }
