-- Checkpoints, their values and their writes, in the tables of LangGraph.

-- name: head_of
SELECT thread_id, min(checkpoint_id) AS first, max(checkpoint_id) AS head
FROM checkpoints
WHERE checkpoint_ns = '' AND thread_id = :thread_id
GROUP BY thread_id;

-- name: newest_heads
-- The first and the newest root checkpoint of the threads that were written last, by the index of threads. Both are NULL
-- for a thread whose checkpoints another program has deleted.
SELECT t.thread_id,
       (
         SELECT min(c.checkpoint_id) FROM checkpoints AS c WHERE c.thread_id = t.thread_id AND c.checkpoint_ns = ''
       ) AS first,
       (
         SELECT max(c.checkpoint_id) FROM checkpoints AS c WHERE c.thread_id = t.thread_id AND c.checkpoint_ns = ''
       ) AS head
FROM (
  SELECT thread_id FROM holdfast_threads WHERE deleted_at IS NULL AND head IS NOT NULL
  ORDER BY updated_at DESC, thread_id DESC
  LIMIT :limit
) AS t
ORDER BY head DESC;

-- name: all_heads
-- The same of each thread, also of those that are not in the index, from the key of the checkpoints alone.
SELECT thread_id, min(checkpoint_id) AS first, max(checkpoint_id) AS head
FROM checkpoints
WHERE checkpoint_ns = ''
GROUP BY thread_id
ORDER BY head DESC
LIMIT :limit;

-- name: newest
SELECT max(checkpoint_id) AS newest
FROM checkpoints
WHERE thread_id = :thread_id AND checkpoint_ns = :ns;

-- name: made_since
SELECT checkpoint_id, parent_checkpoint_id AS parent_id, CAST(metadata AS TEXT) AS metadata
FROM checkpoints
WHERE thread_id = :thread_id AND checkpoint_ns = '' AND checkpoint_id > :checkpoint_id;

-- name: has_checkpoints
SELECT EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = :thread_id) AS has_checkpoints;

-- name: writes_of_thread
SELECT checkpoint_ns AS ns, checkpoint_id, task_id, idx, channel, type, {value} AS blob
FROM {writes}
WHERE thread_id = :thread_id;

-- name: head
SELECT max(checkpoint_id) AS head, EXISTS (
  SELECT 1 FROM checkpoints WHERE thread_id = :thread_id AND checkpoint_ns = '' AND checkpoint_id = :parent_id
) AS has_parent
FROM checkpoints
WHERE thread_id = :thread_id AND checkpoint_ns = '';

-- name: parent
SELECT CAST(metadata AS TEXT) AS metadata
FROM checkpoints
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id;

-- name: has_state
-- Find a checkpoint that is a state, and no base. What has pruned it while this statement waited for the thread is seen.
SELECT checkpoint_id
FROM checkpoints
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id AND {no_base}{for_key_share};

-- name: outline
SELECT checkpoint_ns AS ns, checkpoint_id, parent_checkpoint_id AS parent_id, CAST(metadata AS TEXT) AS metadata
FROM checkpoints
WHERE thread_id = :thread_id;

-- name: written
-- From the key alone.
SELECT DISTINCT checkpoint_ns AS ns, checkpoint_id
FROM {writes}
WHERE thread_id = :thread_id;

-- name: add_write
INSERT INTO {writes} (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, {value})
VALUES (:thread_id, :ns, :checkpoint_id, :task_id, :task_path, :idx, :channel, :type, :blob)
ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx) DO NOTHING;

-- name: replace_write
INSERT INTO {writes} (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, {value})
VALUES (:thread_id, :ns, :checkpoint_id, :task_id, :task_path, :idx, :channel, :type, :blob)
ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx) DO UPDATE
SET channel = excluded.channel, type = excluded.type, {value} = excluded.{value};

-- name: delete_checkpoints
DELETE FROM checkpoints
WHERE thread_id {among_ids};

-- name: delete_writes
DELETE FROM {writes}
WHERE thread_id {among_ids};
