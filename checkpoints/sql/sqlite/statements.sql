-- What differs on this database: LangGraph's own tables, as langgraph-checkpoint-sqlite makes them, and locks.

-- name: lock_thread
-- BEGIN IMMEDIATE has locked the whole database already.
SELECT generation, next_seq, deleted_at IS NOT NULL AS deleted, user_id, title, metadata, head, live_from, prompt
FROM holdfast_threads
WHERE thread_id = :thread_id;

-- name: head
SELECT max(checkpoint_id) AS head, EXISTS (
  SELECT 1 FROM checkpoints WHERE thread_id = :thread_id AND checkpoint_ns = '' AND checkpoint_id = :parent_id
) AS has_parent
FROM checkpoints
WHERE thread_id = :thread_id AND checkpoint_ns = '';

-- name: find_checkpoints
SELECT thread_id, checkpoint_ns AS ns, checkpoint_id, parent_checkpoint_id AS parent_id, type, checkpoint AS blob, metadata,
       (SELECT generation FROM holdfast_threads WHERE holdfast_threads.thread_id = checkpoints.thread_id) AS generation
FROM checkpoints
WHERE {where}
ORDER BY checkpoint_id DESC, thread_id DESC, checkpoint_ns DESC
LIMIT :limit;

-- name: find_writes
SELECT task_id, task_path, idx, channel, type, value AS blob
FROM writes
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id;

-- name: save_checkpoint
INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
VALUES (:thread_id, :ns, :checkpoint_id, :parent_id, :type, :blob, :metadata)
ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id) DO UPDATE
SET parent_checkpoint_id = excluded.parent_checkpoint_id, type = excluded.type,
    checkpoint = excluded.checkpoint, metadata = excluded.metadata;

-- name: add_write
INSERT INTO writes (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value)
VALUES (:thread_id, :ns, :checkpoint_id, :task_id, :task_path, :idx, :channel, :type, :blob)
ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx) DO NOTHING;

-- name: replace_write
INSERT INTO writes (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value)
VALUES (:thread_id, :ns, :checkpoint_id, :task_id, :task_path, :idx, :channel, :type, :blob)
ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx) DO UPDATE
SET channel = excluded.channel, type = excluded.type, value = excluded.value;

-- name: delete_checkpoints
DELETE FROM checkpoints
WHERE thread_id = :thread_id;

-- name: delete_writes
DELETE FROM writes
WHERE thread_id = :thread_id;

-- name: has_schema
SELECT count(*) > 0 AS has_schema
FROM sqlite_schema
WHERE type = 'table' AND name = 'holdfast_schema';

-- name: rows_with_digest
-- Without ORDER BY: with it SQLite walks the whole thread in order of seq instead of using the digest's index.
SELECT digest, seq, message_id, ns, channel, checkpoint_id IS NOT NULL AS committed
FROM holdfast_messages
WHERE thread_id = :thread_id AND digest = :digest;
