-- Message rows.

-- name: rows_with_digests
SELECT digest, seq, message_id, ns, channel, checkpoint_id IS NOT NULL AS committed, redacted_at IS NOT NULL AS redacted
FROM holdfast_messages
WHERE thread_id = :thread_id AND digest = ANY(:digests);
