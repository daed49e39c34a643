"""`holdfast threads share` and `unshare`: with whom a conversation is shared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

import typer

from holdfast.cli.db.open import open_existing
from holdfast.cli.errors import Mistake
from holdfast.cli.options import ActingUser, By, CommonOptions, ThreadId, decider_name, with_database_options
from holdfast.cli.output import print_json
from holdfast.cli.output.text import one_line

SHARE_EXAMPLE: Final = "Example: holdfast threads share ada-1 grace bob"
UNSHARE_EXAMPLE: Final = "Example: holdfast threads unshare ada-1 bob"


@with_database_options
def share(
    options: CommonOptions,
    thread: ThreadId,
    members: Annotated[
        list[str] | None,
        typer.Argument(metavar="[USER]...", help="The users. Without one, the present members are listed."),
    ] = None,
    user: ActingUser = None,
    by: By = None,
) -> None:
    """Share a conversation with other users.

    Its members find it in their lists, read all of it, and write in it. Only its own user shares it and deletes it.
    """
    with open_existing(options) as saver:
        if members:
            found = _changed(saver.threads.share, thread, members, user, by)
        else:
            found = saver.threads.members(thread, user_id=user)
    _report(thread, found, as_json=options.as_json)


@with_database_options
def unshare(
    options: CommonOptions,
    thread: ThreadId,
    members: Annotated[list[str], typer.Argument(metavar="USER...", help="The members to remove.")],
    user: ActingUser = None,
    by: By = None,
) -> None:
    """Share a conversation no more with some of its members.

    What they said in it stays.
    """
    with open_existing(options) as saver:
        found = _changed(saver.threads.unshare, thread, members, user, by)
    _report(thread, found, as_json=options.as_json)


def _changed(
    change: Callable[..., list[str]], thread: str, members: list[str], user: str | None, by: str | None
) -> list[str]:
    try:
        return change(thread, *members, user_id=user, by=decider_name(by, user))
    except ValueError as error:
        raise Mistake(str(error)) from None


def _report(thread: str, members: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json({"thread_id": thread, "members": members})
    elif members:
        typer.echo(one_line(f"{thread} is shared with {', '.join(members)}."))
    else:
        typer.echo(one_line(f"{thread} is not shared."))
