"""`holdfast db check --agent`: the conversations that a new version of an agent cannot go on with."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from holdfast.cli.db.open import check_thread, open_saver
from holdfast.cli.errors import Mistake
from holdfast.cli.options import CommonOptions, no_default
from holdfast.cli.output.text import counted, one_line

if TYPE_CHECKING:
    from holdfast.deploy import Checked

Agent = Annotated[
    str | None,
    no_default(
        "--agent",
        "MODULE:NAME",
        "Also list the conversations that this graph cannot go on with: its nodes, tools and channels are compared "
        "with what is stored.",
    ),
]
Renamed = Annotated[
    list[str] | None,
    no_default(
        "--renamed",
        "OLD=NEW",
        "With --agent: a node was renamed, and the agent goes on with the old name by with_renamed. May be repeated.",
    ),
]

# Ids that a line shows; --json has all.
_SHOWN: Final = 5

_KINDS: Final = {
    "node": "node",
    "pause": "pause in node",
    "join": "edge of nodes",
    "tool": "tool",
    "doubt": "tool",
    "channel": "channel",
    "type": "channel",
    "damage": "damaged",
}


def check_agent(
    options: CommonOptions, agent: str, renamed: list[str] | None, thread: str | None, allow: list[str] | None
) -> Checked:
    """Compare an agent with the conversations of a database.

    Raises:
        Mistake: the agent cannot be loaded, or a node was not renamed so.
    """
    from holdfast.agents import load_agent
    from holdfast.checkpoints import convert
    from holdfast.cli.output.progress import progress_bar
    from holdfast.deploy import check

    names = _names(renamed)
    try:
        graph = load_agent(agent)
    except ValueError as error:
        raise Mistake(str(error)) from error
    with open_saver(options, allow) as saver:
        check_thread(saver, thread, options)
        total = 1 if thread is not None else convert.count_convertible(saver.database)
        with progress_bar("Checking", total, silent=options.as_json) as bar:
            only = None if thread is None else [thread]
            try:
                return check(graph, saver, renamed=names, thread_ids=only, checked=bar.advance)
            except ValueError as error:
                raise Mistake(str(error)) from error


def facts(checked: Checked) -> list[dict[str, Any]]:
    """Return what was found, for JSON."""
    return [{**asdict(item), "count": len(item.thread_ids)} for item in checked.obstacles]


def print_obstacles(checked: Checked, agent: str) -> None:
    """Print what was found, for people."""
    for item in checked.obstacles:
        what = f"{_KINDS[item.kind]} {one_line(item.name)}" if item.name else _KINDS[item.kind]
        ids = ", ".join(map(one_line, item.thread_ids[:_SHOWN]))
        more = f" and {len(item.thread_ids) - _SHOWN:,} more" if len(item.thread_ids) > _SHOWN else ""
        typer.echo(f"{what}: {one_line(item.why)}.")
        typer.echo(f"  {counted(len(item.thread_ids), 'conversation')}: {ids}{more}")
    of_all = counted(checked.threads, "conversation")
    if checked.obstacles:
        typer.echo(f"{agent} cannot go on with {len(checked.thread_ids):,} of {of_all} as they are.")
    else:
        typer.echo(f"{agent} can go on with all of {of_all}.")


def _names(renamed: list[str] | None) -> dict[str, str]:
    pairs = [item.partition("=") for item in renamed or ()]
    for (old, _, new), item in zip(pairs, renamed or (), strict=True):
        if not old or not new:
            raise Mistake(f"--renamed {item!r} names no two nodes. Needed: OLD=NEW.")
    return {old: new for old, _, new in pairs}
