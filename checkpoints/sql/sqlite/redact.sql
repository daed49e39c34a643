-- Redaction: the values and the documents of checkpoints.

-- name: page_of_value
-- A checkpoint has all of its values in one.
SELECT checkpoint_ns AS ns, '' AS channel, checkpoint_id AS version, type, checkpoint AS blob
FROM checkpoints
WHERE thread_id = :thread_id AND (checkpoint_ns, checkpoint_id) > (:ns, :version)
ORDER BY checkpoint_ns, checkpoint_id
LIMIT :limit;

-- name: redact_value
UPDATE checkpoints
SET type = :type, checkpoint = :blob
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :version;

-- name: page_of_document
SELECT checkpoint_ns AS ns, checkpoint_id, NULL AS document, metadata
FROM checkpoints
WHERE thread_id = :thread_id AND (checkpoint_ns, checkpoint_id) > (:ns, :checkpoint_id)
ORDER BY checkpoint_ns, checkpoint_id
LIMIT :limit;

-- name: rewrite_document
UPDATE checkpoints
SET metadata = :metadata
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id;
