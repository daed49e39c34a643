"""The offline model: the requests that its rules understand, and its answers, which say that it is offline."""

from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.runnables import Runnable
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from holdfast.graph import build_graph
from holdfast.graph.models.offline import NOT_UNDERSTOOD, WHAT_I_AM, OfflineModel
from holdfast.graph.shop import Shop, shop_tools


@pytest.fixture
def model(tmp_path: Path) -> Runnable[LanguageModelInput, AIMessage]:
    return OfflineModel().bind_tools(shop_tools(tmp_path / "shop.db"))


def ask(model: Runnable[LanguageModelInput, AIMessage], *texts: str) -> AIMessage:
    """Return the model's answer to the last of these messages. The earlier answers do not matter."""
    history: list[Any] = []
    for text in texts[:-1]:
        history += [HumanMessage(text), AIMessage("all right")]
    return model.invoke([*history, HumanMessage(texts[-1])])


def wanted(message: AIMessage) -> list[tuple[str, dict[str, Any]]]:
    return [(call["name"], call["args"]) for call in message.tool_calls]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Refund order 1001", [("find_order", {"order_id": 1001})]),
        ("I'd like refunds for 1001 and 1002", [("find_order", {"order_id": n}) for n in (1001, 1002)]),
        ("Where is order #1003?", [("find_order", {"order_id": 1003})]),
        ("List the orders of Grace", [("list_orders", {"customer": "Grace"})]),
        ("Show me Grace's orders", [("list_orders", {"customer": "Grace"})]),
        ("I am Ada. Which orders do I have?", [("list_orders", {"customer": "Ada"})]),
        (
            "Send a mail to ada@example.org saying it is on its way",
            [("send_mail", {"to": "ada@example.org", "subject": "it is on its way", "body": "it is on its way"})],
        ),
        (
            "Refund order 1001, list the orders of Grace and mail to a@example.org: hello",
            [
                ("find_order", {"order_id": 1001}),
                ("list_orders", {"customer": "Grace"}),
                ("send_mail", {"to": "a@example.org", "subject": "hello", "body": "hello"}),
            ],
        ),
    ],
)
def test_a_request_becomes_calls(
    model: Runnable[LanguageModelInput, AIMessage], text: str, expected: list[tuple[str, dict[str, Any]]]
) -> None:
    message = ask(model, text)
    assert wanted(message) == expected
    assert len({call["id"] for call in message.tool_calls}) == len(expected)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["My name is Ada.", "What is my name?"], "Your name is Ada."),
        (["I'm Ada", "No, call me Grace", "who am I?"], "Your name is Grace."),
        (["Hi", "what's my name"], "You have not told me your name."),
        (["Hi there", "My name is Ada", "What did I ask first?"], 'The first thing you wrote was: "Hi there"'),
        (["one", "two", "what did I just say?"], 'Before this you wrote: "two"'),
        (["I am Ada", "Hello"], "Hello, Ada."),
        (["I am Ada", "thanks!"], "You are welcome, Ada."),
        (["Hi", "I want a refund"], "Which order is to be refunded? Tell me its number."),
        (["Hi", "list my orders"], "Whose orders? Tell me your name."),
        (["Hi", "compose a sonnet"], NOT_UNDERSTOOD),
        (["Hi", "I am sorry"], NOT_UNDERSTOOD),
    ],
)
def test_it_answers_from_the_conversation(
    model: Runnable[LanguageModelInput, AIMessage], texts: list[str], expected: str
) -> None:
    message = ask(model, *texts)
    assert (message.content, message.tool_calls) == (expected, [])


def test_it_says_what_it_is_in_its_first_answer_only(model: Runnable[LanguageModelInput, AIMessage]) -> None:
    assert ask(model, "hello").text.startswith(WHAT_I_AM)
    assert WHAT_I_AM not in ask(model, "hello", "hello").text
    assert "rule-based" in NOT_UNDERSTOOD


