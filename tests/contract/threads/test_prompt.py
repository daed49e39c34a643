"""The system prompt that an agent notes in a thread, by which the thread's agent is known."""

from __future__ import annotations

from holdfast.checkpoints import HoldfastSaver
from holdfast.graph import Conversation, build_graph
from tests.support.graph_kit import ScriptedModel, says
from tests.support.kit import say


def test_a_fork_of_any_moment_has_the_prompt_of_its_origin(saver: HoldfastSaver) -> None:
    model = ScriptedModel(lines=[says("one"), says("two")])
    ada = Conversation(build_graph(model=model, tools=[], prompt="Be brief.", checkpointer=saver), "ada-1")
    ada.send("Hello")
    ada.send("And?")
    for message in ada.history():
        fork = ada.fork(message_id=message.id)
        assert saver.threads.prompt(fork.thread_id) == "Be brief."
        assert saver.threads.prompt(fork.fork().thread_id) == "Be brief."


def test_a_thread_in_which_none_was_noted_has_none(saver: HoldfastSaver) -> None:
    say(saver, "Hello")
    assert saver.threads.prompt("ada-1") is saver.threads.prompt("unknown") is None
