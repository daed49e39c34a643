-- Retention.

-- name: lock_idle_threads
-- A thread that is being written at this moment is left for the next sweep, so that no sweep waits while it holds others.
SELECT thread_id
FROM holdfast_threads
WHERE thread_id {among_ids}
FOR UPDATE SKIP LOCKED;

-- name: checkpoints_size
SELECT thread_id, CAST(sum(number) AS BIGINT) AS number, CAST(sum(bytes) AS BIGINT) AS bytes
FROM (
  SELECT thread_id, count(*) AS number, sum(pg_column_size(checkpoint) + pg_column_size(metadata)) AS bytes
  FROM checkpoints WHERE thread_id {among_ids} GROUP BY thread_id
  UNION ALL
  SELECT thread_id, 0, sum(coalesce(pg_column_size(blob), 0))
  FROM checkpoint_blobs WHERE thread_id {among_ids} GROUP BY thread_id
  UNION ALL
  SELECT thread_id, 0, sum(coalesce(pg_column_size(blob), 0))
  FROM checkpoint_writes WHERE thread_id {among_ids} GROUP BY thread_id
) AS parts
GROUP BY thread_id;