def test_it_calls_only_tools_that_are_bound(tmp_path: Path) -> None:
    find_only = OfflineModel().bind_tools(shop_tools(tmp_path / "shop.db")[:1])
    assert wanted(ask(find_only, "Refund order 1001 and list the orders of Ada")) == []
    assert wanted(ask(find_only, "What about order 1001?")) == [("find_order", {"order_id": 1001})]
    assert ask(OfflineModel(), "hi", "look up order 1001").text == NOT_UNDERSTOOD


@pytest.mark.parametrize(
    ("answer", "goes_on"),
    [
        (ToolMessage("Order 1001: not refunded.", tool_call_id="x"), True),
        (ToolMessage("Order 1001: refunded yesterday.", tool_call_id="x"), False),
        (ToolMessage("There is no order 1001, not refunded", tool_call_id="x", status="error"), False),
    ],
)
def test_it_asks_for_a_refund_only_of_what_it_found_unrefunded(
    model: Runnable[LanguageModelInput, AIMessage], answer: ToolMessage, goes_on: bool
) -> None:
    call = {"name": "find_order", "args": {"order_id": 1001}, "id": "x", "type": "tool_call"}
    message = model.invoke([HumanMessage("Refund order 1001"), AIMessage("", tool_calls=[call]), answer])
    assert wanted(message) == ([("refund_order", {"order_id": 1001})] if goes_on else [])
    assert goes_on or message.text == answer.text


def test_it_streams_word_by_word_and_the_pieces_are_the_whole(model: Runnable[LanguageModelInput, AIMessage]) -> None:
    text = "Look up order 1001 and list the orders of Ada"
    pieces = list(model.stream(text))
    whole = pieces[0]
    for piece in pieces[1:]:
        whole = whole + piece  # type: ignore[assignment]
    plain = model.invoke(text)
    assert isinstance(whole, AIMessageChunk)
    assert len(pieces) > 10
    assert (whole.content, whole.tool_calls) == (plain.content, plain.tool_calls)
    assert whole.usage_metadata == plain.usage_metadata
    assert whole.response_metadata["model_name"] == plain.response_metadata["model_name"] == "offline"


def test_the_agent_streams_its_tokens(tmp_path: Path) -> None:
    agent = build_graph(tools=shop_tools(tmp_path / "shop.db"))
    asked = {"messages": [("user", "Hello, I am Ada. Show me order 1001")]}
    tokens = [piece.content for piece, _ in agent.stream(asked, stream_mode="messages") if piece.type != "tool"]
    assert len(tokens) > 10
    assert "".join(tokens).endswith("Order 1001: Ada, brass calculator, 49.00 EUR, not refunded.")


def test_several_requests_in_one_message_wait_side_by_side_and_each_happens_once(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop.db")
    agent = build_graph(tools=shop_tools(shop.path), checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "1"}}
    agent.invoke({"messages": [("user", "Refund orders 1001 and 1003 and mail to a@example.org: sorry")]}, thread)
    while pauses := agent.get_state(thread).interrupts:
        agent.invoke(Command(resume={pause.id: {"type": "approve"} for pause in pauses}), thread)
    assert (shop.count("refunds"), shop.count("outbox")) == (2, 1)
    assert agent.get_state(thread).values["messages"][-1].text.splitlines() == [
        "Order 1001 is refunded: 49.00 EUR go back to Ada.",
        "Order 1003 is refunded: 33.00 EUR go back to Grace.",
        "The mail to a@example.org is sent: sorry",
    ]


def test_a_refused_refund_is_accepted(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop.db")
    agent = build_graph(tools=shop_tools(shop.path), checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "1"}}
    (pause,) = agent.invoke({"messages": [("user", "Refund order 1001")]}, thread)["__interrupt__"]
    result = agent.invoke(Command(resume={pause.id: {"type": "reject", "message": "too late"}}), thread)
    assert result["messages"][-1].text == "Not run: a person refused this call. The reason given: too late"
    assert shop.count("refunds") == 0
