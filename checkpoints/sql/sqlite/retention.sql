-- Pruning, copying and taking back a run, in the tables of langgraph-checkpoint-sqlite.

-- name: outline
SELECT checkpoint_ns AS ns, checkpoint_id, parent_checkpoint_id AS parent_id, CAST(metadata AS TEXT) AS metadata
FROM checkpoints
WHERE thread_id = :thread_id;

-- name: written
-- From the key alone.
SELECT DISTINCT checkpoint_ns AS ns, checkpoint_id
FROM writes
WHERE thread_id = :thread_id;

-- name: parent
SELECT CAST(metadata AS TEXT) AS metadata
FROM checkpoints
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id;

-- name: chain
-- A checkpoint and those that it follows from, newest first.
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

-- name: writes_to
SELECT checkpoint_id, task_id, task_path, idx, channel, type, value AS blob
FROM writes
WHERE thread_id = :thread_id AND checkpoint_ns = :ns
  AND checkpoint_id IN (SELECT value FROM json_each(:checkpoint_ids))
  AND channel IN (SELECT value FROM json_each(:channels));

-- name: delete_writes_of
DELETE FROM writes
WHERE thread_id = :thread_id AND checkpoint_ns = :ns
  AND checkpoint_id IN (SELECT value FROM json_each(:checkpoint_ids));

-- name: delete_checkpoints_of
DELETE FROM checkpoints
WHERE thread_id = :thread_id AND checkpoint_ns = :ns
  AND checkpoint_id IN (SELECT value FROM json_each(:checkpoint_ids));

-- name: delete_run_writes_of
DELETE FROM holdfast_run_writes
WHERE thread_id = :thread_id AND checkpoint_ns = :ns
  AND checkpoint_id IN (SELECT value FROM json_each(:checkpoint_ids));

-- name: delete_write
DELETE FROM writes
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id
  AND task_id = :task_id AND idx = :idx;

-- name: restore_write
UPDATE writes
SET channel = :channel, type = :type, value = :blob
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id
  AND task_id = :task_id AND idx = :idx;

-- name: note_write
-- Of the run's own checkpoints nothing is noted: they go as a whole.
INSERT INTO holdfast_run_writes (run_id, thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob,
                                 written_at)
SELECT :run_id, :thread_id, :ns, :checkpoint_id, :task_id, :idx, before.channel, before.type, before.value, {now}
FROM (SELECT 1) AS one
LEFT JOIN writes AS before
  ON before.thread_id = :thread_id AND before.checkpoint_ns = :ns AND before.checkpoint_id = :checkpoint_id
  AND before.task_id = :task_id AND before.idx = :idx
WHERE (before.task_id IS NULL OR :replace)
  AND NOT EXISTS (
    SELECT 1
    FROM checkpoints AS own
    WHERE own.thread_id = :thread_id AND own.checkpoint_ns = :ns AND own.checkpoint_id = :checkpoint_id
      AND json_valid(CAST(own.metadata AS TEXT)) AND json_extract(CAST(own.metadata AS TEXT), '$.run_id') IN (:run_id, :run_value)
  )
ON CONFLICT DO NOTHING;

-- name: threads_of_run
-- And perhaps some more: 1, TRUE and 1.0 are the same here.
SELECT thread_id
FROM checkpoints
WHERE (CASE WHEN json_valid(CAST(metadata AS TEXT)) THEN json_extract(CAST(metadata AS TEXT), '$.run_id') END)
  IN (:run_id, :run_value)
UNION
SELECT thread_id
FROM holdfast_run_writes
WHERE run_id = :run_id;

-- name: values_of_thread
SELECT checkpoint_ns AS ns, checkpoint_id, type, checkpoint AS blob
FROM checkpoints
WHERE thread_id = :thread_id;

-- name: copy_checkpoints
INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
SELECT :target, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata
FROM checkpoints
WHERE thread_id = :thread_id;

-- name: copy_writes
INSERT INTO writes (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value)
SELECT :target, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value
FROM writes
WHERE thread_id = :thread_id;
