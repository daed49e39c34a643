"""`holdfast approvals`: what waits for a person, in any conversation, and decisions about it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.db.open import location_of
from holdfast.cli.errors import Mistake
from holdfast.cli.options import (
    By,
    Database,
    Debug,
    Given,
    Json,
    Model,
    Shop,
    Thread,
    help_if_bare,
)

if TYPE_CHECKING:
    from holdfast.cli.inbox import Inbox

app = typer.Typer(
    help="See what waits for a person, and decide about it.",
    epilog="Example: holdfast approvals list",
    rich_markup_mode=None,
    invoke_without_command=True,
)
app.callback()(help_if_bare)

Id = Annotated[
    str | None,
    typer.Argument(metavar="[ID]", help="Which call: its id, or the beginning of it. Not needed if only one waits."),
]


def _inbox(context: typer.Context, given: Given, *, as_json: bool, by: str | None = None) -> Inbox:
    location_of(context, given)
    from holdfast.cli.inbox import Inbox

    return Inbox(given, given.settings(context), as_json=as_json, by=by)


@app.command("list", epilog="Example: holdfast approvals list --database sqlite:///chat.db")
def list_(
    context: typer.Context,
    thread: Thread = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="How many calls at the most.")] = 100,
    database: Database = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List what waits, the newest first: in all conversations, or in that of --thread."""
    _inbox(context, Given(database), as_json=as_json).list(thread, limit)


@app.command("show", epilog="Example: holdfast approvals show 3f9a")
def show(
    context: typer.Context,
    id: Id = None,
    thread: Thread = None,
    database: Database = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show a call that waits: what is asked, and what was said before it."""
    _inbox(context, Given(database), as_json=as_json).show(id, thread)


@app.command("approve", epilog="Example: holdfast approvals approve 3f9a --by Grace")
def approve(
    context: typer.Context,
    id: Id = None,
    thread: Thread = None,
    by: By = None,
    database: Database = None,
    model: Model = None,
    shop: Shop = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Let a call run as it is. The agent goes on, and what it says is printed."""
    _inbox(context, Given(database, model, shop), as_json=as_json, by=by).answer(id, thread, {"type": "approve"})


@app.command("edit", epilog="""Example: holdfast approvals edit 3f9a --args '{"order_id": 1002}'""")
def edit(
    context: typer.Context,
    arguments: Annotated[str, typer.Option("--args", metavar="JSON", help="All its arguments, as a JSON object.")],
    id: Id = None,
    thread: Thread = None,
    by: By = None,
    database: Database = None,
    model: Model = None,
    shop: Shop = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Let a call run with other arguments."""
    answer = {"type": "edit", "edited_action": {"args": _object(arguments)}}
    _inbox(context, Given(database, model, shop), as_json=as_json, by=by).answer(id, thread, answer)


@app.command("reject", epilog="Example: holdfast approvals reject 3f9a --reason 'It is past its date.'")
def reject(
    context: typer.Context,
    id: Id = None,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why; the agent reads it.")] = None,
    thread: Thread = None,
    by: By = None,
    database: Database = None,
    model: Model = None,
    shop: Shop = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Do not let a call run, and tell the agent so."""
    answer = {"type": "reject", "message": reason}
    _inbox(context, Given(database, model, shop), as_json=as_json, by=by).answer(id, thread, answer)


@app.command("respond", epilog="Example: holdfast approvals respond 3f9a --message 'I did it by hand.'")
def respond(
    context: typer.Context,
    message: Annotated[str, typer.Option("--message", metavar="TEXT", help="What the agent reads as the result.")],
    id: Id = None,
    thread: Thread = None,
    by: By = None,
    database: Database = None,
    model: Model = None,
    shop: Shop = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Answer in place of a tool, which is not run."""
    answer = {"type": "respond", "message": message}
    _inbox(context, Given(database, model, shop), as_json=as_json, by=by).answer(id, thread, answer)


@app.command("settle", epilog="Example: holdfast approvals settle 3f9a --happened 'Refunded at 9:30, says the bank.'")
def settle(
    context: typer.Context,
    id: Id = None,
    run_again: Annotated[bool, typer.Option("--run-again", help="It did not happen, or may be made twice.")] = False,
    happened: Annotated[
        str | None, typer.Option("--happened", metavar="TEXT", help="It took effect; the agent reads what came of it.")
    ] = None,
    skip: Annotated[bool, typer.Option("--skip", help="It is not to be run, whatever happened.")] = False,
    thread: Thread = None,
    by: By = None,
    database: Database = None,
    model: Model = None,
    shop: Shop = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Decide about a call of which nobody knows whether it took effect: its process died in the middle of it."""
    if [run_again, happened is not None, skip].count(True) != 1:
        raise Mistake("What is known about the call? Needed: one of --run-again, --happened TEXT and --skip.")
    verdict = "run_again" if run_again else "skip" if skip else "happened"
    answer = {"type": verdict, "result": happened or None}
    _inbox(context, Given(database, model, shop), as_json=as_json, by=by).answer(id, thread, answer)


@app.command("resume", epilog="Example: holdfast approvals resume")
def resume(
    context: typer.Context,
    database: Database = None,
    model: Model = None,
    shop: Shop = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Carry out what was decided and is not carried out, because a process died in between."""
    _inbox(context, Given(database, model, shop), as_json=as_json).resume()


@app.command("expire", epilog="Example, every minute: holdfast approvals expire")
def expire(
    context: typer.Context,
    database: Database = None,
    model: Model = None,
    shop: Shop = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Close what nobody has decided about in time: it is not run, and the agent goes on."""
    _inbox(context, Given(database, model, shop), as_json=as_json).expire()


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Mistake(
            f"--args is not JSON: {error}. It takes a JSON object, such as '{{\"order_id\": 1002}}'"
        ) from None
    if not isinstance(found, dict):
        raise Mistake(f"--args takes a JSON object, such as '{{\"order_id\": 1002}}'; found {text}")
    return found
