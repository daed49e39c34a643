-- Moving house: checkpoints in the tables of langgraph-checkpoint-postgres.

-- name: page_of_checkpoint
SELECT c.checkpoint_ns, c.checkpoint_id, c.parent_checkpoint_id, c.metadata, c.checkpoint, b.channels, b.types, b.blobs
FROM (
  SELECT *
  FROM checkpoints
  WHERE thread_id = :thread_id AND (checkpoint_ns, checkpoint_id) > (:ns, :checkpoint_id)
  ORDER BY checkpoint_ns, checkpoint_id
  LIMIT :limit
) c
CROSS JOIN LATERAL (
  SELECT array_agg(blobs.channel) AS channels, array_agg(blobs.type) AS types, array_agg(blobs.blob) AS blobs
  FROM jsonb_each_text(c.checkpoint -> 'channel_versions') AS versions
  JOIN checkpoint_blobs AS blobs
    ON blobs.thread_id = c.thread_id AND blobs.checkpoint_ns = c.checkpoint_ns
    AND blobs.channel = versions.key AND blobs.version = versions.value
) b
ORDER BY c.checkpoint_ns, c.checkpoint_id;
