"""SQL as named, commented blocks, one file a subject: `-- name: load_rows`, then the statement.

A statement that is the same for every database is in `sql/<subject>.sql`, any other in `sql/<dialect>/<subject>.sql`.
Parameters are named, `:thread_id`. `{now}` stands for the database's own clock in epoch seconds, `{over}` for the
condition that a request, `i`, is closed, `{said}` for the condition that a message row, `m`, was said, `{of_user}` for
the condition that a thread, `t`, is a user's or shared with this user, `{as_known}` for the condition that a thread is
as it is known, `{has_gone_on}` for the condition that a thread has gone on with a new message, `{claim}` for the claim
of a row, `{on_record}` for the condition that something is on record of a thread that has not begun, `{begun_by_run}`
for the user whose run begins it, `{free}` for the condition that a run, `r`, is open and no living worker has it, and
`{is_dead}` for the condition that the holder of a lease, `l`, died in a turn that nothing has gone on with; the other
names in braces are in `_WORDS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple, TypeAlias

from holdfast.checkpoints.langgraph_internals import RESERVED, START

_BLOCK = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)

_MIGRATION = re.compile(r"(\d{4})_(\w+)\.sql")

# What differs in name between the databases: LangGraph's table of writes and its column of bytes, the type of bytes,
# the user in the metadata of the checkpoint `c`, and the condition that the metadata of the checkpoint `own` name a
# run; it begins with the expression of the index `holdfast_checkpoints_run`.
_WORDS = {
    "sqlite": {
        "{writes}": "writes",
        "{value}": "value",
        "{bytes}": "BLOB",
        "{user_id}": "CASE WHEN json_valid(CAST(c.metadata AS TEXT))"
        " THEN json_extract(CAST(c.metadata AS TEXT), '$.user_id') END",
        "{of_run}": "(CASE WHEN json_valid(CAST(own.metadata AS TEXT))"
        " THEN json_extract(CAST(own.metadata AS TEXT), '$.run_id') END) IN (:run_id, :run_value)",
        "{bytes_of_row}": "length(m.body) + coalesce(length(CAST(m.content AS BLOB)), 0)",
        "{for_update}": "",  # BEGIN IMMEDIATE has locked the whole database already
        "{for_key_share}": "",
        "{among_ids}": "IN (SELECT value FROM json_each(:thread_ids))",
        "{among_runs}": "IN (SELECT value FROM json_each(:run_ids))",
        "{no_base}": "CAST(metadata AS TEXT) IS NOT :base",
        "{without_rowid}": " WITHOUT ROWID",  # one tree and not two
        "{is_input}": "CASE WHEN json_valid(CAST(newer.metadata AS TEXT))"
        " THEN json_extract(CAST(newer.metadata AS TEXT), '$.source') = 'input'"
        " AND json_extract(CAST(newer.metadata AS TEXT), '$.holdfast_refused') IS NULL"
        " AND json_extract(CAST(newer.metadata AS TEXT), '$.holdfast_within') IS NULL END",
        "{has_metadata}": "holdfast_contains(t.metadata, :metadata)",
        "{said_at}": "strftime('%Y-%m-%d %H:%M:%f', m.created_at, 'unixepoch')",
        "{happened_at}": "strftime('%Y-%m-%d %H:%M:%f', e.at, 'unixepoch')",
        "{prompt_text}": "CASE WHEN json_valid(e.data) THEN json_extract(e.data, '$.text') END",
    },
    "postgres": {
        "{writes}": "checkpoint_writes",
        "{value}": "blob",
        "{bytes}": "BYTEA",
        "{user_id}": "c.metadata ->> 'user_id'",
        "{of_run}": "own.metadata ->> 'run_id' = :run_id",
        "{bytes_of_row}": "length(m.body) + coalesce(octet_length(m.content), 0)",
        "{for_update}": " FOR UPDATE",
        "{for_key_share}": " FOR KEY SHARE",
        "{among_ids}": "= ANY(:thread_ids)",
        "{among_runs}": "= ANY(:run_ids)",
        "{no_base}": "metadata <> :base",
        "{without_rowid}": "",
        "{is_input}": "newer.metadata ->> 'source' = 'input'"
        " AND newer.metadata ->> 'holdfast_refused' IS NULL AND newer.metadata ->> 'holdfast_within' IS NULL",
        "{has_metadata}": "CAST(coalesce(t.metadata, '{}') AS JSONB) @> CAST(:metadata AS JSONB)",
        "{said_at}": "to_timestamp(m.created_at)",
        "{happened_at}": "to_timestamp(e.at)",
        "{prompt_text}": "CAST(e.data AS JSON) ->> 'text'",
    },
}

# The thread has gone on, or the task has ended: the writes that a task ends with have an `idx` of 0 or more.
# A request that is kept (see `keep_request`) outlives newer checkpoints, as long as its own is not pruned.
_OVER = """EXISTS (
    SELECT 1 FROM checkpoints AS newer
    WHERE newer.thread_id = i.thread_id AND newer.checkpoint_ns = '' AND newer.checkpoint_id > i.checkpoint_id
  ) AND NOT (coalesce(i.closed_why, '') = 'kept' AND EXISTS (
    SELECT 1 FROM checkpoints AS own
    WHERE own.thread_id = i.thread_id AND own.checkpoint_ns = i.checkpoint_ns AND own.checkpoint_id = i.checkpoint_id
  )) OR EXISTS (
    SELECT 1 FROM {writes} AS ended
    WHERE ended.thread_id = i.thread_id AND ended.checkpoint_ns = i.checkpoint_ns
      AND ended.checkpoint_id = i.checkpoint_id AND ended.task_id = i.task_id AND ended.idx >= 0
  )"""

# A message row `m` was said: a checkpoint of the root graph has it, and not only as the input of a task.
_SAID = (
    "m.checkpoint_id IS NOT NULL AND m.ns = ''"
    f" AND (substr(m.channel, 1, {len(RESERVED)}) <> '{RESERVED}' OR m.channel = '{START}')"
)

# A thread `t` is shared with a user.
_IS_MEMBER = """EXISTS (
    SELECT 1 FROM holdfast_members AS shared
    WHERE shared.thread_id = t.thread_id AND shared.user_id = :user_id AND shared.owner_id = t.user_id
  )"""

# The user whom the checkpoint of a request `i` names.
_USER_OF_REQUEST = """(
    SELECT {user_id} FROM checkpoints AS c
    WHERE c.thread_id = i.thread_id AND c.checkpoint_ns = i.checkpoint_ns AND c.checkpoint_id = i.checkpoint_id
  )"""

OF_USER: Final = f"(t.user_id = :user_id OR {_IS_MEMBER})"
"""The condition that a thread `t` is the user's, or is shared with this user."""

