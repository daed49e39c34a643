-- Checkpoints, their values and their writes, in the tables of LangGraph.

-- name: chain
-- A checkpoint and its ancestors, newest first. Of the values only those that are inline; for those in rows of their
-- own, only which of the wanted ones exist.
WITH RECURSIVE chain (depth, checkpoint_id, parent_checkpoint_id, checkpoint) AS (
  SELECT 1, checkpoint_id, parent_checkpoint_id, checkpoint
  FROM checkpoints
  WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id
  UNION ALL
  SELECT chain.depth + 1, older.checkpoint_id, older.parent_checkpoint_id, older.checkpoint
  FROM chain
  JOIN checkpoints AS older
    ON older.thread_id = :thread_id AND older.checkpoint_ns = :ns
    AND older.checkpoint_id = chain.parent_checkpoint_id
  WHERE chain.depth < :limit
)
SELECT chain.checkpoint_id, chain.parent_checkpoint_id AS parent_id,
       jsonb_build_object('v', chain.checkpoint -> 'v',
                          'channel_values', chain.checkpoint -> 'channel_values',
                          'channel_versions', chain.checkpoint -> 'channel_versions',
                          'stored', coalesce(chain.checkpoint -> 'stored', '[]'::jsonb),
                          'packed', chain.checkpoint -> 'packed',
                          'holdfast_sealed', chain.checkpoint -> 'holdfast_sealed') AS document,
       ARRAY(
         SELECT blobs.channel
         FROM unnest(CAST(:channels AS TEXT[])) AS wanted (channel)
         JOIN checkpoint_blobs AS blobs
           ON blobs.thread_id = :thread_id AND blobs.checkpoint_ns = :ns AND blobs.channel = wanted.channel
           AND blobs.version = chain.checkpoint -> 'channel_versions' ->> wanted.channel
         WHERE blobs.type <> 'empty'
       ) AS channels
FROM chain
ORDER BY chain.depth;

-- name: find_blob
SELECT channel, type, blob
FROM checkpoint_blobs
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND channel = :channel AND version = :version;

-- name: find_checkpoints
-- All of a checkpoint comes in one row, so that loading one takes one round trip.
SELECT c.thread_id, c.checkpoint_ns AS ns, c.checkpoint_id, c.parent_checkpoint_id AS parent_id,
       c.checkpoint AS document, c.metadata,
       (SELECT generation FROM holdfast_threads WHERE holdfast_threads.thread_id = c.thread_id) AS generation,
       b.channels, b.types, b.blobs,
       w.task_ids, w.task_paths, w.idxs, w.channels AS write_channels, w.types AS write_types,
       w.blobs AS write_blobs
FROM (
  SELECT *
  FROM checkpoints
  WHERE {where}
  ORDER BY checkpoint_id DESC, thread_id DESC, checkpoint_ns DESC
  LIMIT :limit
) c
CROSS JOIN LATERAL (
  SELECT array_agg(found.channel) AS channels, array_agg(found.type) AS types, array_agg(found.blob) AS blobs
  FROM jsonb_each_text(c.checkpoint -> 'channel_versions') AS versions
  -- Each by its key: with a plain join, PostgreSQL may read all values of a long thread for one checkpoint.
  CROSS JOIN LATERAL (
    SELECT blobs.channel, blobs.type, blobs.blob
    FROM checkpoint_blobs AS blobs
    WHERE blobs.thread_id = c.thread_id AND blobs.checkpoint_ns = c.checkpoint_ns
      AND blobs.channel = versions.key AND blobs.version = versions.value
    LIMIT 1
  ) found
) b
CROSS JOIN LATERAL (
  SELECT array_agg(task_id) AS task_ids, array_agg(task_path) AS task_paths, array_agg(idx) AS idxs,
         array_agg(channel) AS channels, array_agg(type) AS types, array_agg(blob) AS blobs
  FROM checkpoint_writes AS writes
  WHERE writes.thread_id = c.thread_id AND writes.checkpoint_ns = c.checkpoint_ns
    AND writes.checkpoint_id = c.checkpoint_id
) w
ORDER BY c.checkpoint_id DESC, c.thread_id DESC, c.checkpoint_ns DESC;

-- name: writes_to
SELECT checkpoint_id, task_id, task_path, idx, channel, type, blob
FROM checkpoint_writes
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = ANY(:checkpoint_ids)
  AND channel = ANY(:channels);

-- name: values_of_thread
SELECT checkpoint_ns AS ns, channel, version, type, blob
FROM checkpoint_blobs
WHERE thread_id = :thread_id AND blob IS NOT NULL;

-- name: save_blob
INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
VALUES (:thread_id, :ns, :channel, :version, :type, :blob)
ON CONFLICT (thread_id, checkpoint_ns, channel, version) DO NOTHING;

-- name: save_checkpoint
INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata)
VALUES (:thread_id, :ns, :checkpoint_id, :parent_id, :document, :metadata)
ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id) DO UPDATE
SET parent_checkpoint_id = excluded.parent_checkpoint_id,
    checkpoint = excluded.checkpoint, metadata = excluded.metadata;

-- name: is_saved
-- Return whether a checkpoint is stored exactly as it was to be saved. Its versions name its values, and values never
-- change.
SELECT TRUE AS is_saved
FROM checkpoints
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id
  AND parent_checkpoint_id IS NOT DISTINCT FROM CAST(:parent_id AS TEXT)
  AND checkpoint = :document AND metadata = :metadata;

-- name: delete_blobs
DELETE FROM checkpoint_blobs
WHERE thread_id {among_ids};
