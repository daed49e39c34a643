-- Transfer of threads: the parts of a thread, in pages ordered by their key, and the same parts put into another
-- database.

-- name: page_of_checkpoint
-- `LIMIT 1` makes PostgreSQL look up each value by its key. Otherwise, if one thread is most of the table, it reads the
-- table as a whole for each checkpoint.
SELECT c.checkpoint_ns AS ns, c.checkpoint_id, c.parent_checkpoint_id AS parent_id, c.metadata, c.checkpoint AS document,
       b.channels, b.types, b.blobs
FROM (
  SELECT *
  FROM checkpoints
  WHERE thread_id = :thread_id AND (checkpoint_ns, checkpoint_id) > (:ns, :checkpoint_id)
  ORDER BY checkpoint_ns, checkpoint_id
  LIMIT :limit
) c
CROSS JOIN LATERAL (
  SELECT array_agg(found.channel) AS channels, array_agg(found.type) AS types, array_agg(found.blob) AS blobs
  FROM jsonb_each_text(c.checkpoint -> 'channel_versions') AS versions
  CROSS JOIN LATERAL (
    SELECT channel, type, blob
    FROM checkpoint_blobs AS blobs
    WHERE blobs.thread_id = c.thread_id AND blobs.checkpoint_ns = c.checkpoint_ns
      AND blobs.channel = versions.key AND blobs.version = versions.value
    LIMIT 1
  ) AS found
) b
ORDER BY c.checkpoint_ns, c.checkpoint_id;
