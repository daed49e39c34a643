-- Redaction: the values and the documents of checkpoints.

-- name: page_of_value
SELECT checkpoint_ns AS ns, channel, version, type, blob
FROM checkpoint_blobs
WHERE thread_id = :thread_id AND (checkpoint_ns, channel, version) > (:ns, :channel, :version) AND blob IS NOT NULL
ORDER BY checkpoint_ns, channel, version
LIMIT :limit;

-- name: redact_value
UPDATE checkpoint_blobs
SET type = :type, blob = :blob
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND channel = :channel AND version = :version;

-- name: page_of_document
-- The small values of channels are in the document.
SELECT checkpoint_ns AS ns, checkpoint_id, checkpoint AS document, metadata
FROM checkpoints
WHERE thread_id = :thread_id AND (checkpoint_ns, checkpoint_id) > (:ns, :checkpoint_id)
ORDER BY checkpoint_ns, checkpoint_id
LIMIT :limit;

-- name: rewrite_document
UPDATE checkpoints
SET checkpoint = :document, metadata = :metadata
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id;
