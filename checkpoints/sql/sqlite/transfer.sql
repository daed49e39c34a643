-- Transfer of threads: the parts of a thread, in pages ordered by their key, and the same parts put into another
-- database.

-- name: page_of_checkpoint
SELECT checkpoint_ns AS ns, checkpoint_id, parent_checkpoint_id AS parent_id, metadata, type, checkpoint AS blob
FROM checkpoints
WHERE thread_id = :thread_id AND (checkpoint_ns, checkpoint_id) > (:ns, :checkpoint_id)
ORDER BY checkpoint_ns, checkpoint_id
LIMIT :limit;
