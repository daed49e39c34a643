"""`holdfast chat`: talk to the agent on a terminal or through a pipe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.errors import Mistake
from holdfast.cli.options import (
    Agent,
    By,
    CommonOptions,
    Database,
    Debug,
    Json,
    Model,
    Shop,
    Thread,
    decider_name,
    no_default,
    open_agent,
)

if TYPE_CHECKING:
    from holdfast.cli.chat.interactive import InteractiveChat

EXAMPLE = "Example: holdfast chat --thread ada-1; or: echo 'What did I ask?' | holdfast chat --thread ada-1"

ChatUser = Annotated[
    str | None,
    no_default("--user", "NAME", "Your name, saved with the conversation.", "-u"),
]


def chat(
    context: typer.Context,
    thread: Thread = None,
    continue_: Annotated[
        bool, typer.Option("--continue", "-c", help="Continue the conversation that was written last.")
    ] = False,
    user: ChatUser = None,
    by: By = None,
    database: Database = None,
    agent: Agent = None,
    model: Model = None,
    shop: Shop = None,
    retry: Annotated[bool, typer.Option("--retry", help="First finish a turn that failed or was interrupted.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Talk to the agent.

    With --thread or --continue a conversation continues where it stopped, including a call that waits for a decision.
    Without them a new one begins. With --agent you talk to an agent of your own. Ctrl-C stops the answer, Ctrl-D leaves
    the chat, and every message stays saved. If input is piped, each line is one turn.
    """
    if thread is not None and continue_:
        raise Mistake("--thread and --continue were given together. Needed: one of them.")
    options = CommonOptions(context, database, model, shop, as_json=as_json, agent=agent)
    settings = options.settings()
    from holdfast import factory

    with open_agent(settings, factory.open_any_saver(settings)) as (saver, made):
        from holdfast.cli.chat.threads import ChatThreads

        threads = ChatThreads(saver, made, user, decider_name(by, user), options, settings)
        session = threads.last() if continue_ else threads.new() if thread is None else threads.open(thread)
        if as_json or sys.stdin is None or not sys.stdin.isatty():
            from holdfast.cli.chat.piped import PipedChat

            PipedChat(session, as_json=as_json).run(retry=retry)
        else:
            _interactive()(session, threads, _histories(settings.database)).run(retry=retry)


def _interactive() -> type[InteractiveChat]:
    """Import the chat for terminals, which needs a package that pipes do not.

    Raises:
        Mistake: it is not installed.
    """
    try:
        from holdfast.cli.chat.interactive import InteractiveChat
    except ModuleNotFoundError as error:
        from holdfast.checkpoints.extras import install_command

        needed = f"A chat on a terminal needs {error.name!r}. Install it: {install_command('cli')}"
        raise Mistake(needed) from None
    return InteractiveChat


def _histories(database: str) -> Path | None:
    """Return the folder for what was typed. A database that is gone afterwards leaves nothing behind here either."""
    from holdfast.settings import state_folder

    return None if database.startswith("memory://") else state_folder()
