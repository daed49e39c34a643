"""Holdfast's server, started as a user starts it, for the tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient

from tests.support.forked import HOUSE

PATIENCE = 30.0
"""Seconds for the server to start, or to stop, on a busy machine."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without what would change how Holdfast behaves."""
    ours = ("HOLDFAST_", "OPENAI_", "LANGSMITH_", "LANGCHAIN_", "LANGGRAPH_", "LOG_LEVEL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PYTHONPATH": str(HOUSE), **more}


@dataclass
class Server:
    """A server that is up."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    client: SyncLangGraphClient

    @property
    def said(self) -> str:
        """The text that it has printed so far."""
        return self.log.read_text()

    def stop(self) -> int:
        """Tell it to stop, and wait. Gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def wait_for_run(self, thread_id: str, **run: Any) -> dict[str, Any]:
        """Start a run of the agent and wait for its end. Gives the state, or the error under `__error__`."""
        found = self.client.runs.wait(thread_id, "agent", raise_error=False, **run)
        assert isinstance(found, dict)
        return found

    def say(self, thread_id: str, text: str, **run: Any) -> dict[str, Any]:
        return self.wait_for_run(thread_id, input={"messages": [{"role": "user", "content": text}]}, **run)

    def answer(self, thread_id: str, interrupt_id: str, answer: dict[str, Any]) -> dict[str, Any]:
        return self.wait_for_run(thread_id, command={"resume": {interrupt_id: answer}})


@contextmanager
def served(folder: Path, command: list[str] | None = None, **environment: str) -> Iterator[Server]:
    """A server in `folder`, with `environment` set; it is gone when the block ends.

    Args:
        folder: its working directory.
        command: what starts it, but for the port; `holdfast serve` by default.
        environment: environment variables.
    """
    port = free_port()
    started = [
        *(command or [sys.executable, "-m", "holdfast", "serve"]),
        "--port",
        str(port),
    ]
    with tempfile.NamedTemporaryFile(prefix="holdfast-server-", suffix=".log") as log:
        process = subprocess.Popen(
            started, cwd=folder, env=clean_environment(**environment), stdout=log, stderr=subprocess.STDOUT
        )
        url = f"http://127.0.0.1:{port}"
        with get_sync_client(url=url) as client:
            server = Server(process, url, Path(log.name), client)
            try:
                _wait_until_up(server)
                yield server
            finally:
                server.kill()


def _wait_until_up(server: Server) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert server.process.poll() is None, f"The server ended with {server.process.poll()}: {server.said}"
        try:
            if httpx.get(f"{server.url}/ok").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)  # nothing tells when it listens, and to ask on end would slow its start
    raise AssertionError(f"The server was not up after {PATIENCE:.0f} s: {server.said}")


def last_words(state: dict[str, Any]) -> str:
    """The text of the newest message in what a run gave."""
    assert "messages" in state, state
    return str(state["messages"][-1]["content"])
