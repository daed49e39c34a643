"""The real client of OpenAI against an endpoint on loopback, behind the agent: every way to ask, every way to fail."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core import exceptions as failures
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, ToolMessage
from langgraph.types import Command

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.graph import build_graph
from holdfast.graph.models import chat_model
from tests.support import stub_openai as stub
from tests.support.stub_openai import KEY, Reply, Stub, breaks_off, call, calls, refuses, says

WAYS = ["invoke", "ainvoke", "stream", "astream"]
"""Asked at once or as a stream of tokens, with and without await; each is a path of its own through the client."""


class Talk:
    """One thread of the agent, with the model behind the endpoint."""

    def __init__(
        self, endpoint: Stub, saver: HoldfastSaver, way: str, *, timeout: float = 10, retries: int = 0
    ) -> None:
        model = chat_model("openai:gpt-stub", api_key=KEY, base_url=endpoint.url, retries=retries, timeout=timeout)
        self.agent, self.saver, self.way = build_graph(model=model, checkpointer=saver), saver, way
        self.thread: Any = {"configurable": {"thread_id": "ada-1"}}
        self.tokens: list[str] = []

    async def say(self, text: str) -> None:
        await self.run({"messages": [("user", text)]})

    async def run(self, what: Any) -> None:
        if self.way == "invoke":
            await asyncio.to_thread(self.agent.invoke, what, self.thread)
        elif self.way == "ainvoke":
            await self.agent.ainvoke(what, self.thread)
        elif self.way == "stream":
            await asyncio.to_thread(lambda: self._heard(*self.agent.stream(what, self.thread, stream_mode="messages")))
        else:
            async for piece in self.agent.astream(what, self.thread, stream_mode="messages"):
                self._heard(piece)

    def _heard(self, *pieces: Any) -> None:
        self.tokens += [message.text for message, _ in pieces if isinstance(message, AIMessageChunk)]

    @property
    def messages(self) -> list[AnyMessage]:
        found: list[AnyMessage] = self.agent.get_state(self.thread).values["messages"]
        return found

    @property
    def texts(self) -> list[str]:
        return [f"{message.type}: {message.text}" for message in self.messages]

    @property
    def pending(self) -> list[Any]:
        return list(self.agent.get_state(self.thread).interrupts)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
async def saver() -> AsyncIterator[HoldfastSaver]:
    async with open_checkpointer("memory://") as saver:
        yield saver


# --- what works ---


@pytest.mark.sweep(every=4)
async def test_a_conversation_goes_to_the_endpoint_with_its_key_and_its_history(way: str, saver: HoldfastSaver) -> None:
    with stub.stub_openai(says("Hello Ada."), says("You are Ada.")) as endpoint:
        talk = Talk(endpoint, saver, way)
        await talk.say("I am Ada.")
        await talk.say("Who am I?")

        assert talk.texts == ["human: I am Ada.", "ai: Hello Ada.", "human: Who am I?", "ai: You are Ada."]
        asked = endpoint.requests[-1]
        assert [message["role"] for message in asked["messages"]] == ["system", "user", "assistant", "user"]
        assert asked["model"] == "gpt-stub"
        assert {tool["function"]["name"] for tool in asked["tools"]} >= {"find_order", "refund_order"}
        assert bool(asked.get("stream")) is ("stream" in way)
        assert endpoint.keys == [f"Bearer {KEY}"] * 2


async def test_the_tokens_that_an_answer_used_are_kept_with_it(saver: HoldfastSaver) -> None:
    with stub.stub_openai(says("Hello.")) as endpoint:
        talk = Talk(endpoint, saver, "ainvoke")
        await talk.say("Hello")
        last = talk.messages[-1]
        assert isinstance(last, AIMessage)
        assert last.usage_metadata is not None
        assert last.usage_metadata["total_tokens"] == stub.USAGE["total_tokens"]


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_words_arrive_one_by_one(way: str, saver: HoldfastSaver) -> None:
    with stub.stub_openai(says("one two three")) as endpoint:
        talk = Talk(endpoint, saver, way)
        await talk.say("Count")
        assert [token for token in talk.tokens if token] == ["one ", "two ", "three"]


@pytest.mark.sweep(every=4)
async def test_a_call_waits_for_a_person_and_its_result_goes_back(way: str, saver: HoldfastSaver) -> None:
    asks = calls(call("refund_order", '{"order_id": 1001}', "call_a"), text="I ask for the refund.")
    with stub.stub_openai(asks, says("It is refunded.")) as endpoint:
        talk = Talk(endpoint, saver, way)
        await talk.say("Refund order 1001")
        [pause] = talk.pending
        assert (pause.value["name"], pause.value["args"]) == ("refund_order", {"order_id": 1001})

        await talk.run(Command(resume={pause.id: {"type": "approve"}}))
        assert talk.texts[-1] == "ai: It is refunded."
        answer = endpoint.requests[-1]["messages"][-1]
        assert (answer["role"], answer["tool_call_id"]) == ("tool", "call_a")
        assert "1001" in answer["content"]


@pytest.mark.sweep(every=4)
async def test_a_refused_request_is_made_again_when_the_endpoint_says(way: str, saver: HoldfastSaver) -> None:
    with stub.stub_openai(refuses(429, Retry_After="0.01"), says("Hello.")) as endpoint:
        talk = Talk(endpoint, saver, way, retries=1)
        await talk.say("Hello")
        assert talk.texts == ["human: Hello", "ai: Hello."]
        assert len(endpoint.requests) == 2


async def test_key_and_address_come_from_the_environment_if_not_given(
    saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stub.stub_openai(says("Hello.")) as endpoint:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        agent = build_graph(model="openai:gpt-stub", checkpointer=saver)
        said: Any = {"messages": [("user", "Hello")]}
        state = await agent.ainvoke(said, {"configurable": {"thread_id": "ada-1"}})
        assert state["messages"][-1].text == "Hello."
        assert endpoint.keys == [f"Bearer {KEY}"]


def test_one_agent_serves_one_event_loop_after_the_other() -> None:
    with stub.stub_openai(says("one"), says("two")) as endpoint, open_checkpointer("memory://") as saver:
        talk = Talk(endpoint, saver, "ainvoke")
        asyncio.run(talk.say("first"))
        asyncio.run(talk.say("second"))
        assert talk.texts == ["human: first", "ai: one", "human: second", "ai: two"]


# --- an endpoint that fails ---

FAILURES: dict[str, tuple[Reply, type[Exception], str]] = {
    "401": (refuses(401), failures.ModelAuthenticationError, r"does not accept the API key \(401\)"),
    "404": (refuses(404), failures.ModelNotFoundError, r"does not know this model or address \(404\)"),
    "422": (refuses(422), failures.ModelInvalidRequestError, r"refused the request \(422\)"),
    "429": (refuses(429, Retry_After="60"), failures.ModelRateLimitError, r"takes no more requests for now \(429\)"),
    "500": (refuses(500), failures.ModelAPIError, r"failed \(500\)"),
    "hangs": (stub.hangs(), failures.ModelTimeoutError, "did not answer in time"),
    "breaks off": (breaks_off("one two three", rudely=True), failures.ModelConnectionError, "broke the connection off"),
    "ends early": (breaks_off("one two three", rudely=False), failures.ModelAPIError, "cannot be used"),
    # LangChain would complete this one to order 100.
    "half a call": (
        breaks_off("", call("refund_order", '{"order_id": 100'), rudely=False),
        failures.ModelAPIError,
        "cannot be used",
    ),
    "no choices": (stub.no_choices(), failures.ModelAPIError, "cannot be used"),
    "a web page": (stub.web_page(), failures.ModelAPIError, "cannot be used"),
}


@pytest.mark.sweep(every=16)
@pytest.mark.sweep(way="way", of=len(WAYS))
@pytest.mark.parametrize("failure", FAILURES)
async def test_a_failure_is_clear_shows_no_key_and_costs_no_message(
    failure: str, way: str, saver: HoldfastSaver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    reply, kind, said = FAILURES[failure]
    with stub.stub_openai(reply, says("Here I am."), says("Still here.")) as endpoint:
        talk = Talk(endpoint, saver, way, timeout=0.3 if failure == "hangs" else 10)
        with pytest.raises(kind, match=said) as raised:
            await talk.say("Hello")
        assert type(raised.value).__module__ == "langchain_core.exceptions"
        assert f"127.0.0.1:{endpoint.server_port} (model 'gpt-stub')" in str(raised.value)
        assert "\n" not in str(raised.value)
        assert talk.texts == ["human: Hello"]

        # Neither in what people and logs see of it, nor in what LangGraph saves of it.
        saved = saver.get_tuple(talk.thread)
        seen = [*traceback.format_exception(raised.value), caplog.text, repr(talk.agent), repr(saved)]
        assert saved is not None
        assert any(channel == "__error__" for _, channel, _ in saved.pending_writes or [])
        assert not any(KEY in text for text in seen)

        await talk.say("Are you there?")
        await talk.say("And now?")
        assert talk.texts == [
            "human: Hello",
            "human: Are you there?",
            "ai: Here I am.",
            "human: And now?",
            "ai: Still here.",
        ]


@pytest.mark.sweep(every=4)
async def test_a_failed_turn_can_be_made_again_without_saying_it_again(way: str, saver: HoldfastSaver) -> None:
    with stub.stub_openai(refuses(500), says("Hello Ada.")) as endpoint:
        talk = Talk(endpoint, saver, way)
        with pytest.raises(failures.ModelAPIError):
            await talk.say("I am Ada.")
        await talk.run(None)
        assert talk.texts == ["human: I am Ada.", "ai: Hello Ada."]


@pytest.mark.sweep(every=4)
async def test_a_failure_behind_an_approved_call_keeps_its_result_and_runs_it_once(
    way: str, saver: HoldfastSaver
) -> None:
    asks = calls(call("refund_order", '{"order_id": 1001}'))
    with stub.stub_openai(asks, refuses(500), says("It is refunded.")) as endpoint:
        talk = Talk(endpoint, saver, way)
        await talk.say("Refund order 1001")
        [pause] = talk.pending
        with pytest.raises(failures.ModelAPIError):
            await talk.run(Command(resume={pause.id: {"type": "approve"}}))
        await talk.say("And?")

        assert [message.type for message in talk.messages] == ["human", "ai", "tool", "human", "ai"]
        assert talk.messages[2].additional_kwargs["approval"]["decision"] == "approve"
        assert not talk.pending


# --- a model that writes bad calls ---

BAD_CALLS = {
    "a tool that does not exist": (call("burn_order", "{}"), "there is no tool 'burn_order'"),
    "a name that endpoints refuse": (call("functions.burn order", "{}"), "there is no tool 'functions.burn order'"),
    "no name at all": (call("", "{}"), "there is no tool"),
    "JSON that stops halfway": (call("refund_order", '{"order_id": 100'), "not valid JSON"),
    "no JSON": (call("refund_order", "order_id=1001"), "not valid JSON"),
    "arguments that do not fit": (call("refund_order", '{"order": 1001}'), "do not fit refund_order"),
}


@pytest.mark.sweep(every=3)
@pytest.mark.sweep(way="way", of=len(WAYS))
@pytest.mark.parametrize("bad", BAD_CALLS)
async def test_a_bad_call_is_answered_and_asks_for_no_approval(bad: str, way: str, saver: HoldfastSaver) -> None:
    wrong, told = BAD_CALLS[bad]
    with stub.stub_openai(calls(wrong), says("I see."), says("Still here.")) as endpoint:
        talk = Talk(endpoint, saver, way)
        await talk.say("Refund order 1001")
        assert not talk.pending
        assert [message.type for message in talk.messages] == ["human", "ai", "tool", "ai"]
        assert told in talk.messages[2].text
        assert told in endpoint.requests[1]["messages"][-1]["content"]

        await talk.say("And now?")
        assert talk.texts[-1] == "ai: Still here."


@pytest.mark.sweep(every=4)
async def test_an_endpoint_that_names_every_call_call_0_gets_each_answer_in_its_place(
    way: str, saver: HoldfastSaver
) -> None:
    twice = calls(call("find_order", '{"order_id": 1001}'), call("find_order", '{"order_id": 1002}'))
    again = calls(call("find_order", '{"order_id": 1003}'))
    with stub.stub_openai(twice, again, says("Found.")) as endpoint:
        talk = Talk(endpoint, saver, way)
        await talk.say("Find orders 1001, 1002 and 1003")
        answers = [message.text for message in talk.messages if isinstance(message, ToolMessage)]
        assert [f"Order {number}" in text for number, text in zip((1001, 1002, 1003), answers, strict=True)] == [
            True
        ] * 3
