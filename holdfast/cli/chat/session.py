"""The thread that a command is about: what it says of it, and how it goes on with it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import HumanMessage
from langgraph.types import StateSnapshot

from holdfast.checkpoints import urls
from holdfast.cli.chat.turning import play
from holdfast.cli.errors import remark
from holdfast.cli.options import Given, config_of
from holdfast.cli.output.screen import Shows, notice
from holdfast.graph import Conversation, Event, Pending
from holdfast.graph.agent import Agent
from holdfast.graph.conversation.events import messages_of
from holdfast.settings import Settings

OFFLINE = (
    "Model: offline, simple rules in place of a language model. For a real one set OPENAI_API_KEY, or --model "
    "openai:NAME for any endpoint at OPENAI_BASE_URL."
)


@dataclass(frozen=True)
class CurrentThread:
    """One thread, and with what it goes on."""

    agent: Agent
    thread_id: str
    user: str | None
    by: str | None
    given: Given
    settings: Settings

    @property
    def talk(self) -> Conversation:
        return Conversation(self.agent, self.thread_id, self.user)

    @property
    def state(self) -> StateSnapshot:
        return self.agent.get_state(config_of(self.thread_id))

    def back(self, *words: str) -> str:
        """The command that comes back to it."""
        return self.given.again("chat", "--thread", self.thread_id, *words)

    def decide_elsewhere(self, pending: Pending) -> str:
        """The command that decides about a call that waits."""
        word = "approve" if pending.kind == "approval" else "settle"
        command = self.given.again("approvals", word, pending.interrupt_id[:8], "--thread", self.thread_id)
        return command if pending.kind == "approval" else f"{command} --run-again, --happened TEXT or --skip"

    def notice_of(self, pending: Pending) -> str:
        """That a call waits, and what can be done about it."""
        todo = "To approve" if pending.kind == "approval" else "To decide"
        return f"Waits for a person: {pending.description}? {todo}: {self.decide_elsewhere(pending)}"

    def introduction(self) -> list[str]:
        """What to say at the beginning: where this is, and who answers."""
        name = self.settings.model_name
        model = OFFLINE if name == "offline" else f"Model: {name}"
        where = f"Thread {self.thread_id} in {urls.parse(self.settings.database)}"
        if self.settings.database.startswith("memory://"):
            where += ", which is gone when this ends"
        return [where, model]

    def say(self, text: str, runner: asyncio.Runner, shows: Shows) -> None:
        """Say something; if that fails, the error tells also whether it was kept."""
        message = HumanMessage(text, id=str(uuid.uuid4()))
        for pending in self.talk.pending():
            notice(f"Nobody decided, so it is closed as not run: {pending.description}")
        try:
            self._play(self.talk.astream(message), runner, shows)
        except (Exception, KeyboardInterrupt) as error:
            with suppress(Exception):  # that it cannot be asked is no news
                remark(error, self._kept(message, to_retry=isinstance(error, Exception)))
            raise

    def retry(self, runner: asyncio.Runner, shows: Shows) -> None:
        """Go on with a turn that did not end."""
        self._play(self.talk.astream_retry(), runner, shows)

    def answer(self, pending: Pending, answer: dict[str, Any], runner: asyncio.Runner, shows: Shows) -> None:
        """Decide about a call; if what follows fails, the error tells also that the decision was kept."""
        try:
            self._play(self.talk.astream_answer(answer, pending.interrupt_id, by=self.by), runner, shows)
        except (Exception, KeyboardInterrupt) as error:
            with suppress(Exception):
                left = {waiting.interrupt_id for waiting in self.talk.pending()}
                if not _is_refusal(error) and pending.interrupt_id not in left:
                    remark(error, f"The decision is kept. To go on: {self.back('--retry')}")
            raise

    def _play(self, turn: AsyncGenerator[Event, None], runner: asyncio.Runner, shows: Shows) -> None:
        def still() -> None:
            notice("Still waiting: the model is slow, or somebody else is talking in this thread.")

        play(runner, turn, shows, still=still)

    def _kept(self, message: HumanMessage, *, to_retry: bool) -> str:
        if not any(said.id == message.id for said in messages_of(self.state)):
            return "Your message was not saved."
        return "Your message is kept." + (f" To try again: {self.back('--retry')}" if to_retry else "")


def _is_refusal(error: BaseException) -> bool:
    from holdfast.graph import BadAnswer, NothingWaits

    return isinstance(error, BadAnswer | NothingWaits)
