-- Conversion of the databases of the stock savers, in both directions.

-- name: is_ours
-- Return whether a thread has something that the stock saver cannot read, or a mark of ours.
SELECT EXISTS (SELECT 1 FROM checkpoint_blobs WHERE thread_id = :thread_id AND type = :type)
  OR EXISTS (SELECT 1 FROM checkpoint_writes WHERE thread_id = :thread_id AND type = :type)
  OR EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = :thread_id AND checkpoint ?| ARRAY['stored', 'packed']) AS is_ours;

-- name: values_of_type
-- The values of a checkpoint that are stored in one form. They are locked: a stock saver does not lock the thread.
SELECT blobs.channel, blobs.version, blobs.blob
FROM checkpoints
CROSS JOIN LATERAL jsonb_each_text(checkpoints.checkpoint -> 'channel_versions') AS versions
JOIN checkpoint_blobs AS blobs
  ON blobs.thread_id = checkpoints.thread_id AND blobs.checkpoint_ns = checkpoints.checkpoint_ns
  AND blobs.channel = versions.key AND blobs.version = versions.value
WHERE checkpoints.thread_id = :thread_id AND checkpoints.checkpoint_ns = :ns
  AND checkpoints.checkpoint_id = :checkpoint_id AND blobs.type = :type
ORDER BY blobs.channel
FOR UPDATE OF blobs;

-- name: writes_of_type
SELECT task_id, idx, channel, blob
FROM checkpoint_writes
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id AND type = :type
ORDER BY task_path, task_id, idx
FOR UPDATE;

-- name: set_value
UPDATE checkpoint_blobs
SET type = :type, blob = :blob
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND channel = :channel AND version = :version;

-- name: packed_documents
SELECT checkpoint_ns AS ns, checkpoint_id, checkpoint AS document
FROM checkpoints
WHERE thread_id = :thread_id AND checkpoint ? 'packed';

-- name: set_document
UPDATE checkpoints
SET checkpoint = :document
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id;

-- name: unmark_documents
-- The stock saver's documents do not list the values that are in rows of their own.
UPDATE checkpoints
SET checkpoint = checkpoint - 'stored'
WHERE thread_id = :thread_id AND checkpoint ? 'stored';

-- name: add_old_row
-- As `add_row`, for a message that was said before.
INSERT INTO holdfast_messages (thread_id, seq, message_id, digest, codec, key_no, role, name, content, body,
                               ns, channel, checkpoint_id, run_id, step, created_at)
VALUES (:thread_id, :seq, :message_id, :digest, :codec, :key_no, :role, :name, :content, :body,
        :ns, :channel, :checkpoint_id, :run_id, :step, coalesce(CAST(:said_at AS DOUBLE PRECISION), {now}));

-- name: set_next_seq
-- A thread that was deleted here, and begun again by a stock saver, lives.
UPDATE holdfast_threads
SET next_seq = :next_seq, deleted_at = NULL
WHERE thread_id = :thread_id;

-- name: thread_bytes
-- As they are stored, compressed.
SELECT CAST(coalesce(sum(bytes), 0) AS BIGINT) AS bytes
FROM (
  SELECT pg_column_size(checkpoint) + pg_column_size(metadata) AS bytes FROM checkpoints WHERE thread_id = :thread_id
  UNION ALL
  SELECT coalesce(pg_column_size(blob), 0) FROM checkpoint_blobs WHERE thread_id = :thread_id
  UNION ALL
  SELECT coalesce(pg_column_size(blob), 0) FROM checkpoint_writes WHERE thread_id = :thread_id
  UNION ALL
  SELECT pg_column_size(body) + coalesce(pg_column_size(content), 0) FROM holdfast_messages
  WHERE thread_id = :thread_id
) AS parts;

-- name: still_ours
SELECT thread_id FROM checkpoint_blobs WHERE type LIKE 'holdfast%'
UNION
SELECT thread_id FROM checkpoint_writes WHERE type LIKE 'holdfast%'
UNION
SELECT thread_id FROM checkpoints WHERE checkpoint ?| ARRAY['stored', 'packed']
ORDER BY thread_id
LIMIT 1;

-- name: our_objects
-- Those of a partitioned table are dropped with it.
SELECT CASE WHEN relkind IN ('r', 'p') THEN 'table' WHEN relkind = 'v' THEN 'view' ELSE 'index' END AS kind,
       relname AS name
FROM pg_class
LEFT JOIN pg_index ON indexrelid = pg_class.oid
WHERE relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('checkpoints'))
  AND starts_with(relname, 'holdfast_') AND NOT relispartition
  AND (relkind IN ('r', 'p', 'v') OR (relkind IN ('i', 'I') AND indrelid = to_regclass('checkpoints')));
