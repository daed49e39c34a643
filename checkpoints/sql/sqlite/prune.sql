-- Deletion of a part of the checkpoints of a thread.

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
