-- Deletion of a part of the checkpoints of a thread.

-- name: set_parent
UPDATE checkpoints
SET parent_checkpoint_id = :parent_id
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id;
