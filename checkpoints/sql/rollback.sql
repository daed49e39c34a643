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
WHERE thread_id = :thread_id;
