"""Find the calls that wait for a decision, show them, and carry decisions out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import typer

from holdfast.checkpoints import HoldfastSaver
from holdfast.cli.chat.session import ChatSession
from holdfast.cli.errors import BROKEN, Interrupted, explain
from holdfast.cli.options import CommonOptions, thread_config
from holdfast.cli.output import pending_facts, print_json, print_notice
from holdfast.cli.output.screen import NoOutput, Screen
from holdfast.cli.output.text import counted, one_line
from holdfast.graph import Conversation, NothingWaits, Pending
from holdfast.graph.agent import Agent
from holdfast.graph.approvals.decisions import DECISIONS, Decision
from holdfast.graph.conversation.answer import ThreadAnswers
from holdfast.graph.conversation.events import messages_of, pending_call, reply

# Calls among which an id is looked up.
_SEARCHED: Final = 10_000

# Messages that are shown before a call.
_SHOWN: Final = 6

_OPTIONS: Final[Mapping[Decision, str]] = {
    "edit": "--args JSON",
    "reject": "--reason TEXT",
    "respond": "--message TEXT",
}
"""The options of the commands that decide. Each decision has a command of its name."""

_COMMANDS: Final = {
    "approval": tuple((decision, _OPTIONS.get(decision, "")) for decision in DECISIONS),
    "doubt": (("settle", "--run-again"), ("settle", "--happened TEXT"), ("settle", "--skip")),
}
"""The commands that decide about a call, with their options, by the kind of the call."""


class PendingCall(NamedTuple):
    """A call that waits for a decision, with its thread and that thread's user."""

    thread_id: str
    user: str | None
    pending: Pending

    def facts(self) -> dict[str, Any]:
        """Return the call for JSON."""
        return pending_facts(self.pending, self.thread_id) | {"user_id": self.user}

    def print(self, screen: Screen) -> None:
        """Show the call, its id and its thread."""
        screen.request(self.pending)
        asked = f", asked {self.pending.asked_at[:16].replace('T', ' ')} UTC" if self.pending.asked_at else ""
        user = f", user {self.user}" if self.user else ""
        screen.line(f"  id {self.pending.interrupt_id}, thread {self.thread_id}{user}{asked}")


def find_call(saver: HoldfastSaver, id: str | None, thread_id: str | None) -> PendingCall:
    """Return the one call whose id begins with `id`.

    Raises:
        NothingWaits: no call matches, or several do.
    """
    calls = _waiting(saver, thread_id, _SEARCHED)
    matches = [call for call in calls if call.pending.interrupt_id.startswith(id or "")]
    if len(matches) == 1:
        return matches[0]
    choices = "; ".join(
        f"{call.pending.interrupt_id} in thread {call.thread_id} ({call.pending.description})"
        for call in (matches or calls)[:5]
    )
    now = f"Waiting: {choices}." if calls else "Nothing waits now."
    if matches:
        raise NothingWaits(f"{len(matches):,} calls match. Give more of the id, or --thread. {now}")
    if not id:
        raise NothingWaits(now)
    earlier = saver.interrupts.answered(id, thread_id)
    if earlier is not None and not earlier.expired:
        raise NothingWaits(f"{earlier.told()} {now}")
    raise NothingWaits(f"No call waits under the id {id!r}: it was decided or closed, or never existed. {now}")


def print_waiting(saver: HoldfastSaver, thread_id: str | None, limit: int, *, as_json: bool) -> None:
    """Print the calls that wait."""
    calls = _waiting(saver, thread_id, limit)
    if as_json:
        return print_json([call.facts() for call in calls], indent=2)
    screen = Screen(labelled=False)
    for call in calls:
        call.print(screen)
    if not calls:
        screen.line("No call waits for a decision.")
    return None


