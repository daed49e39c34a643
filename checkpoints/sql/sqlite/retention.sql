-- Retention.

-- name: lock_idle_threads
-- BEGIN IMMEDIATE has locked the whole database already.
SELECT thread_id
FROM holdfast_threads
WHERE thread_id {among_ids};

-- name: checkpoints_size
-- From the headers of the rows: SQLite reads no value to know its length.
SELECT thread_id, sum(number) AS number, sum(bytes) AS bytes
FROM (
  SELECT thread_id, count(*) AS number, sum(length(checkpoint) + coalesce(length(metadata), 0)) AS bytes
  FROM checkpoints WHERE thread_id {among_ids} GROUP BY thread_id
  UNION ALL
  SELECT thread_id, 0, sum(coalesce(length(value), 0)) FROM writes WHERE thread_id {among_ids} GROUP BY thread_id
) AS parts
GROUP BY thread_id;
