-- What differs on this database: LangGraph's own tables, as langgraph-checkpoint-postgres makes them, and locks.

-- name: lock_thread
SELECT generation, next_seq, deleted_at IS NOT NULL AS deleted, user_id, title, metadata, head, live_from, prompt
FROM holdfast_threads
WHERE thread_id = :thread_id
FOR UPDATE;

-- name: head
SELECT max(checkpoint_id) AS head, EXISTS (
  SELECT 1 FROM checkpoints WHERE thread_id = :thread_id AND checkpoint_ns = '' AND checkpoint_id = :parent_id
) AS has_parent
FROM checkpoints
WHERE thread_id = :thread_id AND checkpoint_ns = '';

-- name: find_checkpoints
-- All that belongs to a checkpoint comes in one row, so that loading one costs one round trip.
SELECT c.thread_id, c.checkpoint_ns AS ns, c.checkpoint_id, c.parent_checkpoint_id AS parent_id,
       c.checkpoint AS document, c.metadata,
       (SELECT generation FROM holdfast_threads WHERE holdfast_threads.thread_id = c.thread_id) AS generation,
       b.channels, b.types, b.blobs,
       w.task_ids, w.task_paths, w.idxs, w.channels AS write_channels, w.types AS write_types,
       w.blobs AS write_blobs
FROM (
  SELECT *
  FROM checkpoints
  WHERE {where}
  ORDER BY checkpoint_id DESC, thread_id DESC, checkpoint_ns DESC
  LIMIT :limit
) c
CROSS JOIN LATERAL (
  SELECT array_agg(found.channel) AS channels, array_agg(found.type) AS types, array_agg(found.blob) AS blobs
  FROM jsonb_each_text(c.checkpoint -> 'channel_versions') AS versions
  -- Each by its key: with a plain join, PostgreSQL may read all values of a long thread for one checkpoint.
  CROSS JOIN LATERAL (
    SELECT blobs.channel, blobs.type, blobs.blob
    FROM checkpoint_blobs AS blobs
    WHERE blobs.thread_id = c.thread_id AND blobs.checkpoint_ns = c.checkpoint_ns
      AND blobs.channel = versions.key AND blobs.version = versions.value
    LIMIT 1
  ) found
) b
CROSS JOIN LATERAL (
  SELECT array_agg(task_id) AS task_ids, array_agg(task_path) AS task_paths, array_agg(idx) AS idxs,
         array_agg(channel) AS channels, array_agg(type) AS types, array_agg(blob) AS blobs
  FROM checkpoint_writes AS writes
  WHERE writes.thread_id = c.thread_id AND writes.checkpoint_ns = c.checkpoint_ns
    AND writes.checkpoint_id = c.checkpoint_id
) w
ORDER BY c.checkpoint_id DESC, c.thread_id DESC, c.checkpoint_ns DESC;

-- name: save_blob
INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
VALUES (:thread_id, :ns, :channel, :version, :type, :blob)
ON CONFLICT (thread_id, checkpoint_ns, channel, version) DO NOTHING;

-- name: save_checkpoint
INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata)
VALUES (:thread_id, :ns, :checkpoint_id, :parent_id, :document, :metadata)
ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id) DO UPDATE
SET parent_checkpoint_id = excluded.parent_checkpoint_id,
    checkpoint = excluded.checkpoint, metadata = excluded.metadata;

-- name: is_saved
-- Whether a checkpoint is there as it was to be saved. Its versions say which values, and these never change.
SELECT TRUE AS is_saved
FROM checkpoints
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id
  AND parent_checkpoint_id IS NOT DISTINCT FROM CAST(:parent_id AS TEXT)
  AND checkpoint = :document AND metadata = :metadata;

-- name: add_write
INSERT INTO checkpoint_writes (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob)
VALUES (:thread_id, :ns, :checkpoint_id, :task_id, :task_path, :idx, :channel, :type, :blob)
ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx) DO NOTHING;

-- name: replace_write
INSERT INTO checkpoint_writes (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob)
VALUES (:thread_id, :ns, :checkpoint_id, :task_id, :task_path, :idx, :channel, :type, :blob)
ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx) DO UPDATE
SET channel = excluded.channel, type = excluded.type, blob = excluded.blob;

-- name: delete_checkpoints
DELETE FROM checkpoints
WHERE thread_id = :thread_id;

-- name: delete_writes
DELETE FROM checkpoint_writes
WHERE thread_id = :thread_id;

-- name: delete_blobs
DELETE FROM checkpoint_blobs
WHERE thread_id = :thread_id;

-- name: has_schema
SELECT to_regclass('holdfast_schema') IS NOT NULL AS has_schema;

-- name: rows_with_digests
SELECT digest, seq, message_id, ns, channel, checkpoint_id IS NOT NULL AS committed
FROM holdfast_messages
WHERE thread_id = :thread_id AND digest = ANY(:digests);
