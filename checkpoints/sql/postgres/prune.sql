-- Deletion of a part of the checkpoints of a thread.

-- name: delete_blobs_of
-- Delete the values that only these checkpoints refer to. A value that a run of the stock saver has just written
-- belongs to no checkpoint yet, and stays.
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
