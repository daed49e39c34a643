-- Retention.

-- name: lock_if_idle
-- BEGIN IMMEDIATE has locked the whole database already.
SELECT thread_id
FROM holdfast_threads
WHERE thread_id = :thread_id;

-- name: checkpoints_size
-- From the headers of the rows: SQLite reads no value to know its length.
SELECT coalesce(sum(number), 0) AS number, coalesce(sum(bytes), 0) AS bytes
FROM (
  SELECT count(*) AS number, sum(length(checkpoint) + coalesce(length(metadata), 0)) AS bytes
  FROM checkpoints WHERE thread_id = :thread_id
  UNION ALL
  SELECT 0, sum(coalesce(length(value), 0)) FROM writes WHERE thread_id = :thread_id
) AS parts;
