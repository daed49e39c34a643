"""`holdfast approvals`: the calls that wait for a decision, in any conversation, and the decisions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer

from holdfast.cli.db.open import check_thread, is_other_database, locate_database, open_existing
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
    with_reading_options,
)

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

    from holdfast.checkpoints import HoldfastSaver
    from holdfast.cli.approvals.waiting import AnyDatabase
    from holdfast.graph.conversation.agents import AnyAgent
    from holdfast.settings import Settings


class Verdict(StrEnum):
    """A decision about the other calls of a request."""

    APPROVE = "approve"
    REJECT = "reject"


app = make_group("List the calls that wait for a decision, and decide.", "holdfast approvals list")

Id = Annotated[
    str | None,
    typer.Argument(metavar="[ID]", help="Id of the request, or its beginning. Not needed if only one waits."),
]
Calls = Annotated[
    list[int] | None,
    typer.Option(
        "--call",
        metavar="N",
        min=1,
        help="Of a request about several calls: the call that is meant, by its number in the list. May be repeated. "
        "Without it, all are meant.",
        show_default=False,
    ),
]
Others = Annotated[
    Verdict | None,
    typer.Option(
        "--others",
        help="What becomes of the other calls of the request. Its agent takes one answer for all of them.",
        show_default=False,
    ),
]


@app.command("list", epilog="Example: holdfast approvals list --database sqlite:///chat.db")
@with_database_options
def list_waiting(
    options: CommonOptions,
    thread: Thread = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=1_000_000, help="Number of requests at most.")
    ] = 100,
) -> None:
    """List the requests that wait, newest first.

    Lists those of all conversations, or of one with --thread.
    """
    with _open_database(options, thread) as database:
        from holdfast.cli.approvals.waiting import print_waiting

        print_waiting(database, thread, limit, as_json=options.as_json)


@app.command("show", epilog="Example: holdfast approvals show 3f9a")
@with_reading_options
def show_call(options: CommonOptions, id: Id = None, thread: Thread = None) -> None:
    """Show a request that waits, the messages before it, and the commands that decide about it."""
    # Reading needs no model, and so no API key.
    with _open_for(options, thread, model="offline") as (_, saver, agent):
        from holdfast.cli.approvals.calls import print_call

        print_call(saver, agent, options, id, thread, as_json=options.as_json)


@app.command("approve", epilog="Example: holdfast approvals approve 3f9a --by Grace")
@with_agent_options
def approve(
    options: CommonOptions,
    id: Id = None,
    call: Calls = None,
    others: Others = None,
    thread: Thread = None,
    by: By = None,
) -> None:
    """Run a call as it is.

    With a request about several calls, all are run, or the one that --call names. The agent goes on, and its answer is
    printed.
    """
    _decide(options, id, thread, by, {"type": "approve"}, Part(call, others))


@app.command("edit", epilog="""Example: holdfast approvals edit 3f9a --args '{"order_id": 1002}'""")
@with_agent_options
def edit(
    options: CommonOptions,
    arguments: Annotated[
        str, typer.Option("--args", metavar="JSON", help="The new arguments, all of them, as a JSON object.")
    ],
    id: Id = None,
    call: Calls = None,
    others: Others = None,
    thread: Thread = None,
    by: By = None,
) -> None:
    """Run a call with other arguments.

    The agent goes on, and its answer is printed.
    """
    answer = {"type": "edit", "edited_action": {"args": _parse_arguments(arguments)}}
    _decide(options, id, thread, by, answer, Part(call, others))


@app.command("reject", epilog="Example: holdfast approvals reject 3f9a --reason 'The refund period is over.'")
@with_agent_options
def reject(
    options: CommonOptions,
    id: Id = None,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="The reason, for the agent.")] = None,
    call: Calls = None,
    others: Others = None,
    thread: Thread = None,
    by: By = None,
) -> None:
    """Refuse to run a call.

    With a request about several calls, all are refused, or the one that --call names. The agent is told so and goes on,
    and its answer is printed.
    """
    _decide(options, id, thread, by, {"type": "reject", "message": reason}, Part(call, others))


@app.command("respond", epilog="Example: holdfast approvals respond 3f9a --message 'I refunded it by hand.'")
@with_agent_options
def respond(
    options: CommonOptions,
    message: Annotated[str, typer.Option("--message", metavar="TEXT", help="The result that the agent reads.")],
    id: Id = None,
    call: Calls = None,
    others: Others = None,
    thread: Thread = None,
    by: By = None,
) -> None:
    """Answer a call yourself; the tool is not run.

    The agent reads your answer as the tool's result and goes on, and its own answer is printed.
    """
    _decide(options, id, thread, by, {"type": "respond", "message": message}, Part(call, others))


@app.command("answer", epilog="Example: holdfast approvals answer 3f9a --text yes")
@with_agent_options
def answer(
    options: CommonOptions,
    id: Id = None,
    text: Annotated[str | None, typer.Option("--text", metavar="TEXT", help="The answer, as a text.")] = None,
    value: Annotated[
        str | None,
        typer.Option(
            "--value",
            metavar="JSON",
            help="The answer, as JSON. To decide about each of several calls: a list with a decision for each, such as "
            """'[{"type": "approve"}, {"type": "reject", "message": "Too late."}]'.""",
        ),
    ] = None,
    thread: Thread = None,
    by: By = None,
) -> None:
    """Answer a question that a graph asks, or a request about several calls with a decision for each.

    The agent goes on, and its answer is printed.
    """
    if (text is None) == (value is None):
        raise Mistake("Needed: one of --text TEXT and --value JSON.")
    _decide(options, id, thread, by, text if value is None else _parse_json("--value", value))


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
    with _open(options) as (settings, saver, agent):
        from holdfast.cli.approvals.calls import carry_out

        nothing = "No decision is left to carry out."
        carry_out(saver, agent, settings, nothing, as_json=options.as_json)


@app.command("expire", epilog="Example: holdfast approvals expire")
@with_agent_options
def expire(options: CommonOptions) -> None:
    """Close the calls whose time for a decision is over.

    They are not run, and the agent goes on. Run this regularly, for example every minute.
    """
    with _open(options) as (settings, saver, agent):
        from holdfast.cli.approvals.calls import carry_out

        saver.interrupts.expire()
        carry_out(saver, agent, settings, "No call has expired.", as_json=options.as_json)


class Part(NamedTuple):
    """The part of a request that a decision is about, as the options --call and --others name it."""

    calls: list[int] | None = None
    others: Verdict | None = None


_ALL: Final = Part()


@contextmanager
def _open(options: CommonOptions, **more: Any) -> Iterator[tuple[Settings, HoldfastSaver, AnyAgent]]:
    """Open a database that exists, and make the agent."""
    locate_database(options)
    from holdfast import factory

    settings = options.settings(**more)
    with open_agent(settings, factory.make_checkpointer(settings)) as (saver, agent):
        yield settings, saver, agent


@contextmanager
def _open_for(
    options: CommonOptions, thread_id: str | None, **more: Any
) -> Iterator[tuple[Settings, BaseCheckpointSaver[Any], AnyAgent]]:
    """Open a database for a thread, or for all of them, and make the agent. It may be another checkpointer's."""
    if not is_other_database(options, thread_id):
        with _open(options, **more) as own:
            check_thread(own[1], thread_id, options)
            yield own
        return
    from holdfast import factory

    settings = options.settings(**more)
    with open_agent(settings, factory.open_any_saver(settings)) as (saver, agent):
        yield settings, saver, agent


