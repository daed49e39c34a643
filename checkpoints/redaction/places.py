"""Where a database holds what was said: every column of its tables, and the place of redaction that it belongs to.

A test compares this list with the tables themselves, so that a new column is thought of before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

Place = Literal[
    "messages",
    "values",
    "metadata",
    "writes",
    "replaced writes",
    "events",
    "answers",
    "results",
    "titles",
    "threads",
    "runs",
]
"""A place where texts of a conversation are: message rows; values of channels; metadata of checkpoints; what tasks
wrote, requests to people among it, and what runs have replaced of that; events, prompts among them; answers to
requests; results in the ledger; titles, and metadata of threads; what accepted runs begin with, and why runs failed."""

TEXTS: Final[Mapping[str, Mapping[str, Place]]] = {
    "holdfast_messages": {"name": "messages", "content": "messages", "body": "messages"},
    "holdfast_threads": {"title": "titles", "metadata": "threads"},
    "holdfast_events": {"data": "events"},
    "holdfast_interrupts": {"answer": "answers"},
    "holdfast_effects": {"result": "results"},
    "holdfast_runs": {"input": "runs", "error": "runs"},
    "holdfast_run_writes": {"blob": "replaced writes"},
    # On SQLite the column `checkpoint` has all values; on PostgreSQL it has the small ones.
    "checkpoints": {"checkpoint": "values", "metadata": "metadata"},
    "checkpoint_blobs": {"blob": "values"},
    "checkpoint_writes": {"blob": "writes"},
    "writes": {"value": "writes"},
    # The words of message rows: SQLite's index and its tables, and PostgreSQL's.
    "holdfast_search": {"words": "messages", "document": "messages"},
    "holdfast_search_content": {"c0": "messages"},
    "holdfast_search_data": {"block": "messages"},
    "holdfast_search_idx": {"term": "messages"},
}
"""The columns that hold texts, by table."""


def _columns(names: str) -> frozenset[str]:
    return frozenset(names.split())


IDS: Final[Mapping[str, frozenset[str]]] = {
    "holdfast_messages": _columns(
        "rid thread_id seq message_id digest codec key_no role ns channel checkpoint_id run_id step "
        "origin_thread_id origin_seq created_at redacted_at user_id"
    ),
    "holdfast_threads": _columns(
        "thread_id generation next_seq created_at updated_at deleted_at next_ticket lineage user_id head "
        "unfinished messages bytes prompt live_from origin_thread_id origin_checkpoint_id searched "
        "searched_as key_no"
    ),
    "holdfast_events": _columns("thread_id no after_seq kind actor at"),
    "holdfast_interrupts": _columns(
        "thread_id interrupt_id checkpoint_ns checkpoint_id task_id asked_at expires_at answered_at "
        "answered_by answer_type answer_digest run_id closed_at closed_why"
    ),
    "holdfast_effects": _columns(
        "lineage effect_key thread_id tool args_digest state attempt owner alive_until why interrupt_id "
        "decision decided_by decided_at result_type run_id started_at finished_at"
    ),
    "holdfast_run_writes": _columns("run_id thread_id checkpoint_ns checkpoint_id task_id idx channel type written_at"),
    "holdfast_runs": _columns(
        "thread_id number run_id agent user_id kind input_type idempotency_key request_digest state attempts owner "
        "alive_until accepted_at started_at ended_at cancelled_at after_seq until_seq error_type"
    ),
    "holdfast_leases": _columns("thread_id ticket owner purpose asked_at held_at expires_at nonce"),
    "holdfast_members": _columns("thread_id user_id owner_id added_at"),
    "holdfast_schema": _columns("version name min_reader applied_at"),
    "holdfast_keys": _columns("thread_id key_no master_id wrapped created_at"),
    "holdfast_encryption": _columns("one state changed_at"),
    "checkpoints": _columns("thread_id checkpoint_ns checkpoint_id parent_checkpoint_id type"),
    "checkpoint_blobs": _columns("thread_id checkpoint_ns channel version type"),
    "checkpoint_writes": _columns("thread_id checkpoint_ns checkpoint_id task_id task_path idx channel type"),
    "writes": _columns("thread_id checkpoint_ns checkpoint_id task_id idx channel type task_path"),
    "checkpoint_migrations": _columns("v"),
    "holdfast_search": _columns("thread_id seq at owner holdfast_search rank"),
    "holdfast_search_content": _columns("c1 id"),
    "holdfast_search_data": _columns("id"),
    "holdfast_search_idx": _columns("segid pgno"),
    "holdfast_search_docsize": _columns("sz id"),
    "holdfast_search_config": _columns("k v"),
}
"""The other columns, by table: ids, names, times, numbers and digests. Redaction leaves these as they are."""
