"""LangGraph's server as a client of LangGraph's SDK has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final

import httpx
from langgraph_sdk.client import SyncLangGraphClient
from langgraph_sdk.errors import APIStatusError

from tests.chaos.servers.doors import LIMITS, TIMEOUT, Door, Part, Question, Refused, Seen, Unreachable

_RUNS: Final = {"success": "done", "error": "failed", "timeout": "failed", "interrupted": "cancelled"}
"""The states of runs that have ended, in our words."""

_THREADS: Final = {"busy": "running", "error": "failed", "idle": "idle"}

_GRAPH: Final = "agent"


class DevServer(Door):
    """The routes of LangGraph's server."""

    has_keys = False

    def __init__(self) -> None:
        self._clients: dict[str, SyncLangGraphClient] = {}
        self._making = Lock()

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def begin(self, url: str, thread: str) -> None:
        with self._at(url) as client:
            client.threads.create(thread_id=thread, if_exists="do_nothing")

    def send(self, url: str, thread: str, text: str, key: str | None = None) -> str:
        return self._run(url, thread, input=_said(text))

    def send_and_leave(self, url: str, thread: str, text: str, events: int, key: str | None = None) -> Part:
        run_ids: list[str] = []
        try:
            with self._at(url) as client:
                stream = client.runs.stream(
                    thread,
                    _GRAPH,
                    input=_said(text),
                    on_disconnect="continue",
                    multitask_strategy="enqueue",
                    on_run_created=lambda created: run_ids.append(created["run_id"]),
                )
                for _, _ in zip(range(events), stream, strict=False):
                    pass
        except Unreachable:
            if not run_ids:
                raise
        return Part(run_ids[0], has_ended=True)  # on another replica it cannot be read on

    def read(self, url: str, thread: str, part: Part, events: int | None = None) -> Part:
        return part

    def answer(self, url: str, thread: str, question: str, answer: Any, key: str | None = None) -> str:
        return self._run(url, thread, command={"resume": {question: answer}})

    def retry(self, url: str, thread: str, key: str | None = None) -> str:
        return self._run(url, thread, input=None)

    def cancel(self, url: str, thread: str, run_id: str) -> None:
        try:
            with self._at(url) as client:
                client.runs.cancel(thread, run_id)
        except Refused as refused:
            if refused.status not in (404, 409):  # it has ended
                raise

    def run(self, url: str, thread: str, run_id: str) -> Seen:
        with self._at(url) as client:
            status = client.runs.get(thread, run_id)["status"]
        return Seen(_RUNS.get(status, status))

    def questions(self, url: str, thread: str) -> list[Question]:
        tasks = self._state(url, thread).get("tasks", [])
        return [Question(pause["id"], pause["value"]) for task in tasks for pause in task["interrupts"]]

    def said(self, url: str, thread: str) -> list[str]:
        values = self._state(url, thread).get("values") or {}
        return [message["content"] for message in values.get("messages", []) if message["type"] == "human"]

    def status(self, url: str, thread: str) -> str:
        try:
            with self._at(url) as client:
                return _status_of(client.threads.get(thread))
        except Refused as refused:
            if refused.status != 404:
                raise
            return ""

    def statuses(self, url: str) -> dict[str, str]:
        with self._at(url) as client:
            found = client.threads.search(limit=100, sort_by="updated_at", sort_order="desc")
        return {thread["thread_id"]: _status_of(thread) for thread in found}

    def is_told(self, refused: Refused) -> bool:
        return refused.status == 409 and any(
            words in refused.words for words in ("has answered this already", "answered or closed", "went on")
        )

    def _state(self, url: str, thread: str) -> dict[str, Any]:
        try:
            with self._at(url) as client:
                return dict(client.threads.get_state(thread))
        except Refused as refused:
            if refused.status != 404:
                raise
            return {}

    def _run(self, url: str, thread: str, **begun_with: Any) -> str:
        with self._at(url) as client:
            run = client.runs.create(thread, _GRAPH, multitask_strategy="enqueue", **begun_with)
        return str(run["run_id"])

    @contextmanager
    def _at(self, url: str) -> Iterator[SyncLangGraphClient]:
        """Yield the client of a server. The one that the SDK makes by itself would try a dead server for seconds."""
        with self._making:
            if url not in self._clients:
                self._clients[url] = SyncLangGraphClient(httpx.Client(base_url=url, timeout=TIMEOUT, limits=LIMITS))
        try:
            yield self._clients[url]
        except APIStatusError as error:
            raise Refused(error.status_code, str(error)) from error
        except httpx.TransportError as error:
            raise Unreachable(repr(error)) from error


def _said(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def _status_of(thread: Any) -> str:
    """Return the status in our words. LangGraph's server calls a thread interrupted that waits, or has stopped."""
    if thread["status"] == "interrupted":
        return "paused" if thread["interrupts"] else "unfinished"
    return _THREADS.get(thread["status"], thread["status"])
