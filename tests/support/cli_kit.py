"""Shared by the tests of the command line: `holdfast` as a process, and in this one."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from holdfast.checkpoints import open_checkpointer
from holdfast.cli import main
from holdfast.graph import Conversation, build_graph
from holdfast.graph.shop import Shop, shop_tools
from tests.support import forked
from tests.support.forked import environment
from tests.support.stub_openai import KEY, Stub

Run = Callable[..., subprocess.CompletedProcess[str]]
"""A function that runs something in a process of its own."""


def run(
    *arguments: str, cwd: Path, said: str | bytes = "", anew: bool = False, **more: str
) -> subprocess.CompletedProcess[str]:
    """`holdfast` with these arguments and with pipes. See `forked.start`."""
    data = said.encode() if isinstance(said, str) else said
    return forked.run("-m", "holdfast", *arguments, cwd=cwd, env=environment(**more), said=data, anew=anew)


class Cli:
    """`holdfast` in this process, in an empty folder and a clean environment."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str, said: bytes = b"") -> tuple[int, str, str]:
        stdin = SimpleNamespace(buffer=io.BytesIO(said), isatty=lambda: False)
        self._monkeypatch.setattr(sys, "stdin", stdin)
        code = main(arguments)
        out, err = self._capsys.readouterr()
        return code, out, err

    def refused(self, *arguments: str, said: bytes = b"", code: int = 2) -> str:
        """The one line with which something is refused."""
        found, out, err = self(*arguments, said=said)
        *before, line = err.splitlines()
        assert found == code, (found, err)
        assert all(text.startswith(("Thread ", "Model: ")) for text in before), err
        assert "Traceback" not in out + err
        assert "defect" not in line
        return line

    def works(self, thread_id: str = "ada-1") -> None:
        code, out, _ = self(
            "chat", f"--thread={thread_id}", "--model=offline", said=b"My name is Ada.\nWhat is my name?\n"
        )
        assert (code, out.splitlines()[-1]) == (0, "Your name is Ada.")


class Place:
    """The folder in which the commands are run, seen from outside of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder / 'holdfast.db'}"

    @property
    def refunds(self) -> int:
        return Shop(self.folder / "shop.db").count("refunds")

    def history(self, thread_id: str = "ada-1") -> list[Any]:
        with self._talk(thread_id) as talk:
            return list(talk.history())

    def said(self, thread_id: str = "ada-1") -> list[str]:
        return [message.text for message in self.history(thread_id) if isinstance(message, HumanMessage)]

    def send(self, text: str, thread_id: str = "ada-1") -> str:
        with self._talk(thread_id) as talk:
            return "".join(pending.interrupt_id for pending in talk.send(text).pending)

    @contextmanager
    def _talk(self, thread_id: str) -> Iterator[Conversation]:
        with open_checkpointer(self.url) as saver:
            tools = shop_tools(self.folder / "shop.db")
            yield Conversation(build_graph(tools=tools, checkpointer=saver), thread_id)


def at(endpoint: Stub, **more: str) -> dict[str, str]:
    """The environment of a command whose model is at an endpoint."""
    return {
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": endpoint.url,
        "HOLDFAST_MODEL": "openai:gpt-stub",
        "HOLDFAST_MODEL_RETRIES": "0",
        **more,
    }