# A thread is as it is known: no other save has moved it, and it was not deleted. A stock saver does either without
# changing the thread's own row.
_AS_KNOWN = """thread_id = :thread_id AND generation = :generation AND next_seq = :was_next AND deleted_at IS NULL
  AND coalesce(head, '') = :was_head AND coalesce((
    SELECT max(heads.checkpoint_id) FROM checkpoints AS heads
    WHERE heads.thread_id = :thread_id AND heads.checkpoint_ns = ''
  ), '') = :was_head"""

# A thread has gone on with a new message since the root checkpoint of a run: not with one that was refused, and not
# with one that a task of the run itself has given a sub-agent. A run that was sent to an older checkpoint gives no id.
_HAS_GONE_ON = """EXISTS (
    SELECT 1 FROM checkpoints AS newer
    WHERE newer.thread_id = :thread_id AND newer.checkpoint_ns = '' AND newer.checkpoint_id > CAST(:root_id AS TEXT)
      AND {is_input}
  )"""

# Something is on record of a thread `t` that has not begun: it was created, or a run was accepted. A subquery for each
# thread: with EXISTS, PostgreSQL may read all runs.
_ON_RECORD = """(t.metadata IS NOT NULL OR t.user_id IS NOT NULL OR (
    SELECT 1 FROM holdfast_runs AS r WHERE r.thread_id = t.thread_id LIMIT 1
  ) IS NOT NULL)"""

# The user of the run that begins a thread `t`: the first that is open, or else the first.
_BEGUN_BY_RUN = """(
    SELECT r.user_id FROM holdfast_runs AS r WHERE r.thread_id = t.thread_id
    ORDER BY CASE WHEN r.state IN ('accepted', 'running') THEN 1 ELSE 2 END, r.number
    LIMIT 1
  )"""

# A save claims a row. It may not know that the row is part of the conversation by now: it stays part of it.
_CLAIM = f"""UPDATE holdfast_messages
SET message_id = coalesce(message_id, :message_id),
    ns = CASE WHEN checkpoint_id IS NOT NULL AND ns = '' THEN ns ELSE :ns END,
    channel = CASE WHEN checkpoint_id IS NOT NULL AND ns = '' AND (
                     CAST(:ns AS TEXT) <> '' OR substr(channel, 1, {len(RESERVED)}) <> '{RESERVED}'
                     OR (channel = '{START}' AND substr(CAST(:channel AS TEXT), 1, {len(RESERVED)}) = '{RESERVED}')
                   ) THEN channel ELSE :channel END,
    checkpoint_id = coalesce(checkpoint_id, :checkpoint_id),
    run_id = coalesce(run_id, :run_id), step = coalesce(step, :step), user_id = coalesce(user_id, :user_id)
WHERE thread_id = :thread_id AND seq = :seq"""  # noqa: S608 - our own text

# A run `r` is open, and no living worker has it.
_FREE = "(r.state = 'accepted' OR r.state = 'running' AND r.alive_until <= {now})"

