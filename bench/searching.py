"""Search among many users' messages: how long one waits for what one user has said."""

from __future__ import annotations

import hashlib
import statistics
import sys
import time
import uuid
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from bench.peers import Peer
from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.backends.base import Call
from holdfast.checkpoints.sql import Statement

MESSAGES = 1_000_000
USERS = 100
THREADS = 20
"""Of each user."""
WORDS = 50_000
"""Of the language, the first the commonest: word n is said 1/n times as often."""
LENGTH = 30
"""Words of a message, on average."""

# Ranks of words in the language. The commonest is in 93% of all messages, the rare ones are in some dozens.
RARE, MIDDLING, COMMON = range(20_000, 20_010), range(500, 510), range(10)

_THREAD = Statement(
    "thread",
    "INSERT INTO holdfast_threads (thread_id, user_id, title, head, next_seq, created_at, updated_at)"
    " VALUES (:thread_id, :user_id, 'A conversation', '1', :next_seq, 0, 0)",
)
_MESSAGE = Statement(
    "message",
    "INSERT INTO holdfast_messages (thread_id, seq, digest, codec, role, content, body, channel, checkpoint_id,"
    " created_at) VALUES (:thread_id, :seq, :digest, 1, :role, :content, :body, 'messages', '1', :at)",
)


@dataclass
class Searched:
    """Searches of one user's messages among those of many."""

    name: str
    database: str
    messages: int
    """Of all users."""
    index_seconds: float
    """To put all of them into the index."""
    index_bytes: int
    text_bytes: int
    median_ms: float
    """Of all searches."""
    slowest_ms: float
    """The median of the slowest kind."""
    kinds_ms: dict[str, float]
    """The median of each kind."""
    everybody_ms: float
    """The median of the same searches in all users' messages."""


def searching(peer: Peer, messages: int = MESSAGES) -> Searched:
    """Search one user's messages among those of many."""
    with peer.opened() as (saver, taken):
        text_bytes = _fill(saver, messages)
        before, begin = taken(), time.perf_counter()
        done = saver.search.refresh(progress=_tell)
        seconds = time.perf_counter() - begin
        if done != messages:
            raise AssertionError(f"{done} messages of {messages} were put into the index")
        index_bytes = taken() - before
        if peer.database == "PostgreSQL":
            with saver.database.backend.writing() as transaction:
                transaction.run([(Statement("analyze", "ANALYZE"), {})])  # as its own service has done by then
        kinds = {kind: _times(saver, asked, "user-7") for kind, asked in _kinds().items()}
        everybody = [time for asked in _kinds().values() for time in _times(saver, asked[:2], None)]
    medians = {kind: statistics.median(times) for kind, times in kinds.items()}
    every = [time for times in kinds.values() for time in times]
    return Searched(
        peer.label, peer.database, messages, seconds, index_bytes, text_bytes, statistics.median(every),
        max(medians.values()), medians, statistics.median(everybody),
    )  # fmt: skip


def _kinds() -> dict[str, list[str]]:
    """Searches, by how often their words are said."""
    of = {"rare": RARE, "middling": MIDDLING, "common": COMMON}
    alone = {kind: [_word(rank) for rank in ranks] for kind, ranks in of.items()}
    pairs = (("common", "rare"), ("common", "middling"), ("middling", "middling"), ("common", "common"))
    both = {
        f"{one} and {other}": [
            f"{a} {b}" for a, b in zip(alone[one], [*alone[other][1:], alone[other][0]], strict=True)
        ]
        for one, other in pairs
    }
    return {
        **alone,
        **both,
        "a phrase": [f'"{a} {b}"' for a, b in zip(alone["common"], alone["common"][1:], strict=False)],
    }


def _word(rank: int) -> str:
    """The word of this rank: some letters, and no two alike."""
    return (
        hashlib.blake2b(str(rank).encode(), digest_size=3)
        .hexdigest()
        .translate(str.maketrans("0123456789", "ghijklmnop"))
        + "aeiou"[rank % 5]
    )


def _fill(saver: HoldfastSaver, messages: int) -> int:
    """Write what would be there after so many messages, without the turns. Gives the bytes of text."""
    random, size = Random(0), 0
    language = [_word(rank) for rank in range(WORDS)]
    often = list(accumulate(1 / rank for rank in range(1, WORDS + 1)))
    each = messages // USERS // THREADS
    for number in range(USERS * THREADS):
        thread_id = f"thread-{number}"
        said = [
            " ".join(random.choices(language, cum_weights=often, k=random.randint(LENGTH // 2, LENGTH * 3 // 2)))
            for _ in range(each)
        ]
        size += sum(map(len, said))
        params = {"thread_id": thread_id, "user_id": f"user-{number % USERS}", "next_seq": each + 1}
        calls: list[Call] = [(_THREAD, params)]
        for seq, text in enumerate(said, 1):
            row = {"thread_id": thread_id, "seq": seq, "content": text, "role": "human" if seq % 2 else "ai"}
            calls.append(
                (_MESSAGE, {**row, "digest": uuid.uuid4().bytes, "body": b"\x92\xa0\x80", "at": float(number + seq)})
            )
        with saver.database.backend.writing() as transaction:
            transaction.run(calls)
    return size


def _times(saver: HoldfastSaver, asked: list[str], user_id: str | None, rounds: int = 3) -> list[float]:
    """Milliseconds of each search."""
    found = []
    for text in asked * rounds:
        begin = time.perf_counter()
        saver.search.find(text, user_id=user_id)
        found.append((time.perf_counter() - begin) * 1000)
    return found


def _tell(done: int, total: int) -> None:
    if done % 100_000 < 500:
        print(f"  {done:,} of {total:,} in the index", file=sys.stderr, flush=True)
