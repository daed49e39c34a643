-- Redaction: changed texts, in place. What is not named here has no text of a conversation; see `redaction.places`.

-- name: redact_row
-- The digest stays that of what was saved: a process that saves the message again finds this row by it.
UPDATE holdfast_messages
SET codec = :codec, key_no = :key_no, name = :name, content = :content, body = :body, redacted_at = {now}
WHERE thread_id = :thread_id AND seq = :seq;

-- name: redact_run_write
UPDATE holdfast_run_writes
SET type = :type, blob = :blob
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id AND task_id = :task_id
  AND idx = :idx AND run_id = :run_id;

-- name: redact_event
UPDATE holdfast_events
SET data = :data
WHERE thread_id = :thread_id AND no = :no;

-- name: redact_answer
-- The digest stays that of the answer that was given: a call may be running under it.
UPDATE holdfast_interrupts
SET answer_type = :type, answer = :blob
WHERE thread_id = :thread_id AND interrupt_id = :interrupt_id;

-- name: page_of_run
SELECT number, run_id, input_type, input, request_digest, error
FROM holdfast_runs
WHERE thread_id = :thread_id AND number > :number
ORDER BY number
LIMIT :limit;

-- name: redact_input
UPDATE holdfast_runs
SET input_type = :type, input = :blob
WHERE thread_id = :thread_id AND number = :number;

-- name: redact_error
UPDATE holdfast_runs
SET error = :error
WHERE thread_id = :thread_id AND number = :number;

-- name: redact_result
UPDATE holdfast_effects
SET result_type = :type, result = :blob
WHERE lineage = :lineage AND effect_key = :effect_key;

-- name: facts_of_thread
SELECT t.title, t.metadata, coalesce(t.lineage, t.thread_id) AS lineage
FROM holdfast_threads AS t
WHERE t.thread_id = :thread_id;

-- name: redact_thread
-- The new generation makes writers and caches stale that loaded the thread before. The thread keeps its place in the
-- list, and its age.
UPDATE holdfast_threads
SET generation = generation + 1, title = CAST(:title AS TEXT), metadata = CAST(:metadata AS TEXT)
WHERE thread_id = :thread_id;

-- name: family
-- A thread, the one that it was copied from in the end, and all copies of that.
SELECT relative.thread_id
FROM holdfast_threads AS relative
JOIN holdfast_threads AS own ON coalesce(relative.lineage, relative.thread_id) = coalesce(own.lineage, own.thread_id)
WHERE own.thread_id = :thread_id AND relative.deleted_at IS NULL
ORDER BY relative.thread_id;
