"""The cost of a turn in a very long conversation with a bounded context."""

from __future__ import annotations

import statistics
import time
import uuid
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from bench.peers import Peer
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


def bounded(peer: Peer, near: int = 50, far: int = 5000, span: int = 40) -> dict[str, float]:
    """Return the time and the bytes of a turn at turn `far`, divided by those at turn `near`.

    The time is the median of `span` turns around it, and the bytes are those that these turns add.
    """
    with peer.opened() as (saver, taken):
        say = Texts()
        agent = build_graph(model=Speaker(say=say, brief=Texts(600)), tools=[], checkpointer=saver, context=CONTEXT)
        talk, times, at = Conversation(agent, str(uuid.uuid4())), [], {}
        half = span // 2
        for number in range(1, far + half + 1):
            begin = time.perf_counter()
            talk.send(say())
            times.append((time.perf_counter() - begin) * 1000)
            if number in (near - half, near + half, far - half, far + half):
                at[number] = taken()
        held = len(talk.history())
        if held > 40 or saver.threads.get(talk.thread_id).messages < 2 * far:
            raise AssertionError(f"{held} messages in the state after {len(times)} turns")

    def median(turn: int) -> float:
        return statistics.median(times[turn - half : turn + half])

    def added(turn: int) -> int:
        return at[turn + half] - at[turn - half]

    return {"time": median(far) / median(near), "bytes": added(far) / added(near)}
