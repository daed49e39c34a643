-- Message rows.

-- name: rows_with_digest
-- Without ORDER BY: with it SQLite scans the whole thread in the order of seq instead of using the index on the digest.
SELECT digest, seq, message_id, ns, channel, checkpoint_id IS NOT NULL AS committed, redacted_at IS NOT NULL AS redacted
FROM holdfast_messages
WHERE thread_id = :thread_id AND digest = :digest;
