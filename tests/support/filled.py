"""The columns of a thread's rows that are copied to fill a database with those of other threads."""

from __future__ import annotations

THREAD = "checkpoint_ns, checkpoint_id"
COLUMNS = {
    "sqlite": {
        "checkpoints": f"{THREAD}, parent_checkpoint_id, type, checkpoint, metadata",
        "writes": f"{THREAD}, task_id, task_path, idx, channel, type, value",
    },
    "postgres": {
        "checkpoints": f"{THREAD}, parent_checkpoint_id, checkpoint, metadata",
        "checkpoint_writes": f"{THREAD}, task_id, task_path, idx, channel, type, blob",
        "checkpoint_blobs": "checkpoint_ns, channel, version, type, blob",
    },
}
OURS = {
    "holdfast_messages": "seq, message_id, digest, codec, role, content, body, ns, channel, checkpoint_id, created_at",
    "holdfast_threads": "generation, next_seq, created_at, updated_at, user_id, head",
    "holdfast_run_writes": f"run_id, {THREAD}, task_id, idx, written_at",
    "holdfast_effects": "lineage, effect_key, tool, args_digest, state, attempt, owner, alive_until, started_at",
    "holdfast_events": "no, after_seq, kind, at",
    "holdfast_interrupts": f"interrupt_id, {THREAD}, task_id, asked_at, closed_at",
    "holdfast_members": "user_id, owner_id, added_at",
    "holdfast_runs": "number, run_id, agent, kind, state, attempts, accepted_at",
}
