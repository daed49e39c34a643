"""Find the calls that wait for a decision, show them, and carry decisions out."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Final

import typer
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import StateSnapshot

from holdfast import factory
from holdfast.checkpoints import HoldfastSaver
from holdfast.cli.approvals.waiting import PendingCall, waiting_calls
from holdfast.cli.chat.session import ChatSession
from holdfast.cli.errors import BROKEN, Interrupted, Mistake, explain
from holdfast.cli.options import CommonOptions, thread_config
from holdfast.cli.output import pending_facts, print_json, print_notice
from holdfast.cli.output.text import counted, one_line
from holdfast.cli.output.turns import NoOutput, TurnScreen
from holdfast.deploy.tools import GraphTools
from holdfast.graph import BadAnswer, Conversation, NothingWaits, Pending
from holdfast.graph.approvals.decisions import DECISIONS
from holdfast.graph.conversation.agents import AgentProfile, AnyAgent
from holdfast.settings import Settings
from holdfast.worker import why_left

# Calls among which an id is looked up.
_SEARCHED: Final = 10_000

# Messages that are shown before a call.
_SHOWN: Final = 6

_COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "approve": ("approve", ""),
    "edit": ("edit", "--args JSON"),
    "reject": ("reject", "--reason TEXT"),
    "respond": ("respond", "--message TEXT"),
    "run_again": ("settle", "--run-again"),
    "happened": ("settle", "--happened TEXT"),
    "skip": ("settle", "--skip"),
    # Agent Inbox has words of its own.
    "accept": ("approve", ""),
    "response": ("respond", "--message TEXT"),
    "ignore": ("reject", ""),
}
"""The command for each decision, with its options."""

_ONE_OF_SEVERAL: Final = "--call N --others approve|reject"
_ONE_FOR_ALL: Final = {"approve": f"[{_ONE_OF_SEVERAL}]", "reject": f"[{_ONE_OF_SEVERAL}]"}
"""The decisions that can be taken about all calls of a request at once."""

_TO_ANSWER: Final = (("answer", "--text TEXT"), ("answer", "--value JSON"))
"""The commands that answer a question of a graph."""


def find_call(saver: BaseCheckpointSaver[Any], id: str | None, thread_id: str | None) -> PendingCall:
    """Return the one call whose id begins with `id`.

    Raises:
        NothingWaits: no call matches, or several do.
    """
    calls = waiting_calls(saver, thread_id, _SEARCHED)
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
    earlier = saver.interrupts.answered(id, thread_id) if isinstance(saver, HoldfastSaver) else None
    if earlier is not None and not earlier.expired:
        raise NothingWaits(f"{earlier.told()} {now}")
    raise NothingWaits(f"No call waits under the id {id!r}: it was decided or closed, or never existed. {now}")


def print_call(
    saver: BaseCheckpointSaver[Any],
    agent: AnyAgent,
    options: CommonOptions,
    id: str | None,
    thread_id: str | None,
    *,
    as_json: bool,
) -> None:
    """Print a call, the messages before it, and the commands that decide about it."""
    call = find_call(saver, id, thread_id)
    messages = AgentProfile(agent).messages(agent.get_state(thread_config(call.thread_id)))[-_SHOWN:]
    if as_json:
        said = [{"type": message.type, "text": message.text} for message in messages]
        return print_json(call.facts() | {"said": said}, indent=2)
    screen = TurnScreen()
    screen.history(messages)
    screen.line()
    call.print(screen)
    named = ("--thread", thread_id) if thread_id else ()
    for name, needed in commands_for(call.pending):
        command = options.command("approvals", name, call.pending.interrupt_id[:8], *named)
        screen.line(f"  {command} {needed}".rstrip())
    return None


def commands_for(pending: Pending) -> list[tuple[str, str]]:
    """Return the commands that decide about a request, with the options that they need."""
    if not pending.actions:
        return [*_TO_ANSWER]
    allowed = dict.fromkeys(word for action in pending.actions for word in action.allowed or DECISIONS)
    commands = [_COMMANDS[word] for word in allowed if word in _COMMANDS]
    if len(pending.actions) < 2:
        return commands
    return [(name, f"{needed} {_ONE_FOR_ALL.get(name, _ONE_OF_SEVERAL)}".strip()) for name, needed in commands]


def decisions_about(pending: Pending, decision: Any, calls: Collection[int] | None, others: str | None) -> Any:
    """Return the answer to a request, of which a decision is about some calls.

    Args:
        pending: the request.
        decision: the decision, or another answer.
        calls: the calls that are meant, by their numbers from 1; `None`: all.
        others: the decision about the other calls.

    Raises:
        Mistake: there is no such call, or it is not said what becomes of the others.
    """
    count = len(pending.actions)
    if not calls:
        if others is not None:
            raise Mistake("--others is about the calls that --call does not name, and no --call was given.")
        return decision
    if missing := [number for number in calls if number > count]:
        raise Mistake(f"There is no call {missing[0]} in this request. It is about {counted(count, 'call')}.")
    if others is None and len(set(calls)) < count:
        raise Mistake(
            f"This request is about {counted(count, 'call')}, and its agent takes one answer for all of them. Say what "
            "becomes of the others: --others approve or --others reject."
        )
    return [decision if number in calls else {"type": str(others)} for number in range(1, count + 1)]


def decide(session: ChatSession, call: PendingCall, answer: Any, *, as_json: bool) -> None:
    """Save a decision, let the agent go on, and print its answer."""
    output = NoOutput() if as_json else TurnScreen()
    try:
        with asyncio.Runner() as runner:
            session.answer(call.pending, answer, runner, output)
    except KeyboardInterrupt as interrupt:
        raise Interrupted.after(interrupt, f"This was in thread {call.thread_id}.") from None
    result = session.reply
    if as_json:
        left = [pending_facts(pending, call.thread_id) for pending in result.pending]
        decision = answer["type"] if isinstance(answer, Mapping) and "type" in answer else answer
        return print_json(call.facts() | {"decision": decision, "text": result.text, "waiting": left}, indent=2)
    for pending in result.pending:
        print_notice(session.pending_notice(pending))
    return None


def carry_out(saver: HoldfastSaver, agent: AnyAgent, settings: Settings, nothing: str, *, as_json: bool) -> None:
    """Let each thread go on that has a decision which is not carried out. A thread that fails does not stop the others.

    Args:
        saver: the database.
        agent: what goes on.
        settings: the settings that name the agent.
        nothing: the line to print if there is no such thread.
        as_json: print JSON instead of lines.

    Raises:
        typer.Exit: a thread could not go on.
    """
    screen, tools = TurnScreen(), GraphTools.of(agent)
    done: list[dict[str, Any]] = []
    failed = False
    due: dict[str, set[str]] = {}
    for answered in saver.interrupts.todo(_SEARCHED):
        due.setdefault(answered.thread_id, set()).add(answered.interrupt_id)
    with asyncio.Runner() as runner:
        for thread_id, ids in due.items():
            try:
                factory.check_thread(settings, saver, agent, thread_id)
                _check_takes(agent.get_state(thread_config(thread_id)), ids, tools)
                # On an event loop, since a graph may have no other form.
                result = runner.run(Conversation(agent, thread_id, saver.threads.owner(thread_id)).aretry())
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
    elif not due:
        screen.line(nothing)
    if failed:
        raise typer.Exit(BROKEN)


def _check_takes(state: StateSnapshot, due: Collection[str], tools: GraphTools) -> None:
    """Refuse to go on with an agent that cannot take the answers, because another agent has asked.

    Args:
        state: the state of the thread, as this agent sees it.
        due: the ids of the requests whose answers are to be carried out.
        tools: the agent's tools.

    Raises:
        BadAnswer: no step of this agent waits for them, or it lacks a tool.
    """
    if why := why_left(state, due, tools):
        raise BadAnswer(f"It was skipped: {why}. Resume it with the agent that has it.")
