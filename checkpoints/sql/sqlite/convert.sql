-- Conversion of the databases of the stock savers, in both directions.

-- name: is_ours
-- Return whether a thread has something that the stock saver cannot read.
SELECT EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = :thread_id AND type = :type)
  OR EXISTS (SELECT 1 FROM writes WHERE thread_id = :thread_id AND type = :type) AS is_ours;

-- name: values_of_type
-- The value of a checkpoint, if it is stored in one form: on SQLite there is only one value.
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

-- name: add_old_row
-- As `add_row`, for a message that was said before.
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
