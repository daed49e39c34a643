"""A client of the router: it repeats each request, under the same key, until it is told what came of it."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import httpx

from tests.chaos.journal import Place
from tests.chaos.talks.scene import Script, decision_about, script_of, verdict_about

_AGAIN: Final = 0.1
"""Seconds after which a client repeats what was refused with 503."""

_LONGEST: Final = 60.0
"""Seconds after which a turn that was accepted has ended, or it is a failure."""


class Client:
    """Sends messages and answers, thread after thread.

    Args:
        place: where what it sees and is told is noted.
        url: of a server.
        name: of the client, which its threads have too.
        stop: the file that ends it.
    """

    def __init__(self, place: Place, url: str, name: str, stop: Path) -> None:
        self.name = name
        self.error: str | None = None
        """Why it gave up."""
        self._place = place
        self._http = httpx.Client(base_url=url, timeout=_LONGEST)
        self._stop = stop
        self._asked: Counter[str] = Counter()

    def run(self) -> None:
        """Play one thread after the other, until it is enough."""
        number = 0
        try:
            with self._http:
                while not self._stop.exists():
                    self._play(script_of(self._place.seed, f"{self.name}x{number}"))
                    number += 1
        except Exception as error:  # noqa: BLE001 - it is part of the report
            self.error = f"{type(error).__name__}: {error}"

    def _play(self, script: Script) -> None:
        pending: list[dict[str, Any]] = []
        for said in script.messages:
            while pending and not said.barges_in:
                pending = self._answer(script.thread, pending[0])
            pending = self._turn(script.thread, f"/threads/{script.thread}/messages", {"text": said.text}, said.id)
        while len(pending) > script.stays_open:
            pending = self._answer(script.thread, pending[0])

    def _answer(self, thread: str, request: dict[str, Any]) -> list[dict[str, Any]]:
        """Answer a request as a person does who looks at the world. Return what waits then."""
        id_, order = request["interrupt_id"], request["value"]["args"]["order"]
        answer = self._decision(request["value"], order)
        amount = answer.get("edited_action", request["value"])["args"].get("amount")
        self._place.journal.write(answer=answer["type"], order=order, amount=amount, by=self.name, id=id_)
        return self._turn(thread, f"/threads/{thread}/pending/{id_}", {"answer": answer}, id_)

    def _decision(self, question: dict[str, Any], order: str) -> dict[str, Any]:
        if question["type"] == "tool_approval":
            return decision_about(self._place.seed, order)
        self._asked[order] += 1
        self._place.journal.write(asked=order, why=question["why"])
        happened = any(line["order"] == order for line in self._place.world.read())
        return verdict_about(self._place.seed, order, self._asked[order], happened)

    def _turn(self, thread: str, path: str, body: dict[str, Any], key: str) -> list[dict[str, Any]]:
        """Have a turn accepted, and wait for its end. Return what waits for a person then."""
        run = self._post(path, body, key)
        if run["kind"] == "message":  # whose id is the run's
            self._place.journal.write(acknowledged=run["run_id"], thread=thread, client=self.name, run=run["run_id"])
        else:
            self._place.journal.write(recorded=run["run_id"], thread=thread, client=self.name, run=run["run_id"])
        outcome = self._post(f"{path}/wait", body, key)
        self._place.journal.write(ended=run["run_id"], thread=thread, client=self.name)
        return list(outcome["pending"])

    def _post(self, path: str, body: dict[str, Any], key: str) -> dict[str, Any]:
        deadline = time.monotonic() + _LONGEST
        while True:
            response = self._http.post(path, json=body, headers={"idempotency-key": key})
            if response.status_code != 503:
                assert response.is_success, f"{path}: {response.status_code} {response.text}"
                return dict(response.json())
            assert time.monotonic() < deadline, f"{path}: {response.text}"
            self._place.journal.write(told="503", thread=path.split("/")[2], said=response.json()["detail"])
            time.sleep(_AGAIN)  # as a client does that tries again
