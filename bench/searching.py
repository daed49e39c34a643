"""The time of a search in one user's messages, among the messages of many users."""

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
"""The number of threads of each user."""
WORDS = 50_000
"""The number of words in the language. Word n is used 1/n times as often as the first."""
LENGTH = 30
"""The mean number of words in a message."""

# Ranks of words in the language. The commonest word is in 93% of all messages, a rare one in some dozens of messages.
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
class SearchFigures:
    """Figures of searches in one user's messages, among those of many users."""

    name: str
    database: str
    messages: int
    """The number of messages of all users."""
    index_seconds: float
    """The time to index all messages."""
    index_bytes: int
    text_bytes: int
    median_ms: float
    """The median time of all searches."""
    slowest_ms: float
    """The median time of the slowest kind of search."""
    kinds_ms: dict[str, float]
    """The median time of each kind of search."""
    all_users_ms: float
    """The median time of the same searches in the messages of all users."""


def searching(peer: Peer, messages: int = MESSAGES) -> SearchFigures:
    """Measure searches in one user's messages, among those of many users."""
    with peer.opened() as (saver, place):
        text_bytes = _fill(saver, messages)
        before, begin = place.size(), time.perf_counter()
        done = saver.search.refresh(progress=_show_progress)
        seconds = time.perf_counter() - begin
        if done != messages:
            raise AssertionError(f"{done} messages of {messages} were indexed")
        index_bytes = place.size() - before
        if peer.database == "PostgreSQL":
            with saver.database.backend.writing() as transaction:
                transaction.run([(Statement("analyze", "ANALYZE"), {})])  # as autovacuum has done by then
        kinds = {kind: _times(saver, asked, "user-7") for kind, asked in _kinds().items()}
        all_users = [time for asked in _kinds().values() for time in _times(saver, asked[:2], None)]
    medians = {kind: statistics.median(times) for kind, times in kinds.items()}
    every = [time for times in kinds.values() for time in times]
    return SearchFigures(
        peer.label, peer.database, messages, seconds, index_bytes, text_bytes, statistics.median(every),
        max(medians.values()), medians, statistics.median(all_users),
    )  # fmt: skip


def _kinds() -> dict[str, list[str]]:
    """Return the texts to search for, by how common their words are."""
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
    """Return the word of a rank: some letters, different for each rank."""
    return (
        hashlib.blake2b(str(rank).encode(), digest_size=3)
        .hexdigest()
        .translate(str.maketrans("0123456789", "ghijklmnop"))
        + "aeiou"[rank % 5]
    )


def _fill(saver: HoldfastSaver, messages: int) -> int:
    """Write the rows of so many messages without running the turns, and return the bytes of text."""
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
    """Return the time of each search in milliseconds."""
    found = []
    for text in asked * rounds:
        begin = time.perf_counter()
        saver.search.find(text, user_id=user_id)
        found.append((time.perf_counter() - begin) * 1000)
    return found


def _show_progress(done: int, total: int) -> None:
    if done % 100_000 < 500:
        print(f"  {done:,} of {total:,} in the index", file=sys.stderr, flush=True)
