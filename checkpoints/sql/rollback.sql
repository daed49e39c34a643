-- Rollback of runs: what each write of a run replaced, and how it is restored.

-- name: run_writes
-- All of the thread: a later run may have replaced what this one wrote.
SELECT run_id, checkpoint_ns AS ns, checkpoint_id, task_id, idx, channel, type, blob
FROM holdfast_run_writes
WHERE thread_id = :thread_id
ORDER BY written_at;

-- name: replaced_by_run
-- Set what a write of a run replaced to what an older write, now deleted, had replaced.
UPDATE holdfast_run_writes
SET channel = :channel, type = :type, blob = :blob
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id
  AND task_id = :task_id AND idx = :idx AND run_id = :run_id;

-- name: forget_run
DELETE FROM holdfast_run_writes
WHERE thread_id = :thread_id AND run_id = :run_id;

-- name: delete_run_writes
DELETE FROM holdfast_run_writes
WHERE thread_id {among_ids};

-- name: note_write
-- Nothing is noted for the run's own checkpoints: these are deleted as a whole.
INSERT INTO holdfast_run_writes (run_id, thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob,
                                 written_at)
SELECT CAST(:run_id AS TEXT), :thread_id, :ns, :checkpoint_id, :task_id, :idx, before.channel, before.type, before.{value},
       {now}
FROM (SELECT 1) AS one
LEFT JOIN {writes} AS before
  ON before.thread_id = :thread_id AND before.checkpoint_ns = :ns AND before.checkpoint_id = :checkpoint_id
  AND before.task_id = :task_id AND before.idx = :idx
WHERE (before.task_id IS NULL OR :replace)
  AND NOT EXISTS (
    SELECT 1
    FROM checkpoints AS own
    WHERE own.thread_id = :thread_id AND own.checkpoint_ns = :ns AND own.checkpoint_id = :checkpoint_id
      AND {of_run}
  )
ON CONFLICT DO NOTHING;

-- name: threads_of_run
-- On SQLite also some others: 1, TRUE and 1.0 are equal there.
SELECT thread_id
FROM checkpoints AS own
WHERE {of_run}
UNION
SELECT thread_id
FROM holdfast_run_writes
WHERE run_id = :run_id;

-- name: delete_write
DELETE FROM {writes}
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id
  AND task_id = :task_id AND idx = :idx;

-- name: restore_write
UPDATE {writes}
SET channel = :channel, type = :type, {value} = :blob
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id
  AND task_id = :task_id AND idx = :idx;
