"""How much of each measure a run takes: all of it, or what fits into three minutes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """The sizes of the measures. A round runs ours and the stock saver once each."""

    short_rounds: int = 40
    """Rounds of one short thread."""
    short_turns: int = 10
    logged_threads: int = 20
    """Threads whose bytes in the write-ahead log are counted."""
    distant_rounds: int = 15
    crowd_rounds: int = 7
    """Rounds of many short threads at once."""
    crowd_turns: int = 6
    crowds: tuple[int, int] = (32, 64)
    """Threads at once on SQLite and on PostgreSQL."""
    turns: int = 400
    """Turns of the long conversation."""
    late_turns: int = 20
    """The last of them, which are compared."""
    is_whole: bool = True
    """Whether the stock savers have all turns of the long conversation too. If not, they begin with all but the last
    ones in one update, and only they and ours are measured."""
    near: int = 50
    far: int = 5000
    """The turns of an agent with a bounded context that are compared."""
    span: int = 40
    approval_rounds: int = 30
    guarded_rounds: int = 300
    """Rounds of one turn of `create_agent`, with and without the middleware."""
    dicts: int = 2000
    dict_rounds: int = 10
    grown_rounds: int = 10
    """Rounds of five turns, each of which adds one large dict to a list."""
    files_mb: int = 50
    files_rounds: int = 4
    channel_rounds: int = 20
    """Rounds of one thread of ten turns with 50 channels."""
    served_rounds: int = 60
    """Turns over HTTP beside turns in the process, with a model that answers at once; a fifth with a slow one."""
    streams: int = 500
    """Streams of one server at once."""
    threads: int = 100_000
    """Threads in the database of a server."""
    asked: int = 400
    """Threads beside them that wait for a person."""
    starts: int = 3
    """Starts of each server."""
    others_turns: int = 100
    """Turns of the conversation over the checkpointers of other databases."""
    others_kills: int = 3
    """Calls over each of them whose process is killed."""


FULL = Sizes()

QUICK = Sizes(
    short_rounds=10,
    logged_threads=5,
    distant_rounds=5,
    crowd_rounds=2,
    crowd_turns=3,
    is_whole=False,
    far=200,
    span=20,
    approval_rounds=8,
    guarded_rounds=60,
    dict_rounds=4,
    grown_rounds=4,
    files_mb=5,
    files_rounds=3,
    channel_rounds=4,
    served_rounds=20,
    streams=100,
    threads=10_000,
    asked=100,
    starts=1,
    others_turns=10,
    others_kills=1,
)
