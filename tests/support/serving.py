"""Holdfast's server, started as a user starts it, for the tests."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import httpx
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient

from tests.support import forked
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

    process: BaseProcess
    url: str
    log: Path
    client: SyncLangGraphClient

    @property
    def said(self) -> str:
        """The text that it has printed so far."""
        return self.log.read_text()

    def stop(self) -> int:
        """Tell it to stop, and wait. Gives its exit code."""
        self.process.terminate()
        return forked.wait(self.process, PATIENCE)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.join(PATIENCE)

    def wait_for_run(self, thread_id: str, **run: Any) -> dict[str, Any]:
        """Start a run of the agent and wait for its end. Gives the state, or the error under `__error__`."""
        found = self.client.runs.wait(thread_id, "agent", raise_error=False, **run)
        assert isinstance(found, dict)
        return found

    def say(self, thread_id: str, text: str, **run: Any) -> dict[str, Any]:
        return self.wait_for_run(thread_id, input={"messages": [{"role": "user", "content": text}]}, **run)

    def refusal(self, thread_id: str, **run: Any) -> tuple[int, str]:
        """Ask for a run that is not accepted. Gives the status, and the words."""
        told = httpx.post(f"{self.url}/threads/{thread_id}/runs", json={"assistant_id": "agent", **run})
        return told.status_code, str(told.json().get("detail"))

    def answer(self, thread_id: str, interrupt_id: str, answer: dict[str, Any]) -> dict[str, Any]:
        return self.wait_for_run(thread_id, command={"resume": {interrupt_id: answer}})


@contextmanager
def served(
    folder: Path, words: Sequence[str] = (), *, anew: bool = False, port: int | None = None, **environment: str
) -> Iterator[Server]:
    """A server in `folder`, with `environment` set; it is gone when the block ends.

    Args:
        folder: its working directory.
        words: what follows `python` in a shell, but for the port; `-m holdfast serve` by default.
        port: where it listens; on a free port by default.
        anew: start a new interpreter, as people do, instead of a forked one. See `forked.start`.
        environment: environment variables.
    """
    with (
        tempfile.NamedTemporaryFile(prefix="holdfast-server-", suffix=".log") as log,
        starting(folder, words, log=Path(log.name), anew=anew, port=port, **environment) as server,
    ):
        wait_until_up(server)
        yield server


@contextmanager
def starting(
    folder: Path,
    words: Sequence[str] = (),
    *,
    log: Path,
    anew: bool = False,
    port: int | None = None,
    **environment: str,
) -> Iterator[Server]:
    """A server that starts, and may not be up yet. See `served`.

    Args:
        folder, words, anew, port, environment: as for `served`.
        log: the file for what it prints.
    """
    port = port or free_port()
    started = [*(words or ["-m", "holdfast", "serve"]), "--port", str(port)]
    env = {"LC_ALL": "C.UTF-8", "HOLDFAST_DRAIN": "0", **clean_environment(**environment)}  # no balancer looks
    with log.open("a") as said, Path(os.devnull).open() as nothing:
        streams = (nothing.fileno(), said.fileno(), said.fileno())
        process = forked.start(started, cwd=folder, env=env, streams=streams, anew=anew)
    url = f"http://127.0.0.1:{port}"
    with get_sync_client(url=url) as client:
        server = Server(process, url, log, client)
        try:
            yield server
        finally:
            process.terminate()  # a process that is killed says nothing of what it did: to coverage, for one
            process.join(PATIENCE)
            server.kill()


def wait_until_up(server: Server, patience: float = PATIENCE) -> None:
    """Wait until a server that starts answers.

    Args:
        server: the server.
        patience: seconds to wait.

    Raises:
        AssertionError: it does not, or has ended.
    """
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        code = server.process.exitcode
        assert code is None, f"The server ended with {code}: {server.said}"
        try:
            if httpx.get(f"{server.url}/ok").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)  # nothing tells when it listens, and to ask on end would slow its start
    raise AssertionError(f"The server was not up after {patience:.0f} s: {server.said}")


def last_words(state: dict[str, Any]) -> str:
    """The text of the newest message in what a run gave."""
    assert "messages" in state, state
    return str(state["messages"][-1]["content"])
