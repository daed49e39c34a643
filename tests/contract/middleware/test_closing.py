"""Calls without an answer are closed before the model of an agent is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import HumanMessage, RemoveMessage
from langgraph.checkpoint.memory import InMemorySaver

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.graph.nodes.close_calls import IN_DOUBT, NEVER_APPROVED, WAITING
from holdfast.middleware import HoldfastMiddleware
from tests.support.graph_kit import calls, says
from tests.support.kit import thread
from tests.support.middleware_kit import Shop
from tests.support.world import crash, ledger

pytestmark = pytest.mark.usefixtures("quick")

TWO = calls(("refund", {"order": 1}), ("refund", {"order": 2}))


def kinds(shop: Shop) -> str:
    return "".join(message.type[0] for message in shop.messages)


@pytest.mark.sweep(on="postgres")
def test_a_call_that_waits_when_the_conversation_goes_on_is_closed_behind_its_message(saver: HoldfastSaver) -> None:
    shop = Shop(saver)
    shop.say()
    first = shop.messages
    shop.say("never mind")
    assert (kinds(shop), shop.answers[0].text, shop.refunded) == ("hatha", NEVER_APPROVED, [])
    assert [message.id for message in shop.messages[:2]] == [message.id for message in first]
    assert shop.waiting() == []
    shop.model.lines.append(says("later"))
    shop.say("and now?")
    assert kinds(shop) == "hathaha"


async def test_it_is_the_same_on_an_event_loop(saver: HoldfastSaver) -> None:
    shop = Shop(saver)
    for text in ("go", "never mind"):
        await shop.agent.ainvoke({"messages": [("user", text)]}, thread())
    assert (kinds(shop), shop.answers[0].text) == ("hatha", NEVER_APPROVED)


def test_the_result_of_a_call_that_did_end_is_kept(saver: HoldfastSaver) -> None:
    shop = Shop(saver, TWO, says("done"))
    shop.say()
    saver.interrupts.answer("ada-1", shop.waiting()[0].interrupt_id, {"type": "approve"})
    shop.go_on()
    assert shop.refunded == [1]
    shop.say("never mind the other one")
    assert [answer.text for answer in shop.answers] == ["order 1 refunded", NEVER_APPROVED]


def test_a_decision_that_was_not_carried_out_is_told(saver: HoldfastSaver) -> None:
    shop = Shop(saver)
    shop.say()
    shop.record(type="approve")
    shop.say("never mind")
    assert "a person had decided about this call" in shop.answers[0].text


def test_a_tool_without_a_declaration_that_was_cut_off_may_have_run(saver: HoldfastSaver) -> None:
    shop = Shop(saver, middleware=[HoldfastMiddleware()], behave=crash)
    with pytest.raises(KeyboardInterrupt):
        shop.say()
    shop.say("still there?")
    assert (kinds(shop), shop.answers[0].text) == ("hatha", IN_DOUBT)


@pytest.fixture
def cut_off(saver: HoldfastSaver) -> Shop:
    """An agent whose run was cut off in a call that changes the world."""
    shop = Shop(saver, middleware=[HoldfastMiddleware(once=["refund"])], behave=crash)
    with pytest.raises(KeyboardInterrupt):
        shop.say()
    shop.behave = lambda: None
    return shop


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize(
    ("verdict", "refunded", "text"),
    [
        ({"type": "happened", "result": "It is refunded."}, [1], "It is refunded."),
        ({"type": "run_again"}, [1, 1], "order 1 refunded"),
    ],
)
def test_a_call_in_doubt_is_settled_before_the_model_reads_the_new_message(
    cut_off: Shop, verdict: dict[str, Any], refunded: list[int], text: str
) -> None:
    cut_off.say("still there?")
    assert cut_off.asked().value["type"] == "effect_in_doubt"
    assert len(cut_off.model.seen) == 1
    cut_off.record(**verdict)
    cut_off.go_on()
    assert (cut_off.refunded, cut_off.answers[0].text, kinds(cut_off)) == (refunded, text, "hatha")


def test_a_call_in_doubt_stays_so_if_the_conversation_goes_on_all_the_same(cut_off: Shop) -> None:
    cut_off.say("still there?")
    cut_off.say("hello?")
    assert (cut_off.waiting(), cut_off.ended, kinds(cut_off)) == ([], True, "hathha")
    assert cut_off.answers[0].text.startswith("It is not known whether refund took effect")
    assert [entry.state for entry in cut_off.saver.effects.in_doubt()] == ["in_doubt"]


def test_a_call_in_doubt_that_was_asked_about_does_not_hold_up_the_next_message(saver: HoldfastSaver) -> None:
    def fail() -> None:
        raise RuntimeError

    shop = Shop(saver, middleware=[HoldfastMiddleware(once=["refund"])], behave=fail)
    shop.say()
    assert shop.asked().value["type"] == "effect_in_doubt"
    shop.say("go on")
    assert (shop.ended, ledger(saver)) == (True, ["in_doubt"])


class Forgetful(AgentMiddleware[Any, Any, Any]):
    """Shows the model the newest messages only, and keeps the others in the state."""

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        humans = [place for place, message in enumerate(request.messages) if isinstance(message, HumanMessage)]
        return handler(request.override(messages=request.messages[humans[-1] :]))


def test_messages_that_another_middleware_hides_stay_hidden_and_stay_in_the_thread() -> None:
    with open_checkpointer("memory://") as saver:
        ours = HoldfastMiddleware(interrupt_on=["refund"])
        shop = Shop(saver, TWO, says("done"), says("later"), middleware=[Forgetful(), ours])
        shop.say()
        shop.say("never mind")
        assert [message.text for message in shop.model.seen[-1]] == ["never mind"]
        shop = Shop(saver, says("ok"), middleware=[ours])
        shop.say("and now?")
        assert (kinds(shop), shop.model.seen[-1][-1].text) == ("hatthaha", "and now?")


def test_removed_messages_stay_removed() -> None:
    with open_checkpointer("memory://") as saver:
        shop = Shop(saver, says("hello"), calls(("refund", {"order": 1})), says("done"))
        shop.say("hello")
        gone = [RemoveMessage(id=message.id) for message in shop.messages]
        shop.agent.update_state(thread(), {"messages": gone})  # type: ignore[arg-type]
        shop.say()
        shop.say("never mind")
        assert kinds(shop) == "hatha"


def test_it_works_over_any_saver() -> None:
    shop = Shop(InMemorySaver())
    shop.say()
    shop.say("never mind")
    assert (kinds(shop), shop.answers[0].text) == ("hatha", WAITING)