@contextmanager
def _open_database(options: CommonOptions, thread_id: str | None) -> Iterator[AnyDatabase]:
    """Do as `_open_for`, without an agent."""
    if not is_other_database(options, thread_id):
        with open_existing(options) as database:
            check_thread(database, thread_id, options)
            yield database
        return
    from holdfast import factory

    with factory.open_any_saver(options.settings()) as saver:
        yield saver


def _decide(
    options: CommonOptions, id: str | None, thread_id: str | None, by: str | None, answer: Any, part: Part = _ALL
) -> None:
    with _open_for(options, thread_id) as (settings, saver, agent):
        from holdfast import factory
        from holdfast.checkpoints import HoldfastSaver
        from holdfast.cli.approvals.calls import decide, decisions_about, find_call
        from holdfast.cli.chat.session import ChatSession

        call = find_call(saver, id, thread_id)
        factory.check_thread(settings, saver, agent, call.thread_id)
        # The newest checkpoint may name another user than the owner, but only Holdfast's own databases know that.
        owner = saver.threads.owner(call.thread_id) if isinstance(saver, HoldfastSaver) else call.user
        session = ChatSession(agent, call.thread_id, owner, decider_name(by), options, settings)
        answer = decisions_about(call.pending, answer, part.calls, part.others)
        decide(session, call, answer, as_json=options.as_json)


def _parse_arguments(text: str) -> dict[str, Any]:
    needed = "Needed: a JSON object, such as '{\"order_id\": 1002}'."
    arguments = _parse_json("--args", text, needed)
    if not isinstance(arguments, dict):
        raise Mistake(f"--args is not a JSON object: found {text}. {needed}")
    return arguments


def _parse_json(option: str, text: str, needed: str = "For a plain text: --text.") -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Mistake(f"{option} is not JSON: {error}. {needed}") from None
