"""What Tab completes, read from the database."""

from __future__ import annotations

from typing import Final

# More are no help to a person who types.
_MOST: Final = 100


def thread_ids(database: str | None, begin: str) -> list[str]:
    """Return the ids of the threads written last that begin with a text, newest first.

    Nothing is created, changed or printed, whatever is wrong: a person is in the middle of a line.

    Args:
        database: the URL, as the option --database; `None` for that of the settings.
        begin: the text.
    """
    try:
        return _thread_ids(database, begin)
    except Exception:  # noqa: BLE001 - a shell cannot show an error here
        return []


def _thread_ids(database: str | None, begin: str) -> list[str]:
    from holdfast.checkpoints import maintenance, open_database, urls
    from holdfast.settings import load

    settings = load(database=database)
    url = settings.database
    location = urls.parse(url)
    if isinstance(location, urls.MemoryURL):
        return []
    schema = maintenance.read_schema(location)
    if not schema.is_there or schema.pending:  # to open it would create or change its tables
        return []
    keys, keys_database = settings.master_keys(), settings.keys_database
    with open_database(url, keys=keys, keys_database=keys_database, takes_plain=True) as opened:
        found = (thread.thread_id for thread in opened.threads.list(limit=1000).threads)
        return [thread_id for thread_id in found if thread_id.startswith(begin)][:_MOST]
