-- Message rows.

-- name: rows_with_digests
-- All of the thread, if it has fewer than some number of rows.
SELECT digest, seq, message_id, ns, channel, checkpoint_id IS NOT NULL AS committed
FROM holdfast_messages
WHERE thread_id = :thread_id AND (
  (SELECT next_seq FROM holdfast_threads WHERE thread_id = :thread_id) <= :most OR digest = ANY(:digests)
);
