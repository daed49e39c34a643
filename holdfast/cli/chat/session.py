"""One conversation of a command: its turns, shown while they run, and the texts about it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Final

from langchain_core.messages import AnyMessage, HumanMessage
from langgraph.types import StateSnapshot

from holdfast.checkpoints import urls
from holdfast.cli.errors import add_remark
from holdfast.cli.options import CommonOptions, thread_config
from holdfast.cli.output import print_notice
from holdfast.cli.output.turns import TurnOutput
from holdfast.graph import BadAnswer, Conversation, Event, NothingWaits, Pending, Reply
from holdfast.graph.conversation.agents import AgentProfile, AnyAgent
from holdfast.graph.conversation.events import reply, unfinished
from holdfast.graph.conversation.requests import pending_of
from holdfast.settings import Settings

OFFLINE: Final = (
    "Model: offline, simple rules in place of a language model. For a real one, set OPENAI_API_KEY, or give --model "
    "openai:NAME for the endpoint at OPENAI_BASE_URL."
)

# Seconds without an event after which the user is told that the command still waits.
_PATIENCE = 3.0

_DECIDING: Final = {
    "approval": ("approve", ""),
    "doubt": ("settle", "--run-again, --happened TEXT or --skip"),
    "question": ("answer", "--text TEXT"),
}
"""The command that decides about a request, with the options that it needs, by the request's kind."""


@dataclass(frozen=True)
class ChatSession:
    """One thread, with the agent and the options that it goes on with."""

    agent: AnyAgent
    thread_id: str
    user: str | None
    by: str | None
    options: CommonOptions
    settings: Settings

    @property
    def conversation(self) -> Conversation:
        return Conversation(self.agent, self.thread_id, self.user)

    @property
    def state(self) -> StateSnapshot:
        return self.agent.get_state(thread_config(self.thread_id))

    @property
    def messages(self) -> list[AnyMessage]:
        return AgentProfile(self.agent).messages(self.state)

    @property
    def reply(self) -> Reply:
        """The outcome of the last turn."""
        state = self.state
        return reply(AgentProfile(self.agent).messages(state), pending_of(state))

    @property
    def agent_facts(self) -> dict[str, str]:
        """The agent for scripts: its name, or the model of the example shop's."""
        name = self.settings.agent
        return {"model": self.settings.model_name} if name is None else {"agent": name}

    # --- texts ---

    def chat_command(self, *words: str) -> str:
        """Return the command that continues the conversation."""
        return self.options.command("chat", "--thread", self.thread_id, *words)

    def decide_command(self, pending: Pending) -> str:
        """Return the command that decides about a request."""
        name, needed = _DECIDING[pending.kind]
        command = self.options.command("approvals", name, pending.interrupt_id[:8], "--thread", self.thread_id)
        return f"{command} {needed}".rstrip()

    def pending_notice(self, pending: Pending) -> str:
        """Return a line that says what waits, and how to decide about it."""
        verb = "approve" if pending.kind == "approval" else "decide"
        text = pending.description if pending.description.endswith("?") else f"{pending.description}?"
        return f"Waiting for a decision: {text} To {verb}: {self.decide_command(pending)}"

    def introduction(self) -> list[str]:
        """Return the first lines of a chat: the thread, its database, and the agent or its model."""
        [(kind, name)] = self.agent_facts.items()
        model = OFFLINE if (kind, name) == ("model", "offline") else f"{kind.capitalize()}: {name}"
        place = f"Thread {self.thread_id} in {urls.parse_any(self.settings.database)}"
        if self.settings.database.startswith("memory://"):
            place += ", which is deleted when this command ends"
        return [place, model]

    def keeps(self, pending: Pending) -> bool:
        """Return whether a request still waits when a message is sent before the decision."""
        return AgentProfile(self.agent).keeps(pending)

    def stop_notice(self, retry: str) -> str | None:
        """Return a line that says at which breakpoint of the graph the thread has stopped; `None` if at none.

        Args:
            retry: how to go on.
        """
        profile = AgentProfile(self.agent)
        state = self.state if profile.has_breakpoints else None
        if state is None or not unfinished(state):
            return None
        return f"The agent stops before {', '.join(state.next)}, as its graph says. To go on: {retry}"

    # --- turns ---

    def send(self, text: str, runner: asyncio.Runner, output: TurnOutput) -> None:
        """Send a message. If the turn fails, the error also says whether the message was saved."""
        message = HumanMessage(text, id=str(uuid.uuid4()))
        for pending in (request for request in self.conversation.pending() if not self.keeps(request)):
            print_notice(f"Closed and not run, because you sent a message instead of a decision: {pending.description}")
        try:
            self._run(self.conversation.astream(message), runner, output)
        except (Exception, KeyboardInterrupt) as error:
            with suppress(Exception):  # the database may be out of reach as well; the first error says so
                add_remark(error, self._saved(message, to_retry=isinstance(error, Exception)))
            raise

    def undo(self) -> None:
        """Take the last turn back."""
        self.conversation.undo(by=self.by)

    def retry(self, runner: asyncio.Runner, output: TurnOutput) -> None:
        """Finish a turn that failed or was interrupted."""
        self._run(self.conversation.astream_retry(), runner, output)

    def answer(self, pending: Pending, answer: Any, runner: asyncio.Runner, output: TurnOutput) -> None:
        """Decide about a call. If the agent fails after that, the error also says that the decision was saved."""
        try:
            self._run(self.conversation.astream_answer(answer, pending.interrupt_id, by=self.by), runner, output)
        except (Exception, KeyboardInterrupt) as error:
            with suppress(Exception):
                left = {waiting.interrupt_id for waiting in self.conversation.pending()}
                if not isinstance(error, BadAnswer | NothingWaits) and pending.interrupt_id not in left:
                    add_remark(error, f"The decision is saved. To continue: {self.chat_command('--retry')}")
            raise

    def _run(self, turn: AsyncGenerator[Event, None], runner: asyncio.Runner, output: TurnOutput) -> None:
        """Run a turn to its end. On an event loop, Ctrl-C also stops a call to a model that does not answer.

        Raises:
            KeyboardInterrupt: Ctrl-C. What was saved before stays saved.
            any error of the turn.
        """
        try:
            runner.run(_show(turn, output))
        finally:
            output.end()

    def _saved(self, message: HumanMessage, *, to_retry: bool) -> str:
        if not any(earlier.id == message.id for earlier in self.messages):
            return "Your message was not saved."
        return "Your message is saved." + (f" To try again: {self.chat_command('--retry')}" if to_retry else "")


async def _show(turn: AsyncGenerator[Event, None], output: TurnOutput) -> None:
    waiting = asyncio.get_running_loop().call_later(
        _PATIENCE, print_notice, "Still waiting: the model is slow, or another process is using this thread."
    )
    try:
        async with aclosing(turn) as events:
            async for event in events:
                waiting.cancel()
                output.event(event)
    finally:
        waiting.cancel()
