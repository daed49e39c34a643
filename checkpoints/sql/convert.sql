-- Conversion of the databases of the stock savers, in both directions.

-- name: threads_after
SELECT DISTINCT thread_id
FROM checkpoints
WHERE thread_id > :after
ORDER BY thread_id
LIMIT :limit;

-- name: count_threads
SELECT count(*) AS number
FROM (SELECT DISTINCT thread_id FROM checkpoints) AS threads;

-- name: set_write
UPDATE {writes}
SET type = :type, {value} = :blob
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id
  AND task_id = :task_id AND idx = :idx;