# The holder of a lease `l` died in a turn, not too long ago. No caller has or awaits the lease of the thread, or has
# had it since; and no run goes on with the turn, or has ended since. Each is a subquery for each lease: with EXISTS,
# PostgreSQL may read all runs.
_IS_DEAD = """l.held_at IS NOT NULL AND l.expires_at <= {now} AND l.expires_at > {now} - :kept AND (
    SELECT 1 FROM holdfast_threads AS t
    WHERE t.thread_id = l.thread_id AND t.unfinished = 1 AND t.head IS NOT NULL AND t.deleted_at IS NULL
  ) IS NOT NULL AND (
    SELECT 1 FROM holdfast_leases AS other
    WHERE other.thread_id = l.thread_id
      AND (other.expires_at > {now} OR other.held_at IS NOT NULL AND other.ticket > l.ticket)
    LIMIT 1
  ) IS NULL AND (
    SELECT 1 FROM holdfast_runs AS r
    WHERE r.thread_id = l.thread_id
      AND (r.state IN ('accepted', 'running') OR r.started_at IS NOT NULL AND r.ended_at >= l.held_at)
    LIMIT 1
  ) IS NULL"""

_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)


class Statement(NamedTuple):
    """A statement of SQL."""

    name: str
    text: str

    def where(self, *conditions: str) -> Statement:
        """Return the statement with `{where}` replaced. Conditions are our own text, never a user's."""
        return Statement(self.name, self.text.replace("{where}", " AND ".join(conditions) or "TRUE"))

    def among(self, threads: str) -> Statement:
        """Return the statement with `{threads}` replaced by a table or a query, which is our own text."""
        return Statement(self.name, self.text.replace("{threads}", threads))


Statements: TypeAlias = Mapping[str, Statement]
"""The statements of one database, by name."""


class _Statements(dict[str, Statement]):
    """The statements of one database, read when the first one is used, and so not on the event loop of a caller."""

    def __init__(self, dialect: str, now: str) -> None:
        super().__init__()
        self._dialect, self._now = dialect, now

    def __missing__(self, name: str) -> Statement:
        if self:
            raise KeyError(name)
        self.update(_read(self._dialect, self._now))
        return self[name]


@cache  # reading them takes longer than opening a database that has its tables
def load_statements(dialect: str, *, now: str) -> Statements:
    """Return the statements of one database.

    Args:
        dialect: `sqlite` or `postgres`.
        now: the expression for the clock of the database, in epoch seconds.
    """
    return _Statements(dialect, now)


def _read(dialect: str, now: str) -> dict[str, Statement]:
    by_name: dict[str, Statement] = {}
    for file in _files(dialect):
        if not file.name.endswith(".sql") or _MIGRATION.fullmatch(file.name):
            continue
        parts = _BLOCK.split(file.read_text("utf-8"))[1:]
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            if name in by_name:
                raise ValueError(f"{file.name} names a statement {name}, and another one has this name. Rename one.")
            bare = _COMMENT.sub("", text).strip().removesuffix(";")
            bare = (
                bare.replace("{over}", _OVER)
                .replace("{as_known}", _AS_KNOWN)
                .replace("{claim}", _CLAIM)
                .replace("{has_gone_on}", _HAS_GONE_ON)
                .replace("{free}", _FREE)
                .replace("{is_dead}", _IS_DEAD)
                .replace("{now}", now)
            )
            by_name[name] = Statement(name, _in(dialect, bare))
    return by_name


def _in(dialect: str, text: str) -> str:
    shared = {
        "{said}": _SAID,
        "{of_user}": OF_USER,
        "{is_member}": _IS_MEMBER,
        "{on_record}": _ON_RECORD,
        "{begun_by_run}": _BEGUN_BY_RUN,
        "{user_of_request}": _USER_OF_REQUEST,
    }
    for word, meant in {**shared, **_WORDS[dialect]}.items():
        text = text.replace(word, meant)
    return text


class Migration(NamedTuple):
    """A change of the tables, from one version of the schema to the next."""

    version: int
    name: str
    min_reader: int
    """The oldest version of the code that can work with a database after this migration."""
    script: str


@cache  # to read them takes a fifth of what it takes to make a database
def migrations(dialect: str) -> tuple[Migration, ...]:
    """Return the migrations of one database, oldest first.

    A migration is a file `0001_name.sql` that begins with `-- min reader: 1`. It is in `sql` if it is the same for
    every database, else in `sql/<dialect>`.
    """
    found = []
    for entry in _files(dialect):
        if name := _MIGRATION.fullmatch(entry.name):
            script = _in(dialect, entry.read_text("utf-8"))
            reader = re.match(r"-- min reader: (\d+)\n", script)
            if reader is None:
                raise ValueError(
                    f"{entry.name} does not begin with `-- min reader: N`, the oldest version that can work with it."
                )
            found.append(Migration(int(name[1]), name[2], int(reader[1]), script))
    return tuple(sorted(found))


def _files(dialect: str) -> Iterator[Traversable]:
    """Return the files of `sql`, which are for every database, and those of `sql/<dialect>`."""
    root = files("holdfast.checkpoints.sql")
    yield from root.iterdir()
    yield from root.joinpath(dialect).iterdir()
