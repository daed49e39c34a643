"""`holdfast chat`."""

from __future__ import annotations

import sys
import uuid
from typing import Annotated

import typer

from holdfast.cli.options import (
    By,
    Database,
    Debug,
    Given,
    Json,
    Model,
    Shop,
    Thread,
    User,
    decider,
    opened,
)

EXAMPLE = "Example: holdfast chat --thread ada-1; or: echo 'What did I ask?' | holdfast chat --thread ada-1"


def chat(
    context: typer.Context,
    thread: Thread = None,
    user: User = None,
    by: By = None,
    database: Database = None,
    model: Model = None,
    shop: Shop = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="First go on with a turn that failed, or whose process died.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Talk to the agent. Picks a conversation up where it stood, a call that waits for approval too.

    Without --thread a new conversation begins. Ctrl-C and Ctrl-D leave; nothing that was said is lost. Piped input is
    said line by line, each line a turn.
    """
    given = Given(database, model, shop)
    settings = given.settings(context)
    thread_id = str(uuid.uuid4()) if thread is None else thread
    with opened(settings) as (saver, agent):
        from holdfast.cli.chat.interactive import Talking
        from holdfast.cli.chat.piped import Piped
        from holdfast.cli.chat.session import CurrentThread

        # A thread goes on under the name that it has. That of its owner is not that of who decides here.
        owner = saver.threads.owner(thread_id) if user is None else user
        if user is not None:
            saver.threads.check_owner(thread_id, user)  # before anything of it is shown
        current = CurrentThread(agent, thread_id, owner, decider(by, user), given, settings)
        if as_json or sys.stdin is None or not sys.stdin.isatty():
            Piped(current, as_json=as_json).run(retry=retry)
        else:
            Talking(current).run(retry=retry)
