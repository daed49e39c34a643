"""Messages, answers and runs over HTTP."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from fastapi import FastAPI

from holdfast.checkpoints import HoldfastSaver
from holdfast.graph import Conversation, build_graph
from holdfast.server.web.routes import make_api, routes_of
from tests.support.desk import Desk
from tests.support.graph_kit import ScriptedModel, says
from tests.support.kit import rows
from tests.support.runs_kit import Thinking
from tests.support.web_kit import events_in, served

OF_A_RUN = (
    "accept_run",
    "claim_run",
    "take_lease_of_run",
    "forget_runs",
    "run",
    "own_ticket",
    "finish_run",
    "next_run",
)
LOOKS = {"begin", "commit", "free_runs", "close_all_passed", "expire_interrupts", "unlisted", "todo"}
"""The statements of a worker that looks for work."""


@pytest.mark.sweep(on="postgres")
async def test_a_turn_with_an_approval_over_http(saver: HoldfastSaver) -> None:
    desk = Desk(saver, 1)
    async with served(desk.agent) as client:
        asked = await client.post("/threads/ada-1/messages/wait", json={"text": "Refund, please."})
        assert (asked.status_code, asked.json()["text"]) == (200, "")
        [pending] = asked.json()["pending"]
        assert (pending["name"], pending["args"]) == ("refund", {"order_id": 1})
        assert [each["interrupt_id"] for each in (await client.get("/pending")).json()] == [pending["interrupt_id"]]
        address = f"/threads/ada-1/pending/{pending['interrupt_id']}"
        refused = await client.post(address, json={"answer": {"type": "perhaps"}})
        assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
        assert "still waits" in refused.json()["detail"]
        streamed = await client.post(f"{address}/stream", json={"answer": {"type": "approve"}})
        names = [name for name, _, _ in events_in(streamed.text) if name != "text"]
        assert names == ["run", "tool_answered", "message", "done"]
        assert events_in(streamed.text)[-1][2]["text"] == "done"
    assert desk.refunded == [1]


@pytest.mark.sweep(on="postgres")
async def test_a_turn_over_http_has_the_statements_of_one_in_the_process_and_those_of_its_run(
    saver: HoldfastSaver,
) -> None:
    agent = build_graph(model=ScriptedModel(lines=[*map(says, "abcd")]), checkpointer=saver)
    counts: list[Counter[str]] = []

    async def count(turn: Callable[[], Awaitable[object]]) -> None:
        await turn()  # the first turn of a thread has others
        seen: list[str] = []
        saver._backend.on_statement = seen.append
        await turn()
        saver._backend.on_statement = None
        counts.append(Counter(name for name in seen if name not in LOOKS))

    async with served(agent) as client:
        await count(lambda: client.post("/threads/ada-1/messages/wait", json={"text": "Hello"}))
    await count(lambda: Conversation(agent, "ada-2", "ada").asend("Hello"))
    over_http, in_process = counts
    assert over_http - in_process == dict.fromkeys(OF_A_RUN, 1)


@pytest.mark.sweep(on="postgres")
async def test_a_stream_goes_on_behind_the_last_event_on_another_replica(
    saver: HoldfastSaver, other: HoldfastSaver
) -> None:
    async with served(Desk(saver, 1).agent) as client:
        first = await client.post("/threads/ada-1/messages/stream", json={"text": "Refund, please."})
        assert first.status_code == 200
    address = first.headers["location"] + "/stream"
    name, id_, called = events_in(first.text)[1]
    assert (name, called["args"]) == ("tool_called", {"order_id": 1})
    async with served(Desk(other, 1).agent) as client:
        again = events_in((await client.get(address)).text)
        assert [each[:2] for each in again] == [each[:2] for each in events_in(first.text)]
        rest = events_in((await client.get(address, headers={"Last-Event-ID": str(id_)})).text)
        assert [name for name, _, _ in rest] == ["run", "paused", "done"]
        assert (await client.get(address, headers={"user": "bob"})).status_code == 404


@pytest.mark.sweep
async def test_a_message_is_accepted_once_under_its_key_and_then_answered(saver: HoldfastSaver) -> None:
    agent = build_graph(model=ScriptedModel(lines=[says("Hi")]), checkpointer=saver)
    async with served(agent) as client:
        key = {"Idempotency-Key": "k1"}
        accepted = [await client.post("/threads/t/messages", json={"text": "Hello"}, headers=key) for _ in "ab"]
        assert [each.status_code for each in accepted] == [202, 202]
        assert len({each.json()["run_id"] for each in accepted}) == 1
        other = await client.post("/threads/t/messages", json={"text": "Good bye"}, headers=key)
        assert (other.status_code, other.json()["type"]) == (422, "urn:holdfast:error:KeyReused")
        ended = await client.get(accepted[0].headers["location"] + "/stream")
        assert [name for name, _, _ in events_in(ended.text) if name != "text"] == ["run", "message", "done"]
        assert len((await client.get("/threads/t/runs")).json()) == 1


@pytest.mark.sweep
async def test_of_eight_answers_to_one_request_one_is_taken_and_seven_are_told(
    saver: HoldfastSaver, other: HoldfastSaver
) -> None:
    desk = Desk(saver, 1)
    async with served(desk.agent) as one, served(Desk(other, 1).agent) as two:
        asked = await one.post("/threads/ada-1/messages/wait", json={"text": "Refund, please."})
        [pending] = asked.json()["pending"]
        address = f"/threads/ada-1/pending/{pending['interrupt_id']}"
        answers = (
            client.post(address, json={"answer": {"type": "reject", "message": str(number)}})
            for number, client in enumerate([one, two] * 4)
        )
        came = await asyncio.gather(*answers)
        assert sorted(each.status_code for each in came) == [202] + [409] * 7
        assert all("has answered this already" in each.json()["detail"] for each in came if each.status_code == 409)


@pytest.mark.sweep
async def test_errors_are_problems_with_the_words_of_the_library(saver: HoldfastSaver) -> None:
    agent = build_graph(model=ScriptedModel(lines=[]), checkpointer=saver)
    async with served(agent) as client:
        failed = await client.post("/threads/t/messages/wait", json={"text": "Hello"})
        assert (failed.status_code, failed.json()["title"]) == (500, "Index error")
        for status, request in {
            401: client.get("/threads/t/runs", headers={"user": ""}),
            404: client.post("/threads/t/messages", json={"text": "Hello"}, headers={"user": "bob"}),
            409: client.post("/threads/t/pending/0", json={"answer": 1}),
            422: client.post("/threads/t/messages", json={}),
        }.items():
            response = await request
            assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
            assert response.json()["status"] == status


@pytest.mark.sweep
async def test_a_client_that_goes_away_aborts_nothing(saver: HoldfastSaver) -> None:
    agent = build_graph(model=ScriptedModel(lines=[says("Hi")]), checkpointer=saver)
    async with served(agent) as client:
        async with client.stream("POST", "/threads/t/messages/stream", json={"text": "Hello"}) as response:
            address = response.headers["location"]
        assert (await client.get(f"{address}/stream")).text.count("event: done") == 1


@pytest.mark.sweep
async def test_a_stream_of_a_thread_that_is_deleted_meanwhile_says_so(saver: HoldfastSaver) -> None:
    model = Thinking(lines=[])
    async with served(build_graph(model=model, checkpointer=saver)) as client:
        accepted = await client.post("/threads/t/messages", json={"text": "Hello"})
        stream = asyncio.create_task(client.get(accepted.headers["location"] + "/stream"))
        await model._thinks.wait()
        await saver.adelete_thread("t")
        assert events_in((await stream).text)[-1][0] == "interrupted"


@pytest.mark.sweep(on="postgres")
async def test_a_thread_is_deleted_right_after_its_first_message_was_accepted(saver: HoldfastSaver) -> None:
    async with served(build_graph(model=Thinking(lines=[]), checkpointer=saver)) as client:
        accepted = await client.post("/threads/t/messages", json={"text": "Hello"})
        assert (await client.delete("/threads/t", headers={"user": "bob"})).status_code == 404
        assert (await client.delete("/threads/t")).status_code == 204
        assert (await client.get(accepted.headers["location"])).status_code == 404
        assert (await client.delete("/threads/t")).status_code == 404
    assert saver.is_deleted("t")
    assert rows(saver, "SELECT count(*) FROM checkpoints") == [(0,)]


@pytest.mark.sweep(on="postgres")
async def test_a_thread_is_taken_as_soon_as_its_first_message_was_accepted(saver: HoldfastSaver) -> None:
    bob = {"user": "bob"}
    async with served(build_graph(model=Thinking(lines=[]), checkpointer=saver)) as client:
        for _ in range(2):  # the second one waits for the first
            assert (await client.post("/threads/t/messages", json={"text": "Hello"})).status_code == 202
        refused = await client.post("/threads/t/messages", json={"text": "Mine"}, headers=bob)
        shared = await client.post("/threads", json={"thread_id": "t", "members": ["eve"]}, headers=bob)
        told = {(one.status_code, one.json()["type"][-13:]) for one in (refused, shared)}
        assert told == {(404, "UnknownThread")}
        assert rows(saver, "SELECT DISTINCT user_id FROM holdfast_runs") == [("ada",)]
        assert rows(saver, "SELECT user_id FROM holdfast_members") == []
        await client.delete("/threads/t")  # else the server waits for the turn


@pytest.mark.sweep
async def test_a_stream_is_told_of_a_turn_here_before_its_model_has_said_anything(saver: HoldfastSaver) -> None:
    model = Thinking(lines=[])
    api = make_api(build_graph(model=model, checkpointer=saver))
    app = FastAPI()
    app.include_router(routes_of(api))
    async with app.router.lifespan_context(app):
        run = await Conversation(api.agent, "t").asubmit("Hello")
        await model._thinks.wait()
        assert api.live.run(run.run_id)  # a stream need not ask the database on end
        api.worker.turns.stop_turn(run.run_id)
