"""A job for cron: delete conversations that are older than a year, and keep only the newest state of the others.

python retention.py sqlite:///chat.db 365
"""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from holdfast import HoldfastSaver, open_checkpointer
from holdfast.errors import HoldfastError


def main(database: str, days: str) -> None:
    limit = datetime.now(UTC) - timedelta(days=float(days))
    with open_checkpointer(database) as checkpointer:
        deleted = sum(delete(checkpointer, thread_id, limit) for thread_id in list(older_than(checkpointer, limit)))
        threads = [thread.thread_id for thread in checkpointer.threads.all()]
        checkpointer.prune(threads)  # the newest state, and the whole transcript
    print(f"{deleted} conversations are deleted, {len(threads)} are kept and pruned.")


def older_than(checkpointer: HoldfastSaver, limit: datetime) -> Iterator[str]:
    """Yield the threads that were last written before a time and do not wait for a person."""
    cursor = None
    while True:
        page = checkpointer.threads.list(until=limit, limit=1_000, cursor=cursor)
        yield from (thread.thread_id for thread in page.threads if thread.status != "paused")
        if (cursor := page.cursor) is None:
            return


def delete(checkpointer: HoldfastSaver, thread_id: str, limit: datetime) -> bool:
    """Delete a conversation, unless it is in use or has gone on meanwhile."""
    try:
        with checkpointer.lease(thread_id, wait=0, purpose="retention"):
            if checkpointer.threads.get(thread_id).updated_at >= limit:
                return False
            checkpointer.threads.delete(thread_id)
    except HoldfastError as error:
        print(f"{thread_id} is kept: {error}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    main(*sys.argv[1:])
