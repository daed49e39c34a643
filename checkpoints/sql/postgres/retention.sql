-- Pruning, copying and taking back a run, in the tables of langgraph-checkpoint-postgres.

-- name: outline
SELECT checkpoint_ns AS ns, checkpoint_id, parent_checkpoint_id AS parent_id, CAST(metadata AS TEXT) AS metadata
FROM checkpoints
WHERE thread_id = :thread_id;

-- name: written
SELECT DISTINCT checkpoint_ns AS ns, checkpoint_id
FROM checkpoint_writes
WHERE thread_id = :thread_id;

-- name: parent
SELECT CAST(metadata AS TEXT) AS metadata
FROM checkpoints
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id;

-- name: chain
-- A checkpoint and those that it follows from, newest first. Of its values only what is asked for, and of those that
-- lie in rows of their own only which there are.
WITH RECURSIVE chain (depth, checkpoint_id, parent_checkpoint_id, checkpoint) AS (
  SELECT 1, checkpoint_id, parent_checkpoint_id, checkpoint
  FROM checkpoints
  WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id
  UNION ALL
  SELECT chain.depth + 1, older.checkpoint_id, older.parent_checkpoint_id, older.checkpoint
  FROM chain
  JOIN checkpoints AS older
    ON older.thread_id = :thread_id AND older.checkpoint_ns = :ns
    AND older.checkpoint_id = chain.parent_checkpoint_id
  WHERE chain.depth < :limit
)
SELECT chain.checkpoint_id, chain.parent_checkpoint_id AS parent_id,
       jsonb_build_object('v', chain.checkpoint -> 'v',
                          'channel_values', chain.checkpoint -> 'channel_values',
                          'channel_versions', chain.checkpoint -> 'channel_versions',
                          'stored', coalesce(chain.checkpoint -> 'stored', '[]'::jsonb),
                          'packed', chain.checkpoint -> 'packed') AS document,
       ARRAY(
         SELECT blobs.channel
         FROM unnest(CAST(:channels AS TEXT[])) AS wanted (channel)
         JOIN checkpoint_blobs AS blobs
           ON blobs.thread_id = :thread_id AND blobs.checkpoint_ns = :ns AND blobs.channel = wanted.channel
           AND blobs.version = chain.checkpoint -> 'channel_versions' ->> wanted.channel
         WHERE blobs.type <> 'empty'
       ) AS channels
FROM chain
ORDER BY chain.depth;

-- name: find_blob
SELECT channel, type, blob
FROM checkpoint_blobs
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND channel = :channel AND version = :version;

-- name: writes_to
SELECT checkpoint_id, task_id, task_path, idx, channel, type, blob
FROM checkpoint_writes
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = ANY(:checkpoint_ids)
  AND channel = ANY(:channels);

-- name: delete_blobs_of
-- What these checkpoints alone refer to. What a run of the stock saver has just written belongs to none yet, and stays.
DELETE FROM checkpoint_blobs AS blobs
USING (
  SELECT versions.key, versions.value
  FROM checkpoints, jsonb_each_text(checkpoint -> 'channel_versions') AS versions
  WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = ANY(:checkpoint_ids)
  EXCEPT
  SELECT versions.key, versions.value
  FROM checkpoints, jsonb_each_text(checkpoint -> 'channel_versions') AS versions
  WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id <> ALL(:checkpoint_ids)
) AS freed
WHERE blobs.thread_id = :thread_id AND blobs.checkpoint_ns = :ns
  AND blobs.channel = freed.key AND blobs.version = freed.value;

-- name: delete_writes_of
DELETE FROM checkpoint_writes
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = ANY(:checkpoint_ids);

-- name: delete_checkpoints_of
DELETE FROM checkpoints
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = ANY(:checkpoint_ids);

-- name: delete_run_writes_of
DELETE FROM holdfast_run_writes
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = ANY(:checkpoint_ids);

-- name: delete_write
DELETE FROM checkpoint_writes
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id
  AND task_id = :task_id AND idx = :idx;

-- name: restore_write
UPDATE checkpoint_writes
SET channel = :channel, type = :type, blob = :blob
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id
  AND task_id = :task_id AND idx = :idx;

-- name: note_write
-- Of the run's own checkpoints nothing is noted: they go as a whole.
INSERT INTO holdfast_run_writes (run_id, thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob,
                                 written_at)
SELECT CAST(:run_id AS TEXT), :thread_id, :ns, :checkpoint_id, :task_id, :idx,
       before.channel, before.type, before.blob, {now}
FROM (SELECT 1) AS one
LEFT JOIN checkpoint_writes AS before
  ON before.thread_id = :thread_id AND before.checkpoint_ns = :ns AND before.checkpoint_id = :checkpoint_id
  AND before.task_id = :task_id AND before.idx = :idx
WHERE (before.task_id IS NULL OR :replace)
  AND NOT EXISTS (
    SELECT 1
    FROM checkpoints AS own
    WHERE own.thread_id = :thread_id AND own.checkpoint_ns = :ns AND own.checkpoint_id = :checkpoint_id
      AND own.metadata ->> 'run_id' = :run_id
  )
ON CONFLICT DO NOTHING;

-- name: threads_of_run
SELECT thread_id
FROM checkpoints
WHERE metadata ->> 'run_id' = :run_id
UNION
SELECT thread_id
FROM holdfast_run_writes
WHERE run_id = :run_id;

-- name: values_of_thread
SELECT checkpoint_ns AS ns, channel, version, type, blob
FROM checkpoint_blobs
WHERE thread_id = :thread_id AND blob IS NOT NULL;

-- name: copy_checkpoints
INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
SELECT :target, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata
FROM checkpoints
WHERE thread_id = :thread_id;

-- name: copy_blobs
INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
SELECT :target, checkpoint_ns, channel, version, type, blob
FROM checkpoint_blobs
WHERE thread_id = :thread_id
ON CONFLICT DO NOTHING;

-- name: copy_writes
INSERT INTO checkpoint_writes (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob)
SELECT :target, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob
FROM checkpoint_writes
WHERE thread_id = :thread_id
ON CONFLICT DO NOTHING;
