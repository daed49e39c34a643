"""The cost of a turn in a very long conversation with a bounded context."""

from __future__ import annotations

import uuid
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from bench.peers import Peer
from bench.rounds import Meter, Spent, summary
from bench.sizes import FULL, Sizes
from bench.talking import MESSAGE_CHARACTERS, Texts
from holdfast.graph import Context, Conversation, build_graph

# A message has about 500 tokens, so older ones leave the state every few turns.
CONTEXT = Context("summarise", budget=8_000)


class Speaker(BaseChatModel):
    """A model that answers with a new text, and summarises in a hundred words."""

    say: Texts
    brief: Texts

    @property
    def _llm_type(self) -> str:
        return "speaker"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        summarises = (
            len(messages[-1].text) > 2 * MESSAGE_CHARACTERS
        )  # a summary is asked for with several messages at once
        said = self.brief() if summarises else self.say()
        return ChatResult(generations=[ChatGeneration(message=AIMessage(said))])


def bounded(peer: Peer, sizes: Sizes = FULL) -> dict[str, Any]:
    """Return the time, the CPU time and the bytes of a turn at turn `far`, divided by those at turn `near`.

    The bytes are those that `span` turns around it add. The times are medians of ratios: at the end, the long
    conversation and a new one at turn `near` run turn by turn.
    """
    near, far, span = sizes.near, sizes.far, sizes.span
    with peer.opened() as (saver, place):
        say = Texts()
        agent = build_graph(model=Speaker(say=say, brief=Texts(600)), tools=[], checkpointer=saver, context=CONTEXT)
        talk, at = Conversation(agent, str(uuid.uuid4())), {}
        half = span // 2
        for number in range(1, far + half + 1):
            talk.send(say())
            if number in (near - half, near + half, far - half, far + half):
                at[number] = place.size()
        young = Conversation(agent, str(uuid.uuid4()))
        for _ in range(near - half):
            young.send(say())
        spent: tuple[list[Spent], list[Spent]] = [], []
        for _ in range(span):
            for one, taken in zip((talk, young), spent, strict=True):
                text = say()
                with Meter().timing(taken):
                    one.send(text)
        held = len(talk.context())
        if held > 40 or saver.threads.get(talk.thread_id).messages < 2 * far:
            raise AssertionError(f"{held} messages in the state after {far + half + span} turns")

    def added(turn: int) -> int:
        return at[turn + half] - at[turn - half]

    found = summary(*spent, turns=1)
    times = {"time": found["time"], "cpu": found["cpu"], "turn_ms": found["ours_ms"]["wall"]}
    return {**peer.labels, "near": near, "far": far, **times, "bytes": added(far) / added(near)}
