-- Checkpoints, their values and their writes, in the tables of LangGraph.

-- name: chain
-- A checkpoint and its ancestors, newest first.
WITH RECURSIVE chain (depth, checkpoint_id, parent_checkpoint_id, type, checkpoint) AS (
  SELECT 1, checkpoint_id, parent_checkpoint_id, type, checkpoint
  FROM checkpoints
  WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id
  UNION ALL
  SELECT chain.depth + 1, older.checkpoint_id, older.parent_checkpoint_id, older.type, older.checkpoint
  FROM chain
  JOIN checkpoints AS older
    ON older.thread_id = :thread_id AND older.checkpoint_ns = :ns
    AND older.checkpoint_id = chain.parent_checkpoint_id
  WHERE chain.depth < :limit
)
SELECT checkpoint_id, parent_checkpoint_id AS parent_id, type, checkpoint AS blob
FROM chain
ORDER BY depth;

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

-- name: writes_to
SELECT checkpoint_id, task_id, task_path, idx, channel, type, value AS blob
FROM writes
WHERE thread_id = :thread_id AND checkpoint_ns = :ns
  AND checkpoint_id IN (SELECT value FROM json_each(:checkpoint_ids))
  AND channel IN (SELECT value FROM json_each(:channels));

-- name: values_of_thread
SELECT checkpoint_ns AS ns, checkpoint_id, type, checkpoint AS blob
FROM checkpoints
WHERE thread_id = :thread_id;

-- name: save_checkpoint
INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
VALUES (:thread_id, :ns, :checkpoint_id, :parent_id, :type, :blob, :metadata)
ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id) DO UPDATE
SET parent_checkpoint_id = excluded.parent_checkpoint_id, type = excluded.type,
    checkpoint = excluded.checkpoint, metadata = excluded.metadata;
