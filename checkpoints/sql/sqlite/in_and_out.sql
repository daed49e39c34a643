-- Databases of the stock savers, in and out, and what takes the space: in the tables of langgraph-checkpoint-sqlite.

-- name: threads_after
SELECT DISTINCT thread_id
FROM checkpoints
WHERE thread_id > :after
ORDER BY thread_id
LIMIT :limit;

-- name: count_threads
SELECT count(*) AS number
FROM (SELECT DISTINCT thread_id FROM checkpoints) AS threads;

-- name: is_ours
-- Whether the stock saver cannot read something of a thread.
SELECT EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = :thread_id AND type = :type)
  OR EXISTS (SELECT 1 FROM writes WHERE thread_id = :thread_id AND type = :type) AS is_ours;

-- name: values_of_type
-- The values of a checkpoint that are stored in one form: here it is one value.
SELECT '' AS channel, '' AS version, checkpoint AS blob
FROM checkpoints
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id AND type = :type;

-- name: writes_of_type
SELECT task_id, idx, channel, value AS blob
FROM writes
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id AND type = :type
ORDER BY task_path, task_id, idx;

-- name: set_value
UPDATE checkpoints
SET type = :type, checkpoint = :blob
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id;

-- name: set_write
UPDATE writes
SET type = :type, value = :blob
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id
  AND task_id = :task_id AND idx = :idx;

-- name: add_old_row
-- As `add_row`, for what was said before.
INSERT INTO holdfast_messages (thread_id, seq, message_id, digest, codec, key_no, role, name, content, body,
                               ns, channel, checkpoint_id, run_id, step, created_at)
VALUES (:thread_id, :seq, :message_id, :digest, :codec, :key_no, :role, :name, :content, :body,
        :ns, :channel, :checkpoint_id, :run_id, :step, coalesce(:said_at, {now}));

-- name: set_next_seq
-- A thread that was deleted here, and begun again by a stock saver, lives.
UPDATE holdfast_threads
SET next_seq = :next_seq, deleted_at = NULL
WHERE thread_id = :thread_id;

-- name: thread_bytes
SELECT coalesce(sum(bytes), 0) AS bytes
FROM (
  SELECT length(checkpoint) + coalesce(length(metadata), 0) AS bytes FROM checkpoints WHERE thread_id = :thread_id
  UNION ALL
  SELECT coalesce(length(value), 0) FROM writes WHERE thread_id = :thread_id
  UNION ALL
  SELECT length(body) + coalesce(length(CAST(content AS BLOB)), 0) FROM holdfast_messages WHERE thread_id = :thread_id
) AS parts;

-- name: still_ours
SELECT thread_id FROM checkpoints WHERE type LIKE 'holdfast%'
UNION
SELECT thread_id FROM writes WHERE type LIKE 'holdfast%'
ORDER BY thread_id
LIMIT 1;

-- name: our_objects
SELECT type AS kind, name
FROM sqlite_schema
WHERE name LIKE 'holdfast\_%' ESCAPE '\' AND (type IN ('table', 'view') OR tbl_name NOT LIKE 'holdfast\_%' ESCAPE '\');

-- name: can_measure
SELECT EXISTS (SELECT 1 FROM pragma_module_list WHERE name = 'dbstat') AS can_measure;

-- name: sizes
SELECT coalesce(parts.type, 'table') AS kind, pages.name AS name, coalesce(parts.tbl_name, pages.name) AS of_table,
       pages.pgsize AS bytes
FROM dbstat AS pages
LEFT JOIN sqlite_schema AS parts ON parts.name = pages.name
WHERE pages.aggregate = TRUE
ORDER BY pages.pgsize DESC, pages.name;

-- name: whole_size
SELECT page_count * page_size AS size, freelist_count * page_size AS free
FROM pragma_page_count, pragma_page_size, pragma_freelist_count;

-- name: counts
SELECT (SELECT count(*) FROM (SELECT DISTINCT thread_id FROM checkpoints) AS every) AS threads,
       (SELECT count(*) FROM checkpoints) AS checkpoints,
       (SELECT count(*) FROM writes) AS writes,
       count(*) AS messages,
       coalesce(sum(length(CAST(content AS BLOB))), 0) AS text_bytes
FROM holdfast_messages;

-- name: largest
SELECT thread_id, sum(checkpoints) AS checkpoints, sum(messages) AS messages, sum(bytes) AS size
FROM (
  SELECT thread_id, count(*) AS checkpoints, 0 AS messages,
         sum(length(checkpoint) + coalesce(length(metadata), 0)) AS bytes
  FROM checkpoints GROUP BY thread_id
  UNION ALL
  SELECT thread_id, 0, 0, sum(coalesce(length(value), 0)) FROM writes GROUP BY thread_id
  UNION ALL
  SELECT thread_id, 0, count(*), sum(length(body) + coalesce(length(CAST(content AS BLOB)), 0))
  FROM holdfast_messages GROUP BY thread_id
) AS parts
GROUP BY thread_id
ORDER BY size DESC, thread_id
LIMIT :limit;
