"""Calls in doubt: a person is asked whether the tool took effect, and the verdict becomes the answer to the call."""

from __future__ import annotations

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import tool

from holdfast.checkpoints import HoldfastSaver, convert, effects, open_checkpointer
from holdfast.checkpoints.errors import NotConverted
from holdfast.graph import BadAnswer, build_graph, needs_approval
from holdfast.graph.messages import EFFECT
from tests.support.graph_kit import Talk, calls, says
from tests.support.kit import change, rows
from tests.support.world import World, asked, crash, ledger, settle, talk_with

pytestmark = pytest.mark.usefixtures("quick")


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("answer", ["run_again", "happened", "skip"])
def test_when_its_run_was_cut_off_in_the_middle_a_person_is_asked(
    saver: HoldfastSaver, world: World, answer: str
) -> None:
    world.behave = crash
    talk = talk_with(saver, world.tool())
    with pytest.raises(KeyboardInterrupt):
        talk.say("pay")
    world.behave = lambda: None
    talk.agent.invoke(None, talk.thread)
    assert world.done == [1], "the outcome is unknown, so it was not run again"
    assert talk.answers[0].additional_kwargs[EFFECT] == {"state": "in_doubt", "why": "cancelled"}
    question = asked(talk)
    assert (question["type"], question["name"], question["args"]) == ("effect_in_doubt", "pay", {"order_id": 1})
    assert "pay(order_id=1)" in question["description"]

    given = {"type": answer, "by": "grace", **({"result": "paid, says the bank"} if answer == "happened" else {})}
    told = settle(talk, **given)
    assert told.id == talk.answers[0].id
    assert len(talk.answers) == 1
    decision = told.additional_kwargs.get(EFFECT, {})
    assert (decision.get("state"), decision.get("decision"), decision.get("by")) == (
        (None, None, None) if answer == "run_again" else ("settled", answer, "grace")
    )
    assert {
        "run_again": (told.content, world.done, ledger(saver)) == ("order 1 is paid", [1, 1], ["done"]),
        "happened": (told.content, world.done, ledger(saver)) == ("paid, says the bank", [1], ["done"]),
        "skip": "decided to leave" in str(told.content) and (world.done, ledger(saver)) == ([1], ["skipped"]),
    }[answer]
    assert len(set(world.keys)) == 1, "the service is told the same key"
    assert talk.messages[-1].content == "so be it"


def test_a_wrong_decision_about_a_doubt_is_refused_and_it_still_waits(saver: HoldfastSaver, world: World) -> None:
    world.behave = lambda: 1 / 0
    talk = talk_with(saver, world.tool())
    talk.say("pay")
    [pause] = talk.agent.get_state(talk.thread).interrupts
    with pytest.raises(BadAnswer, match="run_again"):
        talk.answer(pause.id, type="approve")
    assert asked(talk)["why"] == "error"
    settle(talk, type="skip")


def test_run_again_that_fails_again_is_asked_about_again(saver: HoldfastSaver, world: World) -> None:
    world.behave = lambda: 1 / 0
    talk = talk_with(saver, world.tool())
    talk.say("pay")
    [first] = talk.agent.get_state(talk.thread).interrupts
    settle(talk, type="run_again")
    [again] = talk.agent.get_state(talk.thread).interrupts
    assert again.id != first.id, "an answer to the first question does not answer this one"
    assert {**again.value, "since": None} == {**first.value, "since": None}
    assert world.done == [1, 1]
    world.behave = crash
    with pytest.raises(KeyboardInterrupt):
        settle(talk, type="run_again")
    world.behave = lambda: None
    talk.agent.invoke(None, talk.thread)
    assert world.done == [1, 1, 1], "the answer that was given before it was cut off does not count once more"
    assert settle(talk, type="run_again").content == "order 1 is paid"


def test_other_arguments_on_a_fork_are_asked_about(saver: HoldfastSaver, world: World) -> None:
    talk = talk_with(saver, needs_approval(world.tool()))
    talk.say("pay")
    paused = talk.agent.get_state(talk.thread).config
    [pause] = talk.agent.get_state(talk.thread).interrupts
    talk.answer(pause.id, type="approve")
    talk.model.lines += [says("as you like")] * 2
    talk.agent.invoke(None, talk.agent.update_state(paused, {"messages": []}, as_node="model"))
    [again] = talk.agent.get_state(talk.thread).interrupts
    talk.answer(again.id, type="edit", edited_action={"name": "pay", "args": {"order_id": 2}})
    assert asked(talk)["why"] == "arguments"
    assert settle(talk, type="run_again").content.endswith("order 2 is paid")
    assert world.done == [1, 2]
    assert len(set(world.keys)) == 2


