-- Retention.

-- name: lock_if_idle
-- A thread that is being written at this moment is left for the next sweep, so that nothing ever waits for two threads.
SELECT thread_id
FROM holdfast_threads
WHERE thread_id = :thread_id
FOR UPDATE SKIP LOCKED;

-- name: checkpoints_size
SELECT CAST(coalesce(sum(number), 0) AS BIGINT) AS number, CAST(coalesce(sum(bytes), 0) AS BIGINT) AS bytes
FROM (
  SELECT count(*) AS number, sum(pg_column_size(checkpoint) + pg_column_size(metadata)) AS bytes
  FROM checkpoints WHERE thread_id = :thread_id
  UNION ALL
  SELECT 0, sum(coalesce(pg_column_size(blob), 0)) FROM checkpoint_blobs WHERE thread_id = :thread_id
  UNION ALL
  SELECT 0, sum(coalesce(pg_column_size(blob), 0)) FROM checkpoint_writes WHERE thread_id = :thread_id
) AS parts;
