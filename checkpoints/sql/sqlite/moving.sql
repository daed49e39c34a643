-- Moving house: checkpoints in the tables of langgraph-checkpoint-sqlite.

-- name: page_of_checkpoint
SELECT checkpoint_ns AS ns, checkpoint_id, parent_checkpoint_id AS parent_id, metadata, type, checkpoint AS blob
FROM checkpoints
WHERE thread_id = :thread_id AND (checkpoint_ns, checkpoint_id) > (:ns, :checkpoint_id)
ORDER BY checkpoint_ns, checkpoint_id
LIMIT :limit;
