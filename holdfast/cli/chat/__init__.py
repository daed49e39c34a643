"""`holdfast chat`: talk to the agent on a terminal or through a pipe."""

from __future__ import annotations

import sys
import uuid
from typing import Annotated

import typer

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

EXAMPLE = "Example: holdfast chat --thread ada-1; or: echo 'What did I ask?' | holdfast chat --thread ada-1"

ChatUser = Annotated[
    str | None,
    no_default("--user", "NAME", "Your name, saved with the conversation.", "-u"),
]


def chat(
    context: typer.Context,
    thread: Thread = None,
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

    With --thread the conversation continues where it stopped, including a call that waits for a decision. Without it a
    new one begins. With --agent you talk to an agent of your own. Ctrl-C and Ctrl-D leave the chat, and every message
    stays saved. If input is piped, each line is one turn.
    """
    options = CommonOptions(context, database, model, shop, as_json=as_json, agent=agent)
    settings = options.settings()
    thread_id = str(uuid.uuid4()) if thread is None else thread
    with open_agent(settings) as (saver, made):
        from holdfast import factory
        from holdfast.cli.chat.interactive import InteractiveChat
        from holdfast.cli.chat.piped import PipedChat
        from holdfast.cli.chat.session import ChatSession

        # A thread keeps its owner's name, also when another person decides about its calls.
        owner = saver.threads.owner(thread_id) if user is None else user
        if user is not None:
            saver.threads.check_user(thread_id, user)  # before anything of the thread is shown
        factory.check_thread(settings, saver, made, thread_id)
        session = ChatSession(made, thread_id, owner, decider_name(by, user), options, settings)
        if as_json or sys.stdin is None or not sys.stdin.isatty():
            PipedChat(session, as_json=as_json).run(retry=retry)
        else:
            InteractiveChat(session).run(retry=retry)
