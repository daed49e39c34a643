"""The router as a server of its own: `holdfast serve --router`, killed, and followed by another replica."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import children
from tests.support.runs_kit import send_or_die
from tests.support.serving import Server, served
from tests.support.web_kit import events_in

PATIENCE = 60.0
"""Seconds within which another replica has ended a turn, or told why not."""

KILLS = int(os.environ.get("ROUTER_KILLS", "2"))
"""How many servers are killed, each with six turns under way. More of them: `ROUTER_KILLS=100 pytest --sweep …`."""

ROUTER = ("-m", "holdfast", "serve", "--router", "--agent", "tests.support.runs_kit:slow_agent")


@pytest.mark.sweep
@pytest.mark.timeout(300 + 60 * KILLS)
@pytest.mark.parametrize("kills", [KILLS])
def test_turns_of_a_killed_server_are_ended_by_another_one(bare_url: str, tmp_path: Path, kills: int) -> None:
    bookings, chance = tmp_path / "bookings", random.Random(KILLS)  # noqa: S311 - no secret
    environment = {"HOLDFAST_DATABASE": bare_url, "BOOKINGS": str(bookings)}
    accepted: dict[str, str] = {}
    with served(tmp_path, ROUTER, **environment) as other:
        for kill in range(kills):
            with served(tmp_path, ROUTER, **environment) as server:
                accepted |= _accept(server, [f"room {kill}-{number}" for number in range(6)])
                time.sleep(chance.random() / 2)  # wherever it is by then
                server.kill()
        assert httpx.get(f"{other.url}/readyz").json() == {"status": "ready"}
        assert httpx.get(f"{other.url}/threads", headers={"host": "elsewhere.example"}).status_code == 403
        for what, address in accepted.items():
            _see_the_end(other, what, address, bookings)
        last = httpx.post(f"{other.url}/threads/last/messages/wait", json={"text": "last"}, timeout=PATIENCE)
        assert last.json()["text"] == "booked"
        told = httpx.get(f"{other.url}/metrics").text
        assert 'holdfast_turns_total{outcome="done"}' in told
    assert len(accepted) == 6 * kills
    assert Counter(bookings.read_text().splitlines()) == dict.fromkeys([*accepted, "last"], 1)


@pytest.mark.sweep
def test_a_turn_of_another_program_that_is_killed_is_ended_by_a_server(bare_url: str, tmp_path: Path) -> None:
    bookings = tmp_path / "bookings"
    with served(tmp_path, ROUTER, HOLDFAST_DATABASE=bare_url, BOOKINGS=str(bookings)) as server:
        assert children.run(send_or_die, bare_url, str(bookings), "ada-1", 6) == -9
        until = time.monotonic() + PATIENCE
        while not (runs := httpx.get(f"{server.url}/threads/ada-1/runs").json()):
            assert time.monotonic() < until
            time.sleep(0.2)  # its lease has to end
        assert runs[0]["kind"] == "retry"
        _see_the_end(server, "room 7", f"/threads/ada-1/runs/{runs[0]['run_id']}", bookings)
        assert httpx.get(f"{server.url}/threads/ada-1").json()["status"] == "idle"


def _accept(server: Server, wanted: list[str]) -> dict[str, str]:
    """Send these, each in a thread of its own. Return the addresses of those that were accepted."""
    found = {}
    for what in wanted:
        response = httpx.post(f"{server.url}/threads/{what.replace(' ', '-')}/messages", json={"text": what})
        assert response.status_code == 202
        found[what] = response.headers["location"]
    return found


def _see_the_end(server: Server, what: str, address: str, bookings: Path) -> None:
    """Follow a run on another server to its end, and settle what its process left in doubt."""
    last, _, data = _last(server, address)
    thread = address.partition("/runs/")[0]
    if last == "done" and data["pending"]:
        [doubt] = data["pending"]
        assert doubt["kind"] == "doubt", data
        happened = bookings.exists() and what in bookings.read_text().splitlines()
        verdict = {"type": "happened", "result": "done"} if happened else {"type": "run_again"}
        answered = f"{server.url}{thread}/pending/{doubt['interrupt_id']}/wait"
        assert httpx.post(answered, json={"answer": verdict}, timeout=PATIENCE).status_code == 200
    else:
        assert (last, data["text"]) == ("done", "booked"), data
    said = httpx.get(f"{server.url}{thread}/messages").json()
    assert [message["text"] for message in said if message["role"] == "human"] == [what]


def _last(server: Server, address: str) -> Any:
    return events_in(httpx.get(f"{server.url}{address}/stream", timeout=PATIENCE).text)[-1]