def print_call(
    saver: HoldfastSaver,
    agent: Agent,
    options: CommonOptions,
    id: str | None,
    thread_id: str | None,
    *,
    as_json: bool,
) -> None:
    """Print a call, the messages before it, and the commands that decide about it."""
    call = find_call(saver, id, thread_id)
    messages = messages_of(agent.get_state(thread_config(call.thread_id)))[-_SHOWN:]
    if as_json:
        said = [{"type": message.type, "text": message.text} for message in messages]
        return print_json(call.facts() | {"said": said}, indent=2)
    screen = Screen(labelled=False)
    screen.history(messages)
    screen.line()
    call.print(screen)
    for name, needed in _COMMANDS[call.pending.kind]:
        screen.line(f"  {options.command('approvals', name, call.pending.interrupt_id[:8])} {needed}".rstrip())
    return None


def decide(session: ChatSession, call: PendingCall, answer: dict[str, Any], *, as_json: bool) -> None:
    """Save a decision, let the agent go on, and print its answer."""
    output = NoOutput() if as_json else Screen(labelled=False)
    try:
        with asyncio.Runner() as runner:
            session.answer(call.pending, answer, runner, output)
    except KeyboardInterrupt as interrupt:
        raise Interrupted.after(interrupt, f"This was in thread {call.thread_id}.") from None
    result = reply(session.state)
    if as_json:
        left = [pending_facts(pending, call.thread_id) for pending in result.pending]
        return print_json(call.facts() | {"decision": answer["type"], "text": result.text, "waiting": left}, indent=2)
    for pending in result.pending:
        print_notice(session.pending_notice(pending))
    return None


def carry_out(saver: HoldfastSaver, agent: Agent, nothing: str, *, as_json: bool) -> None:
    """Let each thread go on that has a decision which is not carried out. A thread that fails does not stop the others.

    Args:
        saver: the database.
        agent: what goes on.
        nothing: the line to print if there is no such thread.
        as_json: print JSON instead of lines.

    Raises:
        typer.Exit: a thread could not go on.
    """
    screen = Screen(labelled=False)
    done: list[dict[str, Any]] = []
    failed = False
    threads = list(dict.fromkeys(answered.thread_id for answered in saver.interrupts.todo(_SEARCHED)))
    for thread_id in threads:
        if unknown := ThreadAnswers(agent, thread_id).unknown_tools(agent.get_state(thread_config(thread_id))):
            print_notice(
                f"Thread {thread_id} was skipped: this agent has no tool {unknown[0]!r}. Resume it with the agent that "
                "has it."
            )
            failed = True
            continue
        try:
            result = Conversation(agent, thread_id, saver.threads.owner(thread_id)).retry()
        except Exception as error:
            failure = explain(error)
            if not failure.expected:
                raise
            print_notice(f"Thread {thread_id}: {failure.line}")
            failed = True
            continue
        left = [pending_facts(pending, thread_id) for pending in result.pending]
        done.append({"thread_id": thread_id, "text": result.text, "waiting": left})
        if not as_json:
            waits = f" (waiting: {counted(len(left), 'more call')})" if left else ""
            screen.line(f"thread {thread_id}: {one_line(result.text)}{waits}")
    if as_json:
        print_json(done, indent=2)
    elif not threads:
        screen.line(nothing)
    if failed:
        raise typer.Exit(BROKEN)


def _waiting(saver: HoldfastSaver, thread_id: str | None, limit: int) -> list[PendingCall]:
    """Return the calls that wait. One that cannot be read is reported, and does not hide the others."""
    calls: list[PendingCall] = []
    for waiting in saver.interrupts.waiting(limit, thread_id):
        if waiting.problem is not None:
            print_notice(str(waiting.problem))
        at = datetime.fromtimestamp(waiting.asked_at, UTC).isoformat()
        if (pending := pending_call(waiting.interrupt_id, waiting.value, at)) is not None:
            calls.append(PendingCall(waiting.thread_id, waiting.user_id, pending))
    return calls
