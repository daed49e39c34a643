"""What waits for a person, over all threads of a database."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import typer

from holdfast.checkpoints import AlreadyAnswered, HoldfastSaver
from holdfast.cli.chat.session import CurrentThread
from holdfast.cli.errors import BROKEN, Interrupted, Mistake, explain
from holdfast.cli.options import Given, config_of, decider, opened
from holdfast.cli.output.screen import Screen, Silence, facts, notice
from holdfast.cli.output.text import one_line
from holdfast.graph import Conversation, NothingWaits, Pending
from holdfast.graph.agent import Agent
from holdfast.graph.conversation.answer import ThreadAnswers
from holdfast.graph.conversation.events import messages_of, pending_call, reply
from holdfast.settings import Settings

# Among how many calls one is searched for when no thread is named.
_SEARCHED = 10_000

# How much of the conversation is shown with a call.
_SHOWN = 6


# What can be decided about a call, as words of this command.
_DECISIONS = {
    "approval": ("approve", "edit --args JSON", "reject --reason TEXT", "respond --message TEXT"),
    "doubt": ("settle --run-again", "settle --happened TEXT", "settle --skip"),
}


@dataclass(frozen=True)
class Waiting:
    """A call that waits, and in which thread."""

    thread_id: str
    user: str | None
    pending: Pending


class Inbox:
    """The calls that wait, and what can be done about them."""

    def __init__(self, given: Given, settings: Settings, *, as_json: bool, by: str | None) -> None:
        self._given = given
        self._settings = settings
        self._as_json = as_json
        self._by = by
        self._screen = Screen(labelled=False)

    def list(self, thread_id: str | None, limit: int) -> None:
        """Print what waits."""
        with opened(self._to_look()) as (saver, _):
            found = _all(saver, thread_id, limit)
        if self._as_json:
            return _print([_facts(waiting) for waiting in found])
        for waiting in found:
            self._entry(waiting)
        if not found:
            self._screen.line("Nothing waits for a person.")
        return None

    def show(self, id: str | None, thread_id: str | None) -> None:
        """Print one call, with what was said before it."""
        with opened(self._to_look()) as (saver, agent):
            waiting = _one(saver, id, thread_id)
            said = messages_of(agent.get_state(config_of(waiting.thread_id)))
        if self._as_json:
            return _print(_facts(waiting) | {"said": [{"type": m.type, "text": m.text} for m in said[-_SHOWN:]]})
        self._screen.said(said[-_SHOWN:])
        self._screen.line()
        self._entry(waiting)
        for decision in _DECISIONS[waiting.pending.kind]:
            words = ["approvals", decision.partition(" ")[0], waiting.pending.interrupt_id[:8]]
            self._screen.line(f"  {self._given.again(*words)} {decision.partition(' ')[2]}".rstrip())
        return None

    def answer(self, id: str | None, thread_id: str | None, answer: dict[str, Any]) -> None:
        """Decide about a call, and print what the agent says then."""
        with opened(self._settings) as (saver, agent):
            waiting = _one(saver, id, thread_id)
            owner = saver.threads.owner(waiting.thread_id)  # whom its newest checkpoint names may be another
            thread = CurrentThread(agent, waiting.thread_id, owner, decider(self._by), self._given, self._settings)
            shows = Silence() if self._as_json else self._screen
            try:
                with asyncio.Runner() as runner:
                    thread.answer(waiting.pending, answer, runner, shows)
            except KeyboardInterrupt as stopped:
                raise Interrupted.after(stopped, f"This was in thread {waiting.thread_id}.") from None
            came_to = reply(thread.state)
        if self._as_json:
            left = [facts(pending, waiting.thread_id) for pending in came_to.pending]
            return _print(_facts(waiting) | {"decision": answer["type"], "text": came_to.text, "waiting": left})
        for pending in came_to.pending:
            notice(thread.notice_of(pending))
        return None

    def resume(self) -> None:
        """Carry out what was decided and is not carried out, because whoever was to do it died."""
        with opened(self._settings) as (saver, agent):
            self._carry_out(saver, agent, "Nothing is left to be carried out.")

    def expire(self) -> None:
        """Close what nobody has decided about in time, and let the agent go on."""
        with opened(self._settings) as (saver, agent):
            saver.interrupts.expire()
            self._carry_out(saver, agent, "Nothing has expired.")

    def _carry_out(self, saver: HoldfastSaver, agent: Agent, nothing: str) -> None:
        done: list[dict[str, Any]] = []
        failed = False
        threads = list(dict.fromkeys(found.thread_id for found in saver.interrupts.todo(_SEARCHED)))
        for thread_id in threads:
            state = agent.get_state(config_of(thread_id))
            if strange := ThreadAnswers(agent, thread_id).unknown_tools(state):
                notice(
                    f"Thread {thread_id} was left alone: this agent has no tool {strange[0]!r}. Run the one that has."
                )
                failed = True
                continue
            try:
                came_to = Conversation(agent, thread_id, saver.threads.owner(thread_id)).retry()
            except Exception as error:
                # One thread that cannot go on does not keep the others from it.
                failure = explain(error)
                if not failure.known:
                    raise
                notice(f"Thread {thread_id}: {failure.line}")
                failed = True
                continue
            left = [facts(pending, thread_id) for pending in came_to.pending]
            done.append({"thread_id": thread_id, "text": came_to.text, "waiting": left})
            if not self._as_json:
                waits = f" ({len(left)} more calls wait)" if left else ""
                self._screen.line(f"thread {thread_id}: {one_line(came_to.text)}{waits}")
        if self._as_json:
            _print(done)
        elif not threads:
            self._screen.line(nothing)
        if failed:
            raise typer.Exit(BROKEN)

    def _to_look(self) -> Settings:
        # Looking needs no model, so no key either.
        return self._settings.model_copy(update={"model": "offline"})

    def _entry(self, waiting: Waiting) -> None:
        self._screen.request(waiting.pending)
        asked = f", asked {waiting.pending.asked_at[:16].replace('T', ' ')} UTC" if waiting.pending.asked_at else ""
        user = f", user {waiting.user}" if waiting.user else ""
        self._screen.line(f"  id {waiting.pending.interrupt_id}, thread {waiting.thread_id}{user}{asked}")


def _all(saver: HoldfastSaver, thread_id: str | None, limit: int) -> list[Waiting]:
    if thread_id is not None and not saver.heads(thread_id=thread_id):
        raise Mistake(f"There is no thread {thread_id!r} in this database.")
    found: list[Waiting] = []
    for asked in saver.interrupts.waiting(limit, thread_id):
        if asked.problem is not None:
            # One call that cannot be read does not hide the others.
            notice(str(asked.problem))
        at = datetime.fromtimestamp(asked.asked_at, UTC).isoformat()
        if (call := pending_call(asked.interrupt_id, asked.value, at)) is not None:
            found.append(Waiting(asked.thread_id, asked.user_id, call))
    return found


def _one(saver: HoldfastSaver, id: str | None, thread_id: str | None) -> Waiting:
    """The call that is meant.

    Raises:
        NothingWaits: there is none, or more than one.
    """
    every = _all(saver, thread_id, _SEARCHED)
    found = [waiting for waiting in every if waiting.pending.interrupt_id.startswith(id or "")]
    if len(found) == 1:
        return found[0]
    choices = "; ".join(
        f"{waiting.pending.interrupt_id} in thread {waiting.thread_id} ({waiting.pending.description})"
        for waiting in (found or every)[:5]
    )
    now = f"What waits: {choices}." if every else "Nothing waits now."
    if found:
        raise NothingWaits(f"Which call is meant? Give more of its id, or --thread. {now}")
    if id and (first := _first(saver, id, thread_id)):
        raise NothingWaits(f"{first} {now}")
    raise NothingWaits(
        f"No call waits under {id!r}: it was answered or closed already, or never was. {now}" if id else now
    )


def _first(saver: HoldfastSaver, id: str, thread_id: str | None) -> AlreadyAnswered | None:
    """Who has answered a call already, and when."""
    found = saver.interrupts.answered(id, thread_id)
    if found is None or found.expired:
        return None
    return found.told()


def _facts(waiting: Waiting) -> dict[str, Any]:
    return facts(waiting.pending, waiting.thread_id) | {"user_id": waiting.user}


def _print(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, default=str))
