"""`holdfast approvals`: the calls that wait for a decision, in any conversation, and the decisions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.db.open import check_thread, locate_database, open_existing
from holdfast.cli.errors import Mistake
from holdfast.cli.options import (
    By,
    CommonOptions,
    Thread,
    decider_name,
    make_group,
    open_agent,
    with_agent_options,
    with_database_options,
)

if TYPE_CHECKING:
    from holdfast.checkpoints import HoldfastSaver
    from holdfast.graph.agent import Agent

app = make_group("List the calls that wait for a decision, and decide.", "holdfast approvals list")

Id = Annotated[
    str | None,
    typer.Argument(metavar="[ID]", help="Id of the call, or its beginning. Not needed if only one call waits."),
]


@app.command("list", epilog="Example: holdfast approvals list --database sqlite:///chat.db")
@with_database_options
def list_waiting(
    options: CommonOptions,
    thread: Thread = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=1_000_000, help="Number of calls at most.")
    ] = 100,
) -> None:
    """List the calls that wait, newest first.

    Lists those of all conversations, or of one with --thread.
    """
    with open_existing(options) as saver:
        from holdfast.cli.approvals.calls import print_waiting

        check_thread(saver, thread, options)
        print_waiting(saver, thread, limit, as_json=options.as_json)


@app.command("show", epilog="Example: holdfast approvals show 3f9a")
@with_database_options
def show_call(options: CommonOptions, id: Id = None, thread: Thread = None) -> None:
    """Show a call that waits, and the messages before it."""
    # Reading needs no model, and so no API key.
    with _open(replace(options, model="offline")) as (saver, agent):
        from holdfast.cli.approvals.calls import print_call

        check_thread(saver, thread, options)
        print_call(saver, agent, options, id, thread, as_json=options.as_json)


@app.command("approve", epilog="Example: holdfast approvals approve 3f9a --by Grace")
@with_agent_options
def approve(options: CommonOptions, id: Id = None, thread: Thread = None, by: By = None) -> None:
    """Run a call as it is.

    The agent goes on, and its answer is printed.
    """
    _decide(options, id, thread, by, {"type": "approve"})


@app.command("edit", epilog="""Example: holdfast approvals edit 3f9a --args '{"order_id": 1002}'""")
@with_agent_options
def edit(
    options: CommonOptions,
    arguments: Annotated[
        str, typer.Option("--args", metavar="JSON", help="The new arguments, all of them, as a JSON object.")
    ],
    id: Id = None,
    thread: Thread = None,
    by: By = None,
) -> None:
    """Run a call with other arguments.

    The agent goes on, and its answer is printed.
    """
    answer = {"type": "edit", "edited_action": {"args": _parse_arguments(arguments)}}
    _decide(options, id, thread, by, answer)


@app.command("reject", epilog="Example: holdfast approvals reject 3f9a --reason 'The refund period is over.'")
@with_agent_options
def reject(
    options: CommonOptions,
    id: Id = None,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="The reason, for the agent.")] = None,
    thread: Thread = None,
    by: By = None,
) -> None:
    """Refuse to run a call.

    The agent is told so and goes on, and its answer is printed.
    """
    _decide(options, id, thread, by, {"type": "reject", "message": reason})


@app.command("respond", epilog="Example: holdfast approvals respond 3f9a --message 'I refunded it by hand.'")
@with_agent_options
def respond(
    options: CommonOptions,
    message: Annotated[str, typer.Option("--message", metavar="TEXT", help="The result that the agent reads.")],
    id: Id = None,
    thread: Thread = None,
    by: By = None,
) -> None:
    """Answer a call yourself; the tool is not run.

    The agent reads your answer as the tool's result and goes on, and its own answer is printed.
    """
    _decide(options, id, thread, by, {"type": "respond", "message": message})


@app.command("settle", epilog="Example: holdfast approvals settle 3f9a --happened 'The bank says: refunded at 9:30.'")
@with_agent_options
def settle(
    options: CommonOptions,
    id: Id = None,
    run_again: Annotated[
        bool, typer.Option("--run-again", help="Run it: it had no effect, or may safely run twice.")
    ] = False,
    happened: Annotated[
        str | None,
        typer.Option("--happened", metavar="TEXT", help="It took effect; TEXT is the result that the agent reads."),
    ] = None,
    skip: Annotated[bool, typer.Option("--skip", help="Do not run it, whether or not it took effect.")] = False,
    thread: Thread = None,
    by: By = None,
) -> None:
    """Say whether a call in doubt took effect.

    A call is in doubt if its process died while it ran, or if it failed with an error that does not say whether it took
    effect. Give one of --run-again, --happened and --skip. The agent goes on, and its answer is printed.
    """
    verdicts = {"run_again": run_again, "happened": happened is not None, "skip": skip}
    given = [verdict for verdict, chosen in verdicts.items() if chosen]
    if len(given) != 1:
        names = " and ".join(f"--{verdict.replace('_', '-')}" for verdict in given)
        found = f"{names} were given together" if given else "No verdict was given"
        raise Mistake(f"{found}. Needed: one of --run-again, --happened TEXT and --skip.")
    _decide(options, id, thread, by, {"type": given[0], "result": happened or None})


@app.command("resume", epilog="Example: holdfast approvals resume")
@with_agent_options
def resume(options: CommonOptions) -> None:
    """Carry out decisions that a stopped process left open.

    The exit code is 1 if one of them cannot be carried out.
    """
    with _open(options) as (saver, agent):
        from holdfast.cli.approvals.calls import carry_out

        carry_out(saver, agent, "No decision is left to carry out.", as_json=options.as_json)


@app.command("expire", epilog="Example: holdfast approvals expire")
@with_agent_options
def expire(options: CommonOptions) -> None:
    """Close the calls whose time for a decision is over.

    They are not run, and the agent goes on. Run this regularly, for example every minute.
    """
    with _open(options) as (saver, agent):
        from holdfast.cli.approvals.calls import carry_out

        saver.interrupts.expire()
        carry_out(saver, agent, "No call has expired.", as_json=options.as_json)


@contextmanager
def _open(options: CommonOptions) -> Iterator[tuple[HoldfastSaver, Agent]]:
    """Open a database that exists, and make the agent."""
    locate_database(options)
    with open_agent(options.settings()) as (saver, agent):
        yield saver, agent


def _decide(
    options: CommonOptions, id: str | None, thread_id: str | None, by: str | None, answer: dict[str, Any]
) -> None:
    locate_database(options)
    settings = options.settings()
    with open_agent(settings) as (saver, agent):
        from holdfast.cli.approvals.calls import decide, find_call
        from holdfast.cli.chat.session import ChatSession

        check_thread(saver, thread_id, options)
        call = find_call(saver, id, thread_id)
        owner = saver.threads.owner(call.thread_id)  # its newest checkpoint may name another user
        session = ChatSession(agent, call.thread_id, owner, decider_name(by), options, settings)
        decide(session, call, answer, as_json=options.as_json)


def _parse_arguments(text: str) -> dict[str, Any]:
    needed = "Needed: a JSON object, such as '{\"order_id\": 1002}'."
    try:
        arguments = json.loads(text)
    except ValueError as error:
        raise Mistake(f"--args is not JSON: {error}. {needed}") from None
    if not isinstance(arguments, dict):
        raise Mistake(f"--args is not a JSON object: found {text}. {needed}")
    return arguments