def test_after_a_new_message_the_model_reads_of_the_doubt_and_the_ledger_keeps_it(
    saver: HoldfastSaver, world: World
) -> None:
    world.behave = lambda: 1 / 0
    talk = Talk(saver, calls(("pay", {"order_id": 1})), says("I see"), tools=[world.tool()])
    talk.say("pay")
    result = talk.say("never mind")
    assert result["messages"][-1].content == "I see"
    assert "It is not known whether pay took effect" in talk.answers[0].content
    assert [entry.tool for entry in saver.effects.in_doubt()] == ["pay"]


def test_a_doubt_beside_a_call_that_waits_is_asked_about_after_a_new_message(
    saver: HoldfastSaver, world: World
) -> None:
    @needs_approval
    @tool
    def refund(order_id: int) -> str:
        """Refund."""
        return "refunded"

    world.behave = lambda: 1 / 0
    both = calls(("pay", {"order_id": 1}), ("refund", {"order_id": 2}))
    talk = Talk(saver, both, says("I see"), tools=[world.tool(), refund])
    talk.say("both")
    talk.say("never mind")
    assert asked(talk)["name"] == "pay", "the step was dropped before the request was made"
    settle(talk, type="happened", result="paid")
    assert [answer.text[:7] for answer in talk.answers] == ["paid", "Not run"]
    assert talk.kinds == "hattha"


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("outcome", ["done", "in doubt", "never begun"])
def test_after_a_crash_a_new_message_gets_the_answer_from_the_ledger(
    saver: HoldfastSaver, world: World, outcome: str
) -> None:
    """The process died in the tool's step, and then a new message comes."""
    world.behave = crash
    talk = Talk(saver, calls(("pay", {"order_id": 1})), says("I see"), tools=[world.tool()])
    with pytest.raises(KeyboardInterrupt):
        talk.say("pay")
    if outcome == "done":
        started = effects.Started(
            "ada-1", *rows(saver, "SELECT effect_key, attempt, owner, thread_id FROM holdfast_effects")[0]
        )
        saver.effects.finish(started, {"messages": [ToolMessage("paid", tool_call_id="call_0", id="m")]})
    if outcome == "never begun":
        change(saver, "DELETE FROM holdfast_effects")
    talk.say("and now?")
    if outcome == "in doubt":
        assert talk.kinds == "hath"
        assert settle(talk, type="happened", result="paid").content == "paid"
    assert talk.kinds == "hatha"
    assert "Not run" in talk.answers[0].content if outcome == "never begun" else talk.answers[0].content == "paid"
    assert world.done == [1]


def test_a_database_is_not_converted_back_while_a_call_is_in_doubt(bare_url: str, world: World) -> None:
    world.behave = lambda: 1 / 0
    with open_checkpointer(bare_url) as saver:
        talk = talk_with(saver, world.tool())
        talk.say("pay")
        assert convert.expand_thread(saver.database, "ada-1").problem is None
        with pytest.raises(NotConverted, match="its outcome is unknown"):
            convert.drop_tables(saver.database)
        settle(talk, type="skip")
        assert convert.expand_thread(saver.database, "ada-1").problem is None
        convert.drop_tables(saver.database)


def test_a_doubt_that_was_left_is_asked_about_when_the_next_turn_ends(saver: HoldfastSaver, world: World) -> None:
    world.behave = lambda: 1 / 0
    talk = Talk(saver, calls(("pay", {"order_id": 1})), says("I see"), says("I see again"), tools=[world.tool()])
    talk.say("pay")
    talk.say("never mind")
    assert talk.messages[-1].content == "I see"
    assert settle(talk, type="happened", result="paid").text == "paid"
    assert talk.kinds == "hatha", "the model has answered already"
    assert talk.messages[2].content == "paid"
    talk.say("and now?")
    assert talk.messages[-1].content == "I see again"


def test_a_removed_tool_cannot_be_run_again_and_the_other_verdicts_are_open(saver: HoldfastSaver, world: World) -> None:
    world.behave = lambda: 1 / 0
    talk = talk_with(saver, world.tool())
    talk.say("pay")
    talk.agent = build_graph(model=talk.model, tools=[], checkpointer=saver)
    told = settle(talk, type="run_again")
    assert "there is no tool 'pay' any more" in told.content
    assert world.done == [1]
